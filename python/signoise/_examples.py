"""A small simulated score table for documentation, tests and first steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._simulate import simulate

if TYPE_CHECKING:
    import polars as pl

_SIM_SUITE = {
    # task: metric, level, size_gain, signal, step_noise, trend, grid
    "sim_arc": ("acc", 0.60, 0.12, 0.030, 0.002, 0.000, 1 / 2000),  # excellent: decides at a glance
    "sim_copa": ("acc", 0.70, 0.05, 0.010, 0.015, 0.000, 1 / 100),  # noisy: 100 items, many ties
    "sim_mmlu": ("acc", 0.25, 0.00, 0.000, 0.004, 0.000, 0.0),  # at chance: nothing learnt yet
    "sim_boolq": ("acc", 0.62, 0.00, 0.000, 0.000, 0.000, 0.0),  # constant: always the same answer
    "sim_paloma": ("bits_per_byte", 0.95, 0.15, 0.020, 0.002, 0.000, 0.0),  # lower is better
    "sim_hellaswag": ("acc", 0.50, 0.15, 0.015, 0.003, 0.090, 0.0),  # still improving at the last checkpoint
}


def example_scores() -> pl.DataFrame:
    """Return a small simulated score table: 6 tasks, 6 recipes, 2 sizes, 12 checkpoints.

    The names recall well-known benchmarks; the numbers are made up (hence ``sim_``) and the same in every
    call.

    Returns
    -------
    polars.DataFrame
        864 rows with the columns of ``simulate``: ``sim_arc`` is an excellent benchmark, ``sim_copa`` a noisy
        one with ties, ``sim_mmlu`` sits at chance (0.25), ``sim_boolq`` is constant, ``sim_paloma``
        (``bits_per_byte``) is better when lower, and ``sim_hellaswag`` still improves inside the last window.

    Examples
    --------
    >>> import signoise as sn
    >>> sn.example_scores().shape
    (864, 9)
    """
    return example_suite()[0]


def example_suite() -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the example scores and their truth, as ``simulate`` does."""
    metric, level, size_gain, signal, step_noise, trend, grid = zip(*_SIM_SUITE.values(), strict=True)
    return simulate(
        tasks=list(_SIM_SUITE),
        recipes=6,
        params=(150_000_000, 1_000_000_000),
        checkpoints=12,
        metric=metric,
        level=level,
        size_gain=size_gain,
        signal=signal,
        step_noise=step_noise,
        trend=trend,
        trend_shape="linear",
        grid=grid,
        # Six recipes that disagree by chance would spoil the excellent task, so it agrees nearly perfectly.
        scale_agreement=[0.98 if task == "sim_arc" else 0.9 for task in _SIM_SUITE],
        chance_tasks=["sim_mmlu"],
        rng_seed=8,
    )
