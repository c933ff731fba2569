"""The main job: one table that says which benchmarks to trust, and the sentences that say what its numbers are.

Nothing is estimated here. Each column comes from a verb; this module chooses populations, says which, and formats.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from inspect import signature
from typing import Any, Literal

import polars as pl

from ._decisions import decision_accuracy
from ._errors import DroppedRowsWarning, InsufficientDataError, OptionError, SignoiseWarning
from ._laws import prediction_error
from ._metrics import direction as direction_of
from ._metrics import lookup
from ._schema import SCORE_IDENTITY, as_expression
from ._scores import Filter, Groups, Scores, load
from ._smoothness import smoothness
from ._snr import snr

_BY = ("task", "metric")
#: A scale decides for another if it is at most this share of its size, unless nothing that small is there.
_SMALL_SHARE = 0.25
#: Sizes below the largest from which a law of scale is worth fitting.
_LEAST_RUNGS = 4


@dataclass(frozen=True)
class Sides:
    """What decides for what."""

    small: str | pl.Expr
    target: str | pl.Expr
    match: str | None
    where: pl.Expr | None
    words: str
    kind: Literal["given", "scales", "stages"] = "given"


@dataclass(frozen=True)
class Basis:
    """What a report was made of: for those who show more of it than its table."""

    scores: pl.DataFrame
    """The score table, filtered and checked."""
    known: pl.DataFrame
    """Those of its rows whose metric has a direction."""
    by: list[str]
    sides: Sides | None
    """Of the decision accuracy."""
    predictions: pl.DataFrame | None
    """A row for each score of the largest runs that was foretold."""
    window: int
    direction: Mapping[str, str] | None
    chance: Mapping[str, float] | None
    confidence_level: float
    source: Scores
    """What was given, with how it is read: where single instances are wanted."""
    where: Filter
    columns: Mapping[str, str] | None
    shared: Mapping[str, Any]
    """Options that every verb was called with."""


@dataclass(frozen=True)
class Report:
    """The table and what has to be said beside it."""

    table: pl.DataFrame
    headline: str
    """The answer in one sentence."""
    populations: list[str]
    """Which rows each number uses."""
    reading: list[str]
    """What was read, dropped and settled."""
    warnings: list[Warning]
    """What the verbs warned of, each once."""
    basis: Basis
    """What the table was made of."""

    @property
    def lines(self) -> list[str]:
        """Everything beside the table, in reading order."""
        return [self.headline, *self.populations, *self.reading]


def report(
    scores: Scores,
    *,
    where: Filter = None,
    window: int = 5,
    small: Filter = None,
    target: Filter = None,
    groups: Groups = None,
    columns: Mapping[str, str] | None = None,
    chance: Mapping[str, float] | None = None,
    direction: Mapping[str, str] | None = None,
    confidence_level: float = 0.95,
    html: str | os.PathLike[str] | None = None,
    strict: bool = False,
    threads: int | None = None,
) -> pl.DataFrame:
    """Which benchmarks to trust: one row a benchmark, best signal-to-noise ratio first.

    Parameters
    ----------
    scores, where, window, groups, columns, chance, confidence_level, strict, threads
        As in `snr`.
    small, target
        Sides of the decision accuracy, as in `decision_accuracy`. Default: two scales that share recipes (the larger
        the largest, the smaller at most a quarter of it), else early against late training.
    direction
        ``{"metric": "higher" | "lower"}`` for metrics that are not known.
    html : path, optional
        Also write a page with the answer, the table, figures and all settings: one file that needs no network. Needs
        ``pip install 'signoise[report]'``.

    Returns
    -------
    DataFrame
        ``task``, ``metric`` (and ``subtask, config, filter`` where they vary), ``n_runs, n_checkpoints, mean, signal,
        noise, snr, snr_low, snr_high`` over all runs; where runs differ in size ``snr_within_scale`` (median over
        scales of the SNR among members of equal params) and ``n_scales``; ``decision_accuracy`` with ``low, high``
        where two sides exist; where runs of at least four sizes below the largest have params and tokens
        ``predicted`` (mean over the largest runs) and ``prediction_error`` (of the relative errors' sizes), in one step
        with the defaults of `prediction_error`; ``monotonicity`` (mean Kendall tau-b of the runs' learning curves),
        ``status, flags, signature``. Groups with conflicting duplicates have the status ``duplicate_key``.

    Warns
    -----
    DroppedRowsWarning, MixedKeyWarning
        As the verbs do, each once.

    See Also
    --------
    snr, decision_accuracy, prediction_error, smoothness : the verbs behind the columns.

    Examples
    --------
    >>> import signoise as sn
    >>> table = sn.report(sn.example_scores())
    >>> table["task"][0], table["status"].value_counts().height
    ('sim_arc', 2)
    """
    options: dict[str, Any] = {
        "where": where,
        "window": window,
        "small": small,
        "target": target,
        "groups": groups,
        "columns": columns,
        "chance": chance,
        "direction": direction,
        "confidence_level": confidence_level,
        "strict": strict,
        "threads": threads,
    }
    if html is None:
        made = make_report(scores, **options)
    else:
        from ._html import write_page

        made = write_page(html, lambda: make_report(scores, **options), command=_call(html, options))
    for warning in made.warnings:
        warnings.warn(warning, stacklevel=2)
    return made.table


def _call(html: str | os.PathLike[str], options: Mapping[str, Any]) -> str:
    """The call, with the options that are not as they come."""
    usual = signature(report).parameters
    given = {name: value for name, value in options.items() if value is not usual[name].default}
    written = "".join(f"{name}={value!r}, " for name, value in given.items())
    return f"signoise.report(scores, {written}html={os.fspath(html)!r})"


def make_report(
    scores: Scores,
    *,
    where: Filter = None,
    window: int = 5,
    small: Filter = None,
    target: Filter = None,
    groups: Groups = None,
    columns: Mapping[str, str] | None = None,
    chance: Mapping[str, float] | None = None,
    direction: Mapping[str, str] | None = None,
    confidence_level: float = 0.95,
    strict: bool = False,
    threads: int | None = None,
    progress: Callable[[str], None] | None = None,
) -> Report:
    """The report's parts; `progress` hears what is being done."""
    say = progress or (lambda _: None)
    if (small is None) != (target is None):
        raise OptionError(
            "small and target are the two sides of the decision accuracy: give both, or neither for the default"
        )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", SignoiseWarning)
        say("reading")
        use = [as_expression(f, name) for name, f in (("small", small), ("target", target)) if f is not None]
        table = load(
            scores,
            columns=columns,
            where=where,
            groups=groups,
            use=use,
            duplicates="status",
            strict=strict,
            threads=threads,
        )
        frame = table.frame
        shared: dict[str, Any] = {"duplicates": "status", "strict": False, "threads": threads}
        say("signal and noise over all runs")
        whole = snr(frame, window=window, chance=chance, confidence_level=confidence_level, **shared)
        by = [name for name in whole.columns if name in SCORE_IDENTITY]
        out = whole.select(
            *by,
            "n_runs",
            "n_checkpoints",
            "mean",
            "signal",
            "noise",
            "snr",
            "snr_low",
            "snr_high",
            "status",
            "flags",
            "signature",
        )
        populations = [
            f"snr: range of the runs' mean scores over their last {window} checkpoints, divided by the noise "
            f"within runs; {_runs(frame)}{_of_sizes(frame)}"
        ]
        say("signal and noise within scales")
        out, more = _within_scale(frame, out, by, window, confidence_level, shared)
        populations += more
        say("decision accuracy")
        known, unknown = known_directions(frame, direction)
        sides = (
            _given_sides(small, target) if small is not None and target is not None else default_sides(known)
        )
        out, more = _decided(known, out, by, sides, direction, confidence_level, shared)
        populations += more
        say("prediction error")
        predictions, more = _foretold(known, by, direction, shared)
        if predictions is not None:
            mean = predictions.group_by(by).agg(pl.col("predicted", "prediction_error").sort().mean())
            out = out.join(mean, on=by, how="left", nulls_equal=True)
        populations += more
        say("monotonicity")
        out = _monotone(known, out, by, direction, shared)
        if unknown:
            populations.append(
                f"no direction is known for {', '.join(unknown)}: no decision accuracy or monotonicity; declare it "
                'with direction={"name": "higher"} or --direction name=higher'
            )
    order = [
        *by,
        *(c for c in out.columns if c not in (*by, "status", "flags", "signature")),
        "status",
        "flags",
        "signature",
    ]
    out = out.select(order).sort(["snr", *by], descending=[True, *[False] * len(by)], nulls_last=True)
    told: dict[str, Warning] = {}
    for item in caught:
        if isinstance(item.message, SignoiseWarning):
            told.setdefault(str(item.message), item.message)
    for note in table.notes:
        told.setdefault(note, DroppedRowsWarning(note))
    reading = list(table.report.summary()) if table.report is not None else []
    reading += _out_of_bounds(out)
    reading += table.notes
    reading += [f"{frame.height} scores went into {out.height} rows"]
    _raise_if_strict(out, by, strict=strict)
    basis = Basis(
        scores=frame,
        known=known,
        by=by,
        sides=sides,
        predictions=predictions,
        window=window,
        direction=direction,
        chance=chance,
        confidence_level=confidence_level,
        source=scores,
        where=where,
        columns=columns,
        shared=shared,
    )
    return Report(out, _headline(out), populations, reading, list(told.values()), basis)


def _raise_if_strict(out: pl.DataFrame, by: list[str], *, strict: bool) -> None:
    from ._status import check_strict

    check_strict(out, by, strict=strict)


def _runs(frame: pl.DataFrame) -> str:
    count = _count(frame, "run")
    return f"all {count} runs" if count > 1 else "one run"


def _count(frame: pl.DataFrame, name: str) -> int:
    return frame[name].drop_nulls().n_unique()


def _of_sizes(frame: pl.DataFrame) -> str:
    if "params" not in frame.columns:
        return ""
    sizes = frame["params"].drop_nulls().unique().sort()
    if len(sizes) < 2:
        return ""
    return f" of {len(sizes)} sizes from {_size(sizes[0])} to {_size(sizes[-1])} parameters together"


def _size(params: float) -> str:
    for unit, name in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if params >= unit:
            return f"{params / unit:.3g}{name}"
    return f"{params:.3g}"


def _within_scale(
    frame: pl.DataFrame,
    out: pl.DataFrame,
    by: list[str],
    window: int,
    level: float,
    shared: Mapping[str, Any],
) -> tuple[pl.DataFrame, list[str]]:
    """Median over scales of the SNR among members of equal params."""
    if "params" not in frame.columns or _count(frame, "params") < 2:
        return out, []
    sized = frame.filter(pl.col("params").is_not_null())
    members = "recipe" if "recipe" in sized.columns and sized["recipe"].null_count() == 0 else "run"
    table = snr(sized, by=(*by, "params"), across=members, window=window, confidence_level=level, **shared)
    compared = table.filter(pl.col("n_runs") >= 2)
    if not compared.height:
        return out, [f"snr_within_scale: no two {members}s have equal params"]
    median = compared.group_by(by).agg(
        pl.col("snr").median().alias("snr_within_scale"), pl.col("snr").count().alias("n_scales")
    )
    few, many = (int(compared["n_runs"].sort()[end]) for end in (0, -1))
    size = f"{few}" if few == many else f"{few} to {many}"
    return out.join(median, on=by, how="left", nulls_equal=True), [
        f"snr_within_scale: can I choose a {members} at a given size? Median over sizes of the SNR among the {size} "
        f"{members}s of equal params; n_scales counts the sizes"
    ]


def known_directions(
    frame: pl.DataFrame, declared: Mapping[str, str] | None
) -> tuple[pl.DataFrame, list[str]]:
    """Rows of metrics with a known direction, and the names of the others."""
    metrics = frame["metric"].drop_nulls().unique().sort().to_list()
    unknown = [metric for metric in metrics if direction_of(metric, declared) is None]
    return (frame.filter(~pl.col("metric").is_in(unknown)) if unknown else frame), unknown


def _given_sides(small: Filter, target: Filter) -> Sides:
    return Sides(small, target, None, None, f"small = {small!s}, target = {target!s}")  # type: ignore[arg-type]


def default_sides(frame: pl.DataFrame) -> Sides | None:
    """Two sides of a decision accuracy that these scores allow: two scales, else two stages of training."""
    return scale_sides(frame) or _stage_sides(frame)


def scale_sides(frame: pl.DataFrame) -> Sides | None:
    """The largest size and one well below it that share recipes."""
    if not {"recipe", "params"} <= set(frame.columns):
        return None
    pairs = frame.select("recipe", "params").drop_nulls().unique()
    recipes = {size: set(group["recipe"]) for (size,), group in pairs.group_by("params")}
    for target in sorted(recipes, reverse=True):
        smaller = [s for s in recipes if s < target and len(recipes[s] & recipes[target]) >= 2]
        if smaller:
            well_below = [s for s in smaller if s <= _SMALL_SHARE * target]
            small = max(well_below) if well_below else min(smaller)
            return Sides(
                f"params = {small}",
                f"params = {target}",
                "recipe",
                None,
                f"does the order of the recipes at {_size(small)} hold at {_size(target)}? Last checkpoints, matched "
                "on recipe",
                "scales",
            )
    return None


def _stage_sides(frame: pl.DataFrame) -> Sides | None:
    """The first half of training against the rest."""
    for along in ("tokens", "step"):
        if along not in frame.columns:
            continue
        ends = (
            frame.filter(pl.col(along).is_not_null())
            .group_by("run")
            .agg(pl.col(along).max().alias("end"), pl.col(along).n_unique().alias("n"))
            .filter(pl.col("n") >= 2)
        )
        if ends.height < 2:
            continue
        half = float(ends["end"].median()) / 2  # type: ignore[arg-type]
        early = frame.filter(pl.col(along) <= half)
        if not early.height or early["run"].n_unique() < 2:
            continue
        return Sides(
            f"{along} <= {half!r}",
            f"{along} > {half!r}",
            "run",
            pl.col(along).is_not_null(),
            f"does the order of the runs after the first half of training ({along} <= {half:.4g}) hold at the end? "
            "Last checkpoints, matched on run",
            "stages",
        )
    return None


def _decided(
    frame: pl.DataFrame,
    out: pl.DataFrame,
    by: list[str],
    sides: Sides | None,
    direction: Mapping[str, str] | None,
    level: float,
    shared: Mapping[str, Any],
) -> tuple[pl.DataFrame, list[str]]:
    if sides is None or not frame.height:
        return out, [
            "decision_accuracy: needs two sizes that share recipes, or two stages of training; neither is here"
        ]
    rows = frame if sides.where is None else frame.filter(sides.where)
    table = decision_accuracy(
        rows,
        by=by,
        small=sides.small,
        target=sides.target,
        match=sides.match,
        direction=direction,
        confidence_level=level,
        **shared,
    )
    keys = [name for name in by if name in table.columns]
    chosen = table.select(
        *keys,
        "n_members",
        "decision_accuracy",
        pl.col("low").alias("decision_low"),
        pl.col("high").alias("decision_high"),
    ).unique(subset=keys, keep="none")
    joined = out.join(chosen, on=keys, how="left", nulls_equal=True)
    return joined, [f"decision_accuracy: {sides.words}"]


def _foretold(
    frame: pl.DataFrame,
    by: list[str],
    direction: Mapping[str, str] | None,
    shared: Mapping[str, Any],
) -> tuple[pl.DataFrame | None, list[str]]:
    """How far the scores of the largest runs lie from what a law of scale makes of all others."""
    if not {"params", "tokens"} <= set(frame.columns):
        return None, []
    rows = frame.filter(pl.col("params").is_not_null() & pl.col("tokens").is_not_null())
    sizes = rows["params"].unique().sort()
    if len(sizes) <= _LEAST_RUNGS:
        return None, []
    largest = sizes[-1]
    try:
        table = prediction_error(
            rows,
            by=by,
            train=pl.col("params") < largest,
            target=pl.col("params") == largest,
            direction=direction,
            interval="none",
            n_resamples=0,
            check_units=False,
            **shared,
        )
    except InsufficientDataError:
        return None, []
    laws = ", ".join(table["law"].unique().sort())
    largest_runs = _count(rows.filter(pl.col("params") == largest), "run")
    return table, [
        f"prediction_error: can the scores at {_size(largest)} parameters be foretold from the {len(sizes) - 1} "
        f"smaller sizes? Laws of scale ({laws}) of last checkpoints; |predicted - actual| / |actual|, mean over the "
        f"{largest_runs} largest runs"
    ]


def _monotone(
    frame: pl.DataFrame,
    out: pl.DataFrame,
    by: list[str],
    direction: Mapping[str, str] | None,
    shared: Mapping[str, Any],
) -> pl.DataFrame:
    if not frame.height:
        return out
    # Kendall's tau alone is shown: its test by resampling is not paid for.
    curves = smoothness(frame, by=by, direction=direction or "metric", n_resamples=1, **shared)
    curves = curves.filter(pl.col("n_checkpoints") >= 3)
    mean = curves.group_by(by).agg(pl.col("monotonicity_tau").sort().mean().alias("monotonicity"))
    return out.join(mean, on=by, how="left", nulls_equal=True)


def _out_of_bounds(out: pl.DataFrame) -> list[str]:
    """Metrics whose mean scores cannot be what their name says, as accuracies in percent."""
    said = []
    for name in out["metric"].drop_nulls().unique().sort():
        metric = lookup(name)
        if metric is None or metric.low is None or metric.high is None:
            continue
        odd = out.filter(~pl.col("mean").is_between(metric.low, metric.high), metric=name)
        if odd.height:
            said.append(
                f"{name}: {odd.height} mean scores lie outside {metric.low:g} to {metric.high:g} (one is "
                f"{odd['mean'][0]:.4g}); if they are percent, divide by 100: chance levels and bounds are fractions"
            )
    return said


def _headline(out: pl.DataFrame) -> str:
    defined = out.filter(pl.col("snr").is_not_null())
    chance = out.filter(pl.col("flags").list.contains("near_chance")).height
    undefined = out.height - defined.height
    what = f"{out.height} benchmark{'s' * (out.height != 1)}"
    if (tasks := out["task"].n_unique()) < out.height:
        what = f"{out.height} scores of {tasks} tasks"
    parts = [
        f"Of {what}, {defined.height or 'none'} {'has' if defined.height < 2 else 'have'} a signal-to-noise ratio"
    ]
    if defined.height:
        low, middle, high = (defined["snr"].quantile(q) for q in (0.0, 0.5, 1.0))
        parts.append(f"from {low:.3g} to {high:.3g} (median {middle:.3g})")
    text = " ".join(parts)
    if chance:
        text += f"; {chance} {'is' if chance == 1 else 'are'} at chance level"
    if undefined:
        statuses = out.filter(pl.col("snr").is_null())["status"].value_counts(sort=True)
        reasons = ", ".join(f"{count} {status}" for status, count in statuses.iter_rows())
        text += f"; {undefined} {'has' if undefined == 1 else 'have'} none ({reasons})"
    return text + "."
