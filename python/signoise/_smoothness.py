"""Smoothness of learning curves: does the score rise steadily, or does it wander?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ._autocorrelation import RunForms, pooled_autocorrelation
from ._duplicates import Duplicates
from ._kernels import kernels
from ._measure import check_autocorrelation, metric_strata
from ._metrics import require_direction
from ._options import as_columns, check_choice, check_count, check_seed, signature
from ._run_series import encode_runs
from ._scores import Filter, Groups, Scores, load, note_key, warn_notes
from ._status import Statuses, check_strict, result_column

_STATISTICS = (
    "monotonicity_sign",
    "monotonicity_tau",
    "monotonicity_p",
    "monotonicity_p_ar1",
    "autocorrelation",
    "total_variation",
    "total_variation_normalised",
    "total_variation_improvement",
    "improvement",
)
#: Statistics that change sign with the direction of the metric; the improvement-corrected one is rebuilt from them.
_SIGNED = ("monotonicity_sign", "monotonicity_tau", "improvement")


def smoothness(
    scores: Scores,
    *,
    by: str | Sequence[str] = ("task", "metric"),
    where: Filter = None,
    per: Literal["run"] = "run",
    direction: Literal["metric", "raw"] | Mapping[str, str] = "metric",
    across: str | Sequence[str] = "run",
    order: str = "tokens",
    autocorrelation: float | Literal["pooled"] = "pooled",
    n_resamples: int = 1000,
    rng_seed: int = 0,
    groups: Groups = None,
    columns: Mapping[str, str] | None = None,
    duplicates: Duplicates = "raise",
    strict: bool = False,
    threads: int | None = None,
) -> pl.DataFrame:
    """Monotonicity and total variation of each run's whole learning curve.

    Parameters
    ----------
    scores, by, where, across, order, groups, columns, duplicates, strict, threads
        As in `snr`. All checkpoints are used, not a window.
    per
        ``"run"``: one row a run.
    direction
        ``"metric"``: lower-is-better metrics are flipped, so that improvement is positive; ``"raw"``: scores as they
        are. ``{"metric": "higher" | "lower"}`` declares unknown metrics and flips.
    autocorrelation
        Lag-1 autocorrelation of checkpoints about a line, for ``monotonicity_p_ar1``: ``"pooled"`` as in `snr`, each
        run with a level and a slope of its own, or a known value.
    n_resamples, rng_seed
        Of the series that ``monotonicity_p_ar1`` compares with; runs of one length share them.

    Returns
    -------
    DataFrame
        By-columns, ``run, n_checkpoints``; ``monotonicity_sign`` = (ups - downs)/(ups + downs) of successive
        differences; ``monotonicity_tau`` (Kendall tau-b of score against order) and ``monotonicity_p`` (two-sided,
        exact over all permutations up to 50 checkpoints, ties included; normal beyond); ``monotonicity_p_ar1``, the
        share of trendless series with the same ``autocorrelation`` that are as monotone (two-sided, (1 + number)/(1 +
        `n_resamples`)); ``total_variation`` = mean
        absolute difference (score units); ``total_variation_normalised`` over max - min;
        ``total_variation_improvement`` = normalised - ``improvement``; ``improvement`` = (last - first)/n;
        ``status, signature``.

    Undefined when
        Fewer than 2 checkpoints (``too_few``); all scores equal (``constant``: total variation 0, the rest null).

    Notes
    -----
    ``monotonicity_p`` takes checkpoints as exchangeable; for autocorrelated scores without a trend it rejects too
    often: simulated at 5 % with 20 checkpoints .22 and .44 at autocorrelations of .5 and .8, where
    ``monotonicity_p_ar1`` rejected .04 and .05 (10 runs a score; .04 to .06 with 50 checkpoints). The latter is
    careful: a curve that bends looks like autocorrelation about a line, so a rise that soon levels off may be seen by
    ``monotonicity_p`` alone. It is null below 20 values of a metric. Tau has no interval: one run shows one curve.

    The reference's wrapper always normalises and corrects; here each form has its own column.

    References
    ----------
    Heineman et al. 2025, arXiv 2508.13144; Madaan et al. 2024, "Quantifying Variance in Evaluation Benchmarks",
    arXiv 2406.10229, section 2 (monotonicity as Kendall tau).

    Examples
    --------
    >>> import signoise as sn
    >>> sn.smoothness(sn.example_scores(), where="params = 150000000")["n_checkpoints"].unique().to_list()
    [12]
    """
    check_choice("per", per, ("run",))
    if isinstance(direction, str):
        check_choice("direction", direction, ("metric", "raw"))
    check_autocorrelation(autocorrelation)
    check_count("n_resamples", n_resamples)
    check_seed(rng_seed)
    by = as_columns(by)
    use = [*by, *as_columns(across), order]
    table = load(
        scores,
        columns=columns,
        where=where,
        groups=groups,
        use=use,
        duplicates=duplicates,
        strict=strict,
        threads=threads,
    )
    runs = as_columns(across)
    encoded, apart = encode_runs(table.frame, by=by, runs=runs, order=order, duplicates=duplicates)
    warn_notes(table.notes)
    note_key(encoded, by)
    values, _, offsets, filled = encoded.select()
    raw = kernels().smoothness_groups(values, offsets, threads=threads)
    # A group is one run's series here; a run without a single score keeps its row.
    place = encoded.group_of[filled]
    labels = encoded.groups
    scores_of = labels.select(name for name in encoded.by if name not in runs and name not in apart)
    rho = series_autocorrelation(values, offsets, place, scores_of, encoded.conflicts, autocorrelation)
    raw["autocorrelation"] = rho
    raw["monotonicity_p_ar1"] = kernels().monotonicity_ar1(
        raw["monotonicity_tau"], raw["n"], rho, n_resamples, rng_seed, threads=threads
    )
    out = {"n": np.zeros(len(labels), dtype=np.int64)}
    out |= {name: np.full(len(labels), np.nan) for name in _STATISTICS}
    for name, column in out.items():
        column[place] = raw[name]
    if direction != "raw" and "metric" in labels.columns:
        declared = direction if isinstance(direction, Mapping) else None
        signs = require_direction(labels["metric"].unique().drop_nulls().sort().to_list(), declared)
        flip = np.array([signs.get(metric, 1) for metric in labels["metric"]], dtype=float)
        for name in _SIGNED:
            out[name] = out[name] * flip
        out["total_variation_improvement"] = out["total_variation_normalised"] - out["improvement"]
    statuses = Statuses(len(labels))
    statuses.set("duplicate_key", encoded.conflicts)
    statuses.set("too_few", out["n"] < 2)
    statuses.set("constant", (out["n"] >= 2) & (out["total_variation"] == 0))
    statuses.check_finite(~np.isfinite(out["total_variation"]))
    statuses.blank(out, "duplicate_key")
    text = signature(
        "smoothness",
        direction=direction,
        order=order,
        autocorrelation=autocorrelation,
        n_resamples=n_resamples,
        rng=rng_seed,
    )
    result = labels.select(encoded.by).with_columns(
        pl.Series("n_checkpoints", out["n"]),
        *(result_column(name, out[name]) for name in _STATISTICS),
        statuses.column(),
        pl.lit(text).alias("signature"),
    )
    check_strict(result, encoded.by, strict=strict)
    return result


def series_autocorrelation(
    values: NDArray[np.float64],
    offsets: NDArray[np.uintp],
    place: NDArray[np.intp],
    scores_of: pl.DataFrame,
    conflicts: NDArray[np.bool_],
    given: float | str,
) -> NDArray[np.float64]:
    """Autocorrelation about its line for each series: the one given, or that of the runs of the same score.

    `place` is the row of `scores_of` (and of `conflicts`) of each series.
    """
    if not isinstance(given, str):
        return np.full(len(place), float(given))
    if not len(place):
        return np.zeros(0)
    # A key of no columns is one score.
    scores_of = scores_of if scores_of.columns else pl.DataFrame({"": np.zeros(len(conflicts))})
    keys = scores_of.unique(maintain_order=True).with_row_index("__score")
    score = scores_of.join(keys, on=scores_of.columns, nulls_equal=True, maintain_order="left")["__score"]
    group = score.to_numpy().astype(np.intp)[place]
    lengths = np.diff(offsets).astype(np.intp)
    forms = RunForms.about_lines(values, lengths, group, ~conflicts[place])
    # Sums over runs go in the order of labels, whatever that of the rows.
    forms = forms.chosen(np.argsort(place))
    pooled = pooled_autocorrelation(forms, metric_strata(keys), np.zeros(keys.height, dtype=bool))
    return pooled.rho[group]
