"""The verb `subset_gap`: how much better are scores on all instances than on those not seen in training?"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .._duplicates import Duplicates
from .._errors import OptionError, SchemaError
from .._instance_intervals import instance_addresses
from .._intervals import quantile_at
from .._kernels import kernels
from .._options import as_columns, check_choice, check_count, check_level, check_seed, signature
from .._schema import did_you_mean
from .._scores import Filter, Scores, warn_notes
from .._status import Statuses, check_strict, flag_lists, result_column
from ._gap_tests import gap_tests
from ._instance_marks import Marks, open_marks
from ._item_scores import ItemScores, ItemStudy
from ._part_means import FEW_IN_PART, part_means
from ._with_instances import open_with_instances

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
Mask = NDArray[np.bool_]

#: Thresholds where none are given.
N_THRESHOLDS = 20
_COUNTS = ("n_instances", "n_clean", "n_contaminated")
_SCORES = ("score", "score_clean", "score_contaminated")
_TEST = ("stderr", "low", "high", "z", "p_value", "p_adjusted")
_GAIN = ("gain", *_TEST)
_EXCESS = ("excess", *(f"excess_{name}" for name in _TEST))


@dataclass(frozen=True)
class _Plan:
    """How gaps are looked for."""

    thresholds: int | tuple[float, ...]
    two_sided: bool
    level: float
    n_resamples: int
    rng_seed: int


@dataclass(frozen=True)
class _Part:
    """Members whose instances have the same contamination."""

    rows: Ints
    """Places of the members."""
    given: ItemScores
    """Items of known contamination alone."""
    contamination: Floats
    n_unknown: int


def subset_gap(
    scores: Scores,
    *,
    subset: pl.DataFrame | pl.LazyFrame | str | os.PathLike[str] | Collection[str] | Any = None,
    contamination: pl.DataFrame | pl.LazyFrame | str | os.PathLike[str] | Any = None,
    thresholds: int | Sequence[float] | None = None,
    baseline: str | Sequence[str] | None = None,
    alternative: Literal["greater", "two_sided"] = "greater",
    by: str | Sequence[str] = ("task", "metric"),
    where: Filter = None,
    across: str | Sequence[str] = "run",
    score: Literal["final", "mean"] = "final",
    window: int = 5,
    cluster: str | None = None,
    direction: Mapping[str, str] | None = None,
    order: str = "tokens",
    confidence_level: float = 0.95,
    n_resamples: int = 1000,
    rng_seed: int = 0,
    columns: Mapping[str, str] | None = None,
    duplicates: Duplicates = "raise",
    strict: bool = False,
    threads: int | None = None,
) -> pl.DataFrame:
    """Estimate what runs gain from instances that are contaminated, at one threshold of contamination or several.

    ``gain = score(all) - score(clean)``, turned so that it is positive where all instances look better.

    Parameters
    ----------
    scores, by, where, order, columns, duplicates, strict, threads
        As in `snr`; instance rows or a store are needed.
    subset
        The clean instances: their ids, or a frame or the path of a table (``task, subtask, instance_id``). With a
        column ``clean`` of true and false, instances that it does not list are left out; without, they are
        contaminated.
    contamination
        Instead: a number for each instance, more of it being worse (share of its text found in the training data), in
        a column ``contamination`` (or ``score``, ``value``); with a column ``run`` for each run. Instances without
        one are left out.
    thresholds
        Instances above one are contaminated. Numbers, or how many to take from the values at hand, even in the number
        of instances between them; default all values up to 20.
    baseline
        A run, or several, that are held to be clean: the gain of every other one is compared with that of their mean
        score. A run among several is compared with the others of them.
    alternative
        Of the tests: ``"greater"`` (contamination helps) or ``"two_sided"``.
    across, score, window, cluster, direction, confidence_level
        As in `label_errors`.
    n_resamples, rng_seed
        Random orders of the instances for the tests; runs and metrics of a task share them.

    Returns
    -------
    DataFrame
        A row for each group, member and threshold: by-columns, `across` columns, ``threshold`` (null for `subset`);
        ``n_instances`` of known contamination, ``n_clean, n_contaminated``; ``score, score_clean, score_contaminated``;
        ``gain`` with ``stderr, low, high``; ``z``, ``p_value``; ``p_adjusted``, which pays for the search over the
        thresholds of this run; ``best``, whether this threshold has the largest z. With `baseline` the same of
        ``excess``, the gain less that of the baseline: ``excess_stderr, excess_low, excess_high, excess_z,
        excess_p_value, excess_p_adjusted, excess_best``. Last ``n_unknown`` (instances left out for want of a
        contamination), ``n_unmatched`` (for want of a score of some run), ``status, flags, signature``.

    Undefined when
        No clean or no contaminated instances (``too_few``); all scores of the run are the same (``constant``: no test).
        ``stderr`` needs 2 clean ones. The score is no mean with one weight an instance (``not_a_mean``). ``excess`` is
        null for the baseline itself.

    Raises
    ------
    UnknownMetricError
        Where a metric's direction is not known.
    SchemaError, OptionError, DuplicateKeyError
        For tables or options that cannot be used.

    Notes
    -----
    **A gap is not contamination.** Instances that stand in training data may be easier for any model: their gain is
    positive in a model that never saw them. Compare with models that cannot have: ``excess`` is the gain of the
    differences to them, instance by instance. It can still be fooled where better models differ from worse ones in
    which instances they solve.

    **Errors.** The clean instances are among all, so the two scores are no independent samples. ``gain`` is
    ``e (m_x - m_c)``, e the contaminated share, m_x and m_c the means of both parts; ``stderr`` is that of the sum over
    instances of what each adds to score(all) less score(clean), in clusters where they come so; t with as many degrees
    of freedom as the smaller part.

    **Tests.** Were contamination unrelated to scores, all subsets of this size would be as likely: ``z`` is the gain
    over its standard deviation over these, ``sqrt(S^2 (1/n_clean - 1/n))``. ``p_value``: Fisher's exact test where
    scores take two values, else `n_resamples` random orders of the instances. ``p_adjusted``: the share of random
    orders whose largest z over all thresholds is as large (Westfall and Young), so that the best threshold may be
    looked for; it pays neither for the number of runs nor of tasks. Clusters and weights do away with exchangeability:
    then z is gain/stderr with t for ``p_value`` and Bonferroni for ``p_adjusted``.

    Simulated on 300 instances, 90 of them contaminated: limits of ``gain`` and ``excess`` cover .95 to .97. Without any
    contamination ``p_value`` is below .05 in .04 to .06 of tables, and the ``p_adjusted`` of the best of 20 thresholds
    in .04 to .05, where its ``p_value`` is in .22 to .29. Where instances are easier for all runs the gap is found in
    .95 of tables and the excess in .03.

    The same instances asked in other words (C-BOD, paraphrases) are two scores of each instance: give them as two runs,
    or one more column of the key, to `compare`, whose default for 0/1 scores is McNemar's test.

    References
    ----------
    Singh et al. 2024, "Evaluation data contamination in LLMs: how do we measure it and (when) does it matter?", arXiv
    2411.03923 (estimated performance gain, threshold by the largest z); Touvron et al. 2023, arXiv 2307.09288, appendix
    A.6 (z); Westfall and Young 1993, "Resampling-based multiple testing".

    Examples
    --------
    >>> import polars as pl
    >>> import signoise as sn
    >>> scores, _ = sn.simulate(tasks=["quiz"], recipes=3, params=(1e9,), checkpoints=1, instances=200)
    >>> clean = scores["instance_id"].unique().sort().head(150)
    >>> table = sn.subset_gap(scores, subset=clean, baseline="recipe-00-1B-seed0")
    >>> table.select("n_instances", "n_clean", "n_contaminated").row(0)
    (200, 150, 50)
    """
    check_choice("alternative", alternative, ("greater", "two_sided"))
    check_choice("score", score, ("final", "mean"))
    check_count("window", window)
    check_count("n_resamples", n_resamples)
    check_level(confidence_level)
    check_seed(rng_seed)
    marks, plan = _asked(
        subset, contamination, thresholds, alternative == "two_sided", confidence_level, n_resamples, rng_seed
    )
    members = as_columns(across)
    if (marks.per_run or baseline is not None) and members != ("run",):
        needs = "contamination has a column run" if marks.per_run else "baseline names a run"
        raise OptionError(f'{needs}, which needs across="run", got {across!r}')
    opened = open_with_instances(
        scores,
        small=None,
        target=None,
        match=None,
        across=across,
        by=as_columns(by),
        where=where,
        order=order,
        cluster=cluster,
        columns=columns,
        duplicates=duplicates,
        strict=strict,
        threads=threads,
    )
    study = ItemStudy(opened, score, window, threads)
    references = _references(study, baseline)
    signs = study.signs(direction)[0]
    units = instance_addresses(study.study.encoded)
    labels = study.labels(("task", "subtask")).to_dicts()
    rows = []
    with np.errstate(all="ignore"):
        for found in study.groups():
            key = (rng_seed, int(units[found.group]))
            for part in _parts(found, marks, labels[found.group], study, default=subset is not None):
                gaps = _gaps(part, signs[found.group], references, plan, key, by_flag=subset is not None)
                rows.append(gaps)
    if (lost := marks.left_out(strict=strict)) is not None:
        warn_notes([lost], stacklevel=3)
    text = signature(
        "subset_gap",
        of="subset" if subset is not None else "contamination",
        thresholds=plan.thresholds if subset is None else None,
        baseline=None if baseline is None else as_columns(baseline),
        alternative=alternative,
        across=study.study.members,
        score=score,
        window=window if score == "mean" else None,
        order=order,
        cluster=cluster,
        level=confidence_level,
        n_resamples=n_resamples,
        rng=rng_seed,
    )
    result = _result(study, pl.concat(rows, how="diagonal_relaxed"), text, with_baseline=baseline is not None)
    check_strict(result, [*study.study.encoded.by, *study.study.members, "threshold"], strict=strict)
    return result


def _asked(
    subset: Any,
    contamination: Any,
    thresholds: int | Sequence[float] | None,
    two_sided: bool,
    level: float,
    n_resamples: int,
    rng_seed: int,
) -> tuple[Marks, _Plan]:
    """What is said of instances, and how it is looked at."""
    if (subset is None) == (contamination is None):
        raise OptionError("give either subset (clean instances) or contamination (a number an instance)")
    chosen: int | tuple[float, ...] = N_THRESHOLDS
    if thresholds is not None:
        if subset is not None:
            raise OptionError("thresholds are for contamination; subset has one, clean or not")
        if isinstance(thresholds, int) and not isinstance(thresholds, bool):
            check_count("thresholds", thresholds)
            chosen = thresholds
        elif isinstance(thresholds, (str, bytes)) or not isinstance(thresholds, Sequence) or not thresholds:
            raise OptionError(
                f"thresholds must be how many, or numbers such as (0.2, 0.5), got {thresholds!r}"
            )
        else:
            numbers = [float(one) for one in thresholds]
            if not np.isfinite(numbers).all():
                raise OptionError(f"thresholds must be finite, got {thresholds!r}")
            chosen = tuple(sorted(set(numbers)))
    if contamination is not None:
        names = ("contamination", "score", "value")
        marks = open_marks(contamination, "contamination", names, default=None, yes_or_no=False, per_run=True)
    else:
        marks = open_marks(_listed(subset), "subset", ("clean",), default=1.0, yes_or_no=True, per_run=True)
    return marks, _Plan(chosen, two_sided, level, n_resamples, rng_seed)


def _listed(subset: Any) -> Any:
    """Instance ids as a table."""
    if isinstance(subset, (str, os.PathLike, pl.DataFrame, pl.LazyFrame)):
        return subset
    if isinstance(subset, pl.Series) or (
        isinstance(subset, Collection) and not hasattr(subset, "__arrow_c_stream__")
    ):
        names = sorted({str(item) for item in subset})
        return pl.DataFrame({"instance_id": names}, schema={"instance_id": pl.String})
    return subset


def _references(study: ItemStudy, baseline: str | Sequence[str] | None) -> Ints | None:
    """Numbers of the members that the others are compared with."""
    if baseline is None:
        return None
    runs = study.study.encoded.members["run"].to_list()
    for name in as_columns(baseline):
        if name not in runs:
            raise SchemaError(
                f"baseline: no run {name!r}{did_you_mean(name, [run for run in runs if run])} "
                f"(there are {', '.join(map(str, runs[:8]))}{', ..' if len(runs) > 8 else ''})"
            )
    return np.array([runs.index(name) for name in as_columns(baseline)], dtype=np.intp)


def _parts(
    found: ItemScores, marks: Marks, label: Mapping[str, str | None], study: ItemStudy, *, default: bool
) -> Iterator[_Part]:
    """The members of a group, those with the same contamination together."""
    everyone = np.arange(len(found.members))
    batches = [(everyone, dict(label))]
    if marks.per_run:
        runs = study.study.encoded.members["run"]
        batches = [
            (everyone[[at]], {**label, "run": runs[member]})
            for at, member in enumerate(found.members.tolist())
        ]
    for rows, labels in batches:
        mark = marks.of(labels, found.items)
        if default:
            # Of a list of clean instances the others are contaminated, of a list of both they are unknown.
            rest = np.nan if (marks.values == 0).any() else 0.0
            mark = 1.0 - np.where(np.isnan(mark), rest, mark)
        known: Mask = np.isfinite(mark)
        yield _Part(rows, found.keeping(known), mark[known], int((~known).sum()))


def _thresholds(contamination: Floats, asked: int | tuple[float, ...]) -> Floats:
    if isinstance(asked, tuple):
        return np.array(asked)
    values = np.unique(contamination)
    if len(values) - 1 > asked:
        places = np.round(np.linspace(0, len(contamination), asked + 2)[1:-1]).astype(np.intp) - 1
        values = np.append(np.unique(np.sort(contamination)[np.maximum(places, 0)]), values[-1])
    # Nothing is above the largest.
    return values[values < values[-1]] if len(values) > 1 else values


def _gaps(
    part: _Part, sign: float, references: Ints | None, plan: _Plan, key: tuple[int, int], *, by_flag: bool
) -> pl.DataFrame:
    """A row for each member and threshold."""
    given, rows = part.given, part.rows
    n = len(given.items)
    cuts = np.array([0.5]) if by_flag else _thresholds(part.contamination, plan.thresholds)
    if not len(cuts):
        cuts = np.array([np.nan])
    order = np.argsort(part.contamination, kind="stable")
    counts = np.searchsorted(part.contamination[order], cuts, side="right").astype(np.intp)
    size = len(rows) * len(cuts)
    columns: dict[str, Any] = {
        "group": [given.group] * size,
        "member": np.repeat(given.members[rows], len(cuts)),
        "threshold": [None] * size if by_flag else np.tile(cuts, len(rows)),
        "n_instances": [n] * size,
        "n_clean": np.tile(counts, len(rows)),
        "n_contaminated": np.tile(n - counts, len(rows)),
        "n_unknown": [part.n_unknown] * size,
        "n_unmatched": [given.n_unmatched] * size,
        "clustered": [given.clustered] * size,
        "reason": [given.reason if given.reason != "ok" or n else "too_few"] * size,
    }
    if given.reason != "ok" or not n:
        return pl.DataFrame(columns, schema_overrides={"threshold": pl.Float64})
    values = given.sides[0][rows]
    clean = part.contamination[None, :] <= cuts[:, None]
    parts = [part_means(values, given.weights * masks, given.clusters).means for masks in _masks(clean)]
    for name, means in zip(_SCORES, parts, strict=True):
        columns[name] = np.broadcast_to(means, (len(cuts), len(rows))).T.ravel()
    tested = {"gain": sign * values}
    if references is not None:
        tested["excess"] = _differences(given, rows, references, sign)
    columns |= _tested(tested, given, clean, order, counts, plan, key)
    columns["constant"] = np.repeat(np.ptp(values, axis=1) == 0, len(cuts))
    return pl.DataFrame(columns, schema_overrides={"threshold": pl.Float64})


def _masks(clean: Mask) -> list[Mask]:
    return [np.ones((1, clean.shape[1]), dtype=bool), clean, ~clean]


def _differences(given: ItemScores, rows: Ints, references: Ints, sign: float) -> Floats:
    """Scores of the members less the mean of the references, themselves left out."""
    values = given.sides[0]
    among = np.isin(given.members, references)
    out = np.full((len(rows), values.shape[1]), np.nan)
    for at, row in enumerate(rows.tolist()):
        others = among.copy()
        others[row] = False
        if others.any():
            out[at] = sign * (values[row] - values[others].mean(axis=0))
    return out


def _tested(
    tables: Mapping[str, Floats],
    given: ItemScores,
    clean: Mask,
    order: Ints,
    counts: Ints,
    plan: _Plan,
    key: tuple[int, int],
) -> dict[str, Floats]:
    """Gains with their errors and tests, members one after the other and thresholds within.

    The `tables` of scores see the same random orders.
    """
    values = np.concatenate(list(tables.values()))
    n = clean.shape[1]
    shape = (len(values), len(counts))
    gain, stderr = np.full(shape, np.nan), np.full(shape, np.nan)
    score, influence = part_means(values, given.weights[None, :], given.clusters).combined({0: 1.0})
    for at, mask in enumerate(clean):
        part = part_means(values, given.weights * mask[None, :], given.clusters)
        clean_score, clean_influence = part.combined({0: 1.0})
        gain[:, at] = score - clean_score
        stderr[:, at] = np.sqrt(((influence - clean_influence) ** 2).sum(axis=1))
    smaller = np.minimum(counts, n - counts)
    known = np.isfinite(values.sum(axis=1))
    usable = (smaller[None, :] > 0) & known[:, None]
    freedom = np.broadcast_to(np.maximum(smaller - 1.0, 1.0), shape)
    margin = quantile_at("t_quantile", (1 + plan.level) / 2, freedom.ravel()).reshape(shape) * stderr
    margin = np.where(smaller >= 2, margin, np.nan)
    if given.clustered or (given.weights != given.weights[0]).any():
        z = np.where(stderr > 0, gain / stderr, np.nan)
        extreme = np.abs(z) if plan.two_sided else z
        p = kernels().t_cdf(-extreme.ravel(), freedom.ravel()).reshape(shape) * (2 if plan.two_sided else 1)
        adjusted = np.minimum(p * len(counts), 1.0)
    else:
        tests = gap_tests(values, order, counts, key, plan.n_resamples, two_sided=plan.two_sided)
        z, p, adjusted = tests.z, tests.p_value, tests.p_adjusted
    found = {"": gain, "stderr": stderr, "low": gain - margin, "high": gain + margin}
    found |= {"z": z, "p_value": p, "p_adjusted": adjusted}
    if plan.two_sided:
        z = np.abs(z)
    best = np.where(usable & np.isfinite(z), z, -np.inf)
    highest = (np.arange(len(counts)) == best.argmax(axis=1)[:, None]) & np.isfinite(best)
    out: dict[str, Any] = {}
    ends = np.cumsum([len(table) for table in tables.values()]).tolist()
    for name, end, table in zip(tables, ends, tables.values(), strict=True):
        rows = slice(end - len(table), end)
        prefix = "" if name == "gain" else f"{name}_"
        for column, numbers in found.items():
            whole = f"{prefix}{column}" if column else name
            out[whole] = np.where(usable, numbers, np.nan)[rows].ravel()
        out[f"{prefix}best"] = highest[rows].ravel()
    return out


def _result(study: ItemStudy, table: pl.DataFrame, text: str, *, with_baseline: bool) -> pl.DataFrame:
    encoded = study.study.encoded
    table = table.sort("group", "member", "threshold", maintain_order=True)
    group = table["group"].to_numpy()
    keys = encoded.groups.select(encoded.by)[group]
    members = encoded.members.select(study.study.members)[table["member"].to_numpy()]
    statuses = Statuses.of(table["reason"])
    smaller = np.minimum(table["n_clean"].to_numpy(), table["n_contaminated"].to_numpy())
    statuses.set("too_few", smaller < 1)
    if "constant" in table.columns:
        statuses.set("constant", table["constant"].fill_null(value=False).to_numpy())
    flags = {
        "few_instances": smaller < FEW_IN_PART,
        "missing_values": ((encoded.n_missing + encoded.n_nan) > 0)[group],
        "mixed_config": np.full(table.height, "config" in encoded.joined),
        "clustered": table["clustered"].to_numpy(),
        "unmatched": table["n_unmatched"].to_numpy() > 0,
    }
    shown = [*_numbers(table, (*_SCORES, *_GAIN)), _flag(table, "best")]
    if with_baseline:
        shown += [*_numbers(table, _EXCESS), _flag(table, "excess_best")]
    return keys.with_columns(
        *(members[name] for name in members.columns if name not in keys.columns),
        *(table[name] for name in ("threshold", *_COUNTS)),
        *shown,
        table["n_unknown"],
        table["n_unmatched"],
        statuses.column(),
        flag_lists(flags, table.height),
        pl.lit(text).alias("signature"),
    )


def _numbers(table: pl.DataFrame, names: Sequence[str]) -> list[pl.Series]:
    """Columns of numbers, null where no group has them."""
    empty = np.full(table.height, np.nan)
    return [
        result_column(name, table[name].fill_null(np.nan).to_numpy() if name in table.columns else empty)
        for name in names
    ]


def _flag(table: pl.DataFrame, name: str) -> pl.Series:
    if name not in table.columns:
        return pl.Series(name, np.zeros(table.height, dtype=bool))
    return table[name].fill_null(value=False)
