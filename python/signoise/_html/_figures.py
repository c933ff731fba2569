"""The figures of the page: what each takes from the scores, and why one is missing."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import polars as pl

from .. import plot
from .._errors import SignoiseError, SignoiseWarning
from .._report import Report, Sides
from .._schema import as_expression
from ..plot._frames import labelled, size
from ._chosen import Chosen, all_of, choose

#: More runs than this make a matrix that nobody reads.
MOST_RUNS = 24


@dataclass(frozen=True)
class Figure:
    """A chart, what is to be said below it, and the numbers in it."""

    name: str
    chart: Any
    caption: str
    data: pl.DataFrame

    def specification(self) -> dict[str, Any]:
        """Vega-Lite. It is not checked against the schema again: tests do."""
        return self.chart.to_dict(validate=False)


@dataclass(frozen=True)
class Absent:
    """A figure that these scores do not give, and why."""

    name: str
    reason: str


class NotHere(Exception):
    """Why a figure is absent."""


def figures(report: Report, hand_over: Callable[[Figure], None]) -> list[Figure | Absent]:
    """All figures in the order of the page; each is handed over as soon as it is there."""
    chosen, compared = choose(report), _Compared(report)
    makers: list[tuple[str, Callable[[], Figure]]] = [
        ("Signal and noise", lambda: _plane(report)),
        ("SNR and decision accuracy", lambda: _correlation(report)),
        ("Training curves", lambda: _curves(report, chosen)),
        ("Decision accuracy against compute", lambda: _decisions(report, chosen)),
        ("Law of scale", lambda: _law(report)),
        ("Subtasks", lambda: _subtasks(report)),
        ("Sources of noise", lambda: _sources(report, chosen)),
        ("Comparison of models", compared.matrix),
        ("Ranks of models", compared.ranks),
    ]
    found: list[Figure | Absent] = []
    for name, make in makers:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", SignoiseWarning)
                figure = make()
        except (NotHere, SignoiseError) as error:
            found.append(Absent(name, str(error)))
            continue
        hand_over(figure)
        found.append(figure)
    return found


def _plane(report: Report) -> Figure:
    table = report.table
    return Figure(
        "Signal and noise",
        plot.signal_noise_plane(table),
        "Up and to the left is better: models lie far apart, and scores wobble little between checkpoints. On a "
        "dashed line the ratio of the two, SNR, is the same.",
        table.select(*report.basis.by, *_there(table, ("signal", "noise", "snr", "decision_accuracy"))),
    )


def _there(table: pl.DataFrame, names: Sequence[str]) -> list[str]:
    return [name for name in names if name in table.columns]


def _correlation(report: Report) -> Figure:
    table = report.table
    if "decision_accuracy" not in table.columns:
        raise NotHere("needs a decision accuracy: two sizes that share recipes, or two stages of training")
    ratio = (
        "snr_within_scale"
        if "snr_within_scale" in table.columns and table["snr_within_scale"].count() > 2
        else "snr"
    )
    return Figure(
        "SNR and decision accuracy",
        plot.snr_vs_decision_accuracy(table, snr=ratio),
        f"Each point is a benchmark. The line is fitted to the logarithm of {ratio} by least squares.",
        table.select(*report.basis.by, ratio, "decision_accuracy"),
    )


def _curves(report: Report, chosen: Chosen) -> Figure:
    basis = report.basis
    rows = chosen.rows(basis.scores)
    return Figure(
        "Training curves",
        plot.training_curves(rows, by=basis.by, window=basis.window, most=len(chosen.keys)),
        f"{chosen.words}. A benchmark with a high SNR shows lines far apart beside their bands.",
        rows.select(_there(rows, ("run", "params", "recipe", "step", "tokens", *basis.by, "value"))),
    )


def _decisions(report: Report, chosen: Chosen) -> Figure:
    basis, sides = report.basis, report.basis.sides
    if sides is None:
        raise NotHere("needs two sides: sizes that share recipes, or stages of training")
    from .._decisions import decision_accuracy

    rows = chosen.rows(basis.known)
    parts, cost = [], "flops"
    for small, target, where, price in (
        _stages(rows, sides.target) if sides.kind == "stages" else _scales(rows, sides)
    ):
        side = rows if where is None else rows.filter(where)
        table = decision_accuracy(
            side,
            by=basis.by,
            small=small,
            target=target,
            match=sides.match,
            direction=basis.direction,
            **basis.shared,
        )
        cost, value = price
        parts.append(table.with_columns(pl.lit(value).alias(cost)))
    if len(parts) < 2:
        raise NotHere("needs two smaller scales, or checkpoints along training")
    table = pl.concat(parts, how="diagonal_relaxed")
    whom = sides.match or "member"
    return Figure(
        "Decision accuracy against compute",
        plot.decision_curve(table, x=cost),
        f"{chosen.words}. How many pairs of {whom}s stand in the order of the target if the small side is "
        "as large as this.",
        table.drop("signature", "flags"),
    )


_Side = tuple[Any, Any, pl.Expr | None, tuple[str, float]]


def _scales(rows: pl.DataFrame, sides: Sides) -> list[_Side]:
    """Every size below the target's that shares two members with it, priced by the compute of a run."""
    member = sides.match or ("recipe" if "recipe" in rows.columns else "run")
    if not {"params", member} <= set(rows.columns):
        raise NotHere("needs runs with params")
    sized = rows.drop_nulls(["params", member])
    tokens = pl.col("tokens").max() if "tokens" in rows.columns else pl.lit(None, pl.Float64)
    sizes = sized.group_by("params").agg(pl.col(member).unique(), tokens.alias("tokens")).sort("params")
    target = sized.filter(as_expression(sides.target, "target"))
    if target["params"].n_unique() != 1:
        raise NotHere("needs a target of one size")
    largest, members = target["params"][0], set(target[member])
    smaller = [row for row in sizes.rows() if row[0] < largest and len(set(row[1]) & members) >= 2]
    by_compute = all(row[2] is not None for row in smaller)
    return [
        (
            f"params = {params}",
            sides.target,
            None,
            ("flops", 6.0 * params * most) if by_compute else ("params", float(params)),
        )
        for params, _, most in smaller
    ]


def _stages(rows: pl.DataFrame, target: str | pl.Expr) -> list[_Side]:
    """Shares of the training that comes before the target's."""
    along, _, start = str(target).partition(" > ")
    half = float(start)
    early = rows.filter(pl.col(along) <= half)[along].drop_nulls().unique().sort()
    found: list[_Side] = []
    used: set[float] = set()
    for share in (0.05, 0.1, 0.2, 0.4, 0.7, 1.0):
        below = early.filter(early <= half * share)
        if not len(below) or below[-1] <= 0 or below[-1] in used:
            continue
        used.add(below[-1])
        found.append(
            (f"{along} <= {below[-1]!r}", target, pl.col(along).is_not_null(), (along, float(below[-1])))
        )
    return found


def _law(report: Report) -> Figure:
    from .._laws import predict
    from .._laws._law import find_law

    predictions = report.basis.predictions
    if predictions is None:
        raise NotHere("needs runs of five sizes or more with params and tokens")
    by = report.basis.by
    defined = predictions.filter(pl.col("predicted").is_not_null(), pl.col("actual").is_not_null())
    ranked = report.table.filter(pl.col("snr").is_not_null()).select(by).head(60)
    best = ranked.join(defined, on=by, how="inner", nulls_equal=True, maintain_order="left")
    if not best.height:
        raise NotHere("no law of scale could be fitted")
    law = find_law(best["law"][0])
    if tuple(law.inputs) != ("flops",):
        raise NotHere(f"the law {law.name} has no single input to draw it along")
    key = best.row(0, named=True)
    target = best.filter(all_of(key, by))
    rows = report.basis.known.filter(all_of(key, by), pl.col("params").is_not_null(), pl.col("tokens") > 0)
    largest = rows["params"].max()
    last = rows.sort("tokens").group_by("run", maintain_order=True).last()
    last = last.with_columns(flops=6.0 * pl.col("params") * pl.col("tokens"))
    trained = last.filter(pl.col("params") < largest).select(
        "run", "params", "tokens", "flops", pl.col("value").alias(key["metric"])
    )
    low, high = trained["flops"].min(), target["flops"].max()
    grid = [low * (high / low) ** (i / 24) for i in range(25)]  # type: ignore[operator]
    curve = predict(
        trained, law, y=key["metric"], at=pl.DataFrame({"flops": grid}), n_resamples=200, check_units=False
    )
    name = labelled(target)["label"][0]
    return Figure(
        "Law of scale",
        plot.scaling_law(
            curve,
            x="flops",
            y=key["metric"],
            points=trained,
            target=target.drop("prediction_low", "prediction_high"),
        ),
        f"{name}, which has the highest SNR of those that could be foretold: {law.name} of the last checkpoints of "
        f"{trained.height} runs below {size(largest)} parameters, and what the {target.height} largest scored. "  # type: ignore[arg-type]
        "The bands hold only if the law does.",
        curve.drop("signature", "flags"),
    )


def _subtasks(report: Report) -> Figure:
    from .._interventions._subtasks import filter_subtasks

    scores, basis = report.basis.known, report.basis
    outer = [name for name in basis.by if name != "subtask"]
    if "subtask" not in scores.columns or not scores["subtask"].count():
        raise NotHere("no benchmark has subtasks (--group NAME=GLOB makes one benchmark of several tasks)")
    counts = (
        scores.drop_nulls("subtask")
        .group_by(outer)
        .agg(pl.col("subtask").n_unique().alias("parts"))
        .filter(pl.col("parts") >= 3)
        .sort(["parts", *outer], descending=[True, *[False] * len(outer)])
    )
    if not counts.height:
        raise NotHere("no benchmark has three subtasks")
    rows = scores.filter(all_of(counts.row(0, named=True), outer), pl.col("subtask").is_not_null())
    table = filter_subtasks(rows, by=outer, window=basis.window, direction=basis.direction)
    return Figure(
        "Subtasks",
        plot.subtask_curves(table),
        "The benchmark with the most subtasks. A curve always has a peak: how much of it holds for other models is for "
        "filtering_gain (signoise subtasks).",
        table.drop("signature", "flags"),
    )


def _sources(report: Report, chosen: Chosen) -> Figure:
    from .._variance import variance

    basis = report.basis
    table = variance(
        chosen.many(basis.scores),
        by=basis.by,
        window=basis.window,
        instances=False,
        **_without_strict(basis.shared),
    )
    return Figure(
        "Sources of noise",
        plot.noise_sources(table),
        "Where most of a bar is between models, one checkpoint of one run already says who is better.",
        table.select(*basis.by, *_there(table, ("share_members", "share_seed", "share_step", "status"))),
    )


def _without_strict(shared: Any) -> dict[str, Any]:
    return {name: value for name, value in shared.items() if name != "strict"}


class _Compared:
    """One benchmark's comparisons, which two figures draw."""

    def __init__(self, report: Report) -> None:
        self.report = report

    @cached_property
    def scores(self) -> tuple[Any, dict[str, Any], str]:
        return _one_benchmark(self.report)

    @cached_property
    def pairs(self) -> pl.DataFrame:
        from .._compare import compare

        scores, options, _ = self.scores
        return compare(scores, **options)

    def matrix(self) -> Figure:
        return Figure(
            "Comparison of models",
            plot.comparison_matrix(self.pairs),
            f"Last checkpoints on {self.scores[2]}; significance adjusted for the number of pairs (Holm).",
            self.pairs.drop("signature", "flags"),
        )

    def ranks(self) -> Figure:
        from .._rank import rank

        scores, options, name = self.scores
        table = rank(scores, direction=self.report.basis.direction, **options)
        return Figure(
            "Ranks of models",
            plot.critical_difference(table, comparisons=self.pairs),
            f"Last checkpoints on {name}. What another seed or checkpoint would give is not in these intervals.",
            table.drop("signature", "flags"),
        )


def _one_benchmark(report: Report) -> tuple[Any, dict[str, Any], str]:
    """Scores and options for the benchmark with the highest SNR that has instances or standard errors."""
    basis = report.basis
    by, scores = basis.by, basis.known
    kinds = [name for name in ("stderr", "rolled_up") if name in scores.columns and scores[name].count()]
    if not kinds:
        raise NotHere("needs instances, or standard errors of the scores")
    few = (
        scores.filter(pl.col(kinds[0]).is_not_null()).group_by(by).agg(pl.col("run").n_unique().alias("runs"))
    )
    ranked = report.table.filter(pl.col("snr").is_not_null()).select(by)
    ranked = ranked.join(few, on=by, how="inner", nulls_equal=True, maintain_order="left")
    ranked = ranked.filter(pl.col("runs").is_between(2, MOST_RUNS))
    if not ranked.height:
        raise NotHere(f"no benchmark has instances or standard errors of 2 to {MOST_RUNS} runs")
    key = ranked.row(0, named=True)
    name = labelled(ranked.head(1).select(by))["label"][0]
    if kinds[0] == "stderr":
        rows = scores.filter(all_of(key, by), pl.col("stderr").is_not_null())
        return rows.drop("rolled_up", strict=False), {"by": by}, name
    filled = [column for column in by if key[column] is not None]
    where = (
        all_of(key, filled)
        if basis.where is None
        else as_expression(basis.where, "where") & all_of(key, filled)
    )
    return basis.source, {"by": by, "where": where, "columns": basis.columns}, name
