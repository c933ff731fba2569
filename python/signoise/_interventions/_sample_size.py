"""The verb `sample_size`: how few instances decide as well as all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .._duplicates import Duplicates
from .._errors import OptionError
from .._instance_cells import Cells, Source
from .._instance_intervals import FEW_INSTANCES, cells_by_group, instance_addresses
from .._measure import FEW_MEMBERS, check_settings
from .._options import as_columns, check_count, check_level, check_seed, signature
from .._scores import Filter, Scores
from .._status import Statuses, check_strict, flag_lists, result_column
from ._jackknife import t_margin
from ._ladder_curves import Rungs, ladder_rule
from ._sample_question import Answers, Question
from ._sample_sizes import crossing, log_spaced, subset_counts, subset_scores
from ._smoothed import Study
from ._with_instances import open_with_instances

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

#: Where curves begin, unless sizes are given.
LEAST_SIZE = 30
_COUNTS = ("size", "n_instances", "n_subsets", "n_members")
_SNR = ("snr", "snr_sd")
_DECISIONS = ("decision_accuracy", "decision_accuracy_sd", "kept", "kept_low", "kept_high")
_PREDICTIONS = ("prediction_error", "prediction_error_sd")
_ENOUGH = ("enough", "enough_low", "enough_high")


@dataclass(frozen=True)
class _Plan:
    """How subsets are drawn, and what is looked for."""

    sizes: int | tuple[int, ...]
    n_subsets: int
    replacement: bool
    keep: float
    level: float
    rng_seed: int

    def sizes_of(self, n: int) -> list[int]:
        """Sizes for so many instances, in rising order."""
        if isinstance(self.sizes, int):
            return log_spaced(LEAST_SIZE, n, self.sizes)
        return sorted({size for size in self.sizes if size <= n or self.replacement})


def sample_size(
    scores: Scores,
    *,
    sizes: int | Sequence[int] = 10,
    n_subsets: int = 100,
    replacement: bool = False,
    keep: float = 0.95,
    small: Filter = None,
    target: Filter = None,
    match: str | Sequence[str] | None = None,
    ladder_train: Filter = None,
    ladder_target: Filter = None,
    by: str | Sequence[str] = ("task", "metric"),
    where: Filter = None,
    across: str | Sequence[str] = "run",
    score: Literal["mean", "final"] = "mean",
    window: int = 5,
    noise: str | None = None,
    relative: bool = True,
    direction: Mapping[str, str] | None = None,
    order: str = "tokens",
    confidence_level: float = 0.95,
    rng_seed: int = 0,
    columns: Mapping[str, str] | None = None,
    duplicates: Duplicates = "raise",
    strict: bool = False,
    threads: int | None = None,
) -> pl.DataFrame:
    """SNR, decision accuracy and prediction error on random subsets of the instances, and how many are enough.

    Every subset is one set of instances for all runs, checkpoints and both sides, so for signal and noise alike.

    Parameters
    ----------
    scores, by, where, across, noise, relative, window, order, columns, duplicates, strict, threads
        As in `snr`; instance rows or a store are needed, and `across` only counts without `small` and `target`.
    sizes
        Number of sizes, even on a logarithmic scale from 30 to all instances, or the sizes themselves.
    n_subsets
        Random subsets of each size.
    replacement
        Draw with replacement.
    keep
        Share of the full set's decision accuracy above one half that is to be kept.
    small, target, match, direction
        As in `decision_accuracy`; with both filters the table holds decisions, and the SNR is that of the small side.
    ladder_train, ladder_target
        Filters: runs to learn a law of scale from and runs to predict, as in `prediction_error` (one step, its
        defaults), for the prediction error on each subset.
    score
        Of a member, for signal and decisions: ``"mean"`` of its last `window` checkpoints or the ``"final"`` one.
    confidence_level
        Of ``kept_low, kept_high`` and ``enough_low, enough_high``.
    rng_seed
        Of the subsets. Every size has streams of its own; metrics of one task share them.

    Returns
    -------
    DataFrame
        A row for each group and size: by-columns, ``size, n_instances`` (those that all checkpoints in use have),
        ``n_subsets, n_members``; ``snr``, the mean over the subsets, and ``snr_sd``, the standard deviation between
        sets of so many instances; with sides ``decision_accuracy``, ``decision_accuracy_sd`` alike; ``kept``, the share
        ``(DA - 1/2)/(DA of all instances - 1/2)``, with ``kept_low, kept_high``; and, the same in all rows of a group,
        ``enough``: the smallest size that keeps `keep`, with ``enough_low, enough_high``; with a ladder
        ``prediction_error`` (mean over targets of the relative errors' sizes, and over the subsets) and
        ``prediction_error_sd``. Then ``status, flags, signature``.

    Undefined when
        Fewer than 2 members, no noise, or a checkpoint without instances (``too_few``); some subset has no noise or a
        mean of 0 (``zero_noise``: snr null). ``kept`` and ``enough`` are null where all instances decide no better than
        chance; the standard deviations for a single subset, and without replacement for all instances. Prediction
        errors are null where a group lacks runs of either filter or the law has no prediction on some subset.

    Raises
    ------
    SchemaError
        Where there are no instances.
    UnknownMetricError
        With sides, where a metric's direction is not known.
    OptionError, DuplicateKeyError
        For an option or a table that cannot be used.

    Notes
    -----
    Subsets without replacement of m among n instances are more alike than sets of m new ones, by ``sqrt(1 - m/n)``:
    standard deviations are divided by it. With replacement they need no correction, but an instance drawn twice counts
    twice in the noise, so that m of n instances show the SNR of ``m/(1 + m/n)``. Subsets are of instances; where these
    come in clusters (flag ``clustered``) sets of new ones differ more.

    ``kept_low, kept_high`` speak of other members drawn like these, on these instances: delete-one standard error over
    members with t quantiles of J - 1 degrees of freedom, and the Monte Carlo error of so many subsets. ``enough`` is
    where the curve of ``kept``, made to rise, crosses `keep`, linear in the logarithm of the size; its limits are where
    the limits do. A curve that starts above `keep` gives the smallest size that was tried. Simulated coverage of the
    size at which the mean over members and instances does: .99 to 1.00 (8, 12 and 25 members, 400 instances).

    References
    ----------
    Heineman et al. 2025, "Signal and Noise", arXiv 2508.13144 (sample size). Their code draws other instances for the
    noise than for the signal, and repeats draws in forked processes.

    Examples
    --------
    >>> import signoise as sn
    >>> scores, _ = sn.simulate(tasks=1, recipes=8, params=(1e8, 1e9), checkpoints=3, instances=200)
    >>> table = sn.sample_size(
    ...     scores, sizes=[50, 200], small="params = 100000000", target="params = 1000000000"
    ... )
    >>> table.select("size", "n_instances", "n_members").rows()
    [(50, 200, 8), (200, 200, 8)]
    """
    settings = check_settings(
        "snr",
        signal="relative_dispersion",
        score=score,
        noise=noise,
        window=window,
        ddof=None,
        relative=relative,
        confidence_level=confidence_level,
        autocorrelation=0.0,
        across=across,
        order=order,
        population=None,
        noise_runs=None,
    )
    plan = _check_plan(sizes, n_subsets, keep, confidence_level, rng_seed, replacement=replacement)
    rule = ladder_rule(ladder_train, ladder_target, direction=direction, order=order, threads=threads)
    study, frame, source = open_with_instances(
        scores,
        small=small,
        target=target,
        match=match,
        across=across,
        by=as_columns(by),
        where=where,
        order=order,
        cluster=None,
        columns=columns,
        duplicates=duplicates,
        strict=strict,
        threads=threads,
        ladder=rule,
    )
    question = Question(study, settings, direction, threads)
    ladder = None if rule is None else Rungs(study, frame, window, rule)
    # Infinite scores and zero noise make undefined numbers; they become null with a status, not NumPy's warnings.
    with np.errstate(all="ignore"):
        rows = _rows(study, frame, source, plan, question, ladder)
    text = signature(
        "sample_size",
        n_subsets=n_subsets,
        replacement=replacement,
        keep=keep,
        small=small,
        target=target,
        match=study.members if study.sided else None,
        ladder_train=ladder_train,
        ladder_target=ladder_target,
        across=None if study.sided else study.members,
        score=score,
        noise=settings.noise,
        window=window,
        relative=relative,
        order=order,
        interval="delete_one_member" if study.sided else None,
        level=confidence_level,
        rng=rng_seed,
    )
    result = _table(study, rows, text, ladder=ladder is not None)
    check_strict(result, [*study.encoded.by, "size"], strict=strict)
    return result


def _check_plan(
    sizes: int | Sequence[int],
    n_subsets: int,
    keep: float,
    level: float,
    rng_seed: int,
    *,
    replacement: bool,
) -> _Plan:
    if isinstance(sizes, int):
        check_count("sizes", sizes)
    elif isinstance(sizes, str) or not isinstance(sizes, Sequence) or not sizes:
        raise OptionError(f"sizes must be a number of sizes or sizes such as (50, 100, 200), got {sizes!r}")
    else:
        for size in sizes:
            check_count("sizes", size, 2)
    check_count("n_subsets", n_subsets)
    check_level(level)
    check_seed(rng_seed)
    if not isinstance(keep, float) or not 0 < keep <= 1:
        raise OptionError(f"keep must be a share such as 0.95, got {keep!r}")
    chosen = sizes if isinstance(sizes, int) else tuple(sizes)
    return _Plan(chosen, n_subsets, replacement, keep, level, rng_seed)


def _rows(
    study: Study, frame: pl.DataFrame, source: Source, plan: _Plan, question: Question, ladder: Rungs | None
) -> list[dict[str, Any]]:
    """A row for each group and size; a group without instances has one row, of null."""
    units = instance_addresses(study.encoded)
    out: list[dict[str, Any]] = []
    windows = [*question.windows, *([] if ladder is None else [ladder.windows])]
    for group, rows, cells in cells_by_group(study.encoded, frame, windows, source):
        common = {"group": group, "n_members": question.n_members(group), "n_instances": 0}
        sizes = [] if cells is None else plan.sizes_of(cells.values.shape[1])
        if cells is None or not cells.finite or not sizes:
            out.append(common)
            continue
        common |= {
            "n_instances": cells.values.shape[1],
            "clustered": len(cells.clusters) < cells.values.shape[1],
        }
        unit = int(units[group])
        out += [common | row for row in _curve(group, rows, cells, sizes, plan, question, ladder, unit)]
    return out


def _curve(
    group: int,
    rows: Ints,
    cells: Cells,
    sizes: Sequence[int],
    plan: _Plan,
    question: Question,
    ladder: Rungs | None,
    unit: int,
) -> list[dict[str, Any]]:
    """A row for each size of one group."""
    n = cells.values.shape[1]
    every = subset_scores(cells, np.ones((1, n)))
    full = question.ask(group, rows, every)
    found, kept, margins = [], np.full(len(sizes), np.nan), np.full(len(sizes), np.nan)
    for at, size in enumerate(sizes):
        whole = size == n and not plan.replacement
        counts = (
            np.ones((1, n))
            if whole
            else subset_counts(n, size, plan.n_subsets, plan.rng_seed, unit, replacement=plan.replacement)
        )
        scores = every if whole else subset_scores(cells, counts)
        answers = full if whole else question.ask(group, rows, scores)
        # Subsets of a finite set are too much alike.
        finite = 1.0 if plan.replacement else np.sqrt(1 - size / n)
        row: dict[str, Any] = {"size": size, "n_subsets": len(counts)}
        measures = {"snr": answers.snr, "decision_accuracy": answers.decisions}
        if ladder is not None:
            measures["prediction_error"] = ladder.errors(group, rows, scores)
        for name, values in measures.items():
            row[name] = values.mean()
            row[f"{name}_sd"] = values.std(ddof=1) / finite if len(values) > 1 else np.nan
        kept[at], margins[at] = _kept(answers, full, plan.level)
        row |= {"kept": kept[at], "kept_low": kept[at] - margins[at], "kept_high": kept[at] + margins[at]}
        found.append(row)
    enough = {
        name: crossing(sizes, curve, plan.keep)
        for name, curve in zip(_ENOUGH, (kept, kept + margins, kept - margins), strict=True)
    }
    return [row | enough for row in found]


def _kept(answers: Answers, full: Answers, level: float) -> tuple[float, float]:
    """Share of the full decision accuracy above one half that subsets keep, and half the width of its interval."""
    best = full.decisions[0] - 0.5
    if not best > 0:
        return np.nan, np.nan
    kept = (answers.decisions.mean() - 0.5) / best
    n = answers.left_out.shape[1]
    if n < 3:
        return kept, np.nan
    left_out = (answers.left_out.mean(axis=0) - 0.5) / (full.left_out[0] - 0.5)
    over_members = (n - 1) / n * ((left_out - left_out.mean()) ** 2).sum()
    drawn = len(answers.decisions)
    over_subsets = answers.decisions.var(ddof=1) / drawn / best**2 if drawn > 1 else 0.0
    margin = t_margin(np.sqrt([over_members + over_subsets]), np.array([n]), level)[0]
    return kept, float(margin)


def _table(study: Study, rows: Sequence[dict[str, Any]], text: str, *, ladder: bool) -> pl.DataFrame:
    encoded = study.encoded
    predictions = _PREDICTIONS if ladder else ()
    numbers = [*_SNR, *(_DECISIONS if study.sided else ()), *predictions]
    schema: dict[str, Any] = {
        "group": pl.Int64,
        **dict.fromkeys(_COUNTS, pl.Int64),
        **dict.fromkeys(numbers, pl.Float64),
        **(dict.fromkeys(_ENOUGH, pl.Int64) if study.sided else {}),
        "clustered": pl.Boolean,
    }
    table = pl.DataFrame([{name: row.get(name) for name in schema} for row in rows], schema=schema)
    group = table["group"].to_numpy()
    values = {name: table[name].fill_null(np.nan).to_numpy() for name in numbers}
    statuses = Statuses(table.height)
    n_members = table["n_members"].to_numpy()
    lost = table["size"].is_null().to_numpy()
    single = np.zeros(len(encoded.groups), dtype=bool)
    single[group] = n_members < 2
    statuses.set("too_few", lost | single[group])
    statuses.set("zero_noise", ~np.isfinite(values["snr"]))
    flags = {
        "few_instances": table["n_instances"].to_numpy() < FEW_INSTANCES,
        "few_members": n_members < FEW_MEMBERS,
        "missing_values": ((encoded.n_missing + encoded.n_nan) > 0)[group],
        "mixed_config": np.full(table.height, "config" in encoded.joined),
        "clustered": table["clustered"].fill_null(value=False).to_numpy(),
    }
    return encoded.groups.select(encoded.by)[group].with_columns(
        *(table[name] for name in _COUNTS),
        *(result_column(name, values[name]) for name in numbers if name not in predictions),
        *(table[name] for name in (_ENOUGH if study.sided else ())),
        *(result_column(name, values[name]) for name in predictions),
        statuses.column(),
        flag_lists(flags, table.height),
        pl.lit(text).alias("signature"),
    )
