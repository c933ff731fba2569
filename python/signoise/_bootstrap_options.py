"""Options of `bootstrap`: statistics by name, and which designs, methods and weights go together."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from ._bootstrap_relations import RELATIONS
from ._errors import OptionError
from ._options import check_choice, check_count

BLOCKS = ("moving_block", "stationary_block")


def as_statistic(
    statistic: str | Callable[[NDArray[np.float64]], float],
) -> tuple[str, float | None, Callable[[NDArray[np.float64]], float] | None]:
    """Name of a statistic, and its probability or its function."""
    if not isinstance(statistic, str) and callable(statistic):
        return getattr(statistic, "__qualname__", type(statistic).__name__), None, statistic
    if statistic in ("mean", *RELATIONS):
        return str(statistic), None, None
    if statistic == "median":
        return "median", 0.5, None
    kind, sign, text = str(statistic).partition(":")
    if kind == "quantile" and sign:
        try:
            probability = float(text)
        except ValueError:
            probability = np.nan
        if 0 <= probability <= 1:
            return f"quantile:{probability:g}", probability, None
    raise OptionError(
        'statistic must be "mean", "median", "quantile:p" with p from 0 to 1, "difference", "ratio", "rank", or a '
        f"function, got {statistic!r}"
    )


def design_of(
    design: str | None, over: str | None, across: str | Sequence[str] | None, block_length: int | None
) -> str:
    """The design, where none is named the one that goes with `over`."""
    if over is not None:
        check_choice("over", over, ("seed", "step"))
    if design is None:
        design = "instances" if over is None else "crossed"
    check_choice("design", design, ("instances", "crossed", "nested", *BLOCKS))
    if design in ("crossed", "nested") and over is None:
        raise OptionError(
            f'design={design!r} draws seeds or checkpoints beside instances; say which: over="seed" or over="step"'
        )
    if design not in ("crossed", "nested") and over is not None:
        raise OptionError(f'over={over!r} is for design="crossed" and "nested", got {design!r}')
    if across and over != "seed":
        raise OptionError('across= says which runs differ by their seed alone; it goes with over="seed"')
    if block_length is not None:
        check_count("block_length", block_length)
        if design not in BLOCKS:
            raise OptionError('block_length is for design="moving_block" and "stationary_block"')
    return design


def check_combination(
    design: str,
    statistic: str,
    function: Callable[[NDArray[np.float64]], float] | None,
    method: str,
    weights: str,
    strata: Sequence[str],
    cluster: str | None,
) -> None:
    """Raise ``OptionError`` for what a design does not have."""
    if method == "studentised" and (statistic != "mean" or strata or weights != "multinomial"):
        raise OptionError(
            'method="studentised" is for statistic="mean" without stratify and weights="multinomial": other standard '
            'errors are not known in closed form; choose method="bca"'
        )
    if weights == "bayesian":
        if design != "instances" or statistic != "mean" or function is not None:
            raise OptionError('weights="bayesian" is for statistic="mean" and design="instances"')
        if method not in ("percentile", "basic"):
            raise OptionError(
                f'weights="bayesian" is for method="percentile" and "basic", got {method!r}: its replicates are draws '
                "from a posterior distribution, which has no bias to correct"
            )
    if method == "t" and design not in ("crossed", "nested"):
        raise OptionError(f'method="t" is for design="crossed" and "nested", got {design!r}')
    if design == "instances":
        return
    if method in ("bca", "studentised"):
        raise OptionError(f'method={method!r} is for design="instances", got {design!r}; choose "percentile"')
    if function is not None or (statistic != "mean" and design not in BLOCKS):
        known = 'statistic="mean"' + (" and quantiles" if design in BLOCKS else "")
        raise OptionError(f"design={design!r} is for {known}, got {statistic!r}")
    if design == "crossed":
        return
    if weights != "multinomial":
        raise OptionError(f'weights={weights!r} is for design="instances" and "crossed", got {design!r}')
    if strata or cluster not in (None, "instance_id"):
        raise OptionError(f'stratify and cluster are for design="instances" and "crossed", got {design!r}')
