"""The questions that `advise` asks of a suite, each with an effect measured where it was not chosen."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from .._decisions import decision_accuracy
from .._intervals import quantile_at
from .._kernels import kernels
from .._options import signature
from .._schema import as_expression
from .._variance import variance
from ._advice_source import LABELS, Suite, is_primary
from ._choose_metric import choose_metric
from ._choose_window import choose_window
from ._filtering_gain import filtering_gain
from ._sample_size import sample_size
from ._separation import separation
from ._smoothed import open_study
from ._subtasks import filter_subtasks

#: Fewer tasks than this make no suite to choose from.
_LEAST_TASKS = 4
#: The suite's own name where a row is about all of its tasks.
SUITE = "suite"


@dataclass(frozen=True)
class Finding:
    """One question, its answer, and what would be advised if it holds."""

    label: Mapping[str, Any]
    action: str
    family: str
    """Tests of one family share their error: ``use``, ``selection``, ``averaging``; "" where an interval decides."""
    measure: str
    n_members: int | None
    status: str
    evidence: str
    """Signature of the verb behind the numbers."""
    effect: float | None = None
    low: float | None = None
    high: float | None = None
    in_sample: float | None = None
    p_value: float | None = None
    choice: str | None = None
    cost: float | None = None
    """Change of the suite's evaluation compute, a share of it."""
    excludes: float = 0.0
    """The value of no effect."""


@dataclass(frozen=True)
class Settings:
    """Options that all questions share."""

    window: int
    score: str
    order: str
    across: tuple[str, ...]
    n_splits: int
    rng_seed: int
    level: float
    useful: float
    direction: Mapping[str, str] | None
    duplicates: Any
    threads: int | None

    @property
    def common(self) -> dict[str, Any]:
        """Keywords of every verb."""
        return {
            "order": self.order,
            "confidence_level": self.level,
            "duplicates": self.duplicates,
            "threads": self.threads,
        }


def findings(suite: Suite, settings: Settings) -> list[Finding]:
    """All questions that these scores can answer."""
    return [found for ask in QUESTIONS for found in ask(suite, settings)]


def _label(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: row.get(name) for name in LABELS}


def _share(suite: Suite, row: Mapping[str, Any]) -> float:
    return suite.compute.get(row["task"], 0.0)


# --- is a benchmark of use at this scale?


def _use(suite: Suite, settings: Settings) -> Iterator[Finding]:
    return _decisions(suite, settings) if suite.sides else _separations(suite, settings)


def _decisions(suite: Suite, settings: Settings) -> Iterator[Finding]:
    table = decision_accuracy(
        suite.of_primary,
        **suite.sides,
        score=settings.score,  # type: ignore[arg-type]
        window=settings.window,
        direction=settings.direction,
        rng_seed=settings.rng_seed,
        **settings.common,
    )
    for row in table.iter_rows(named=True):
        numbers = [row[name] for name in ("decision_accuracy", "low", "high")]
        yield from _verdict(
            suite,
            settings,
            row,
            "decision_accuracy",
            numbers,
            row["n_members"],
            _p_of_decisions(row, settings.level),
        )


def _separations(suite: Suite, settings: Settings) -> Iterator[Finding]:
    frame = suite.of_primary
    study = open_study(
        frame,
        small=None,
        target=None,
        match=None,
        across=settings.across,
        by=("task", "metric"),
        where=None,
        order=settings.order,
        groups=None,
        columns=None,
        duplicates=settings.duplicates,
        strict=False,
        threads=settings.threads,
    )
    found = separation(study, settings.window, settings.level, settings.threads)
    text = signature(
        "separation",
        across=settings.across,
        window=settings.window,
        order=settings.order,
        level=settings.level,
    )
    labels = study.encoded.groups.select(study.encoded.by)
    for place, label in enumerate(labels.iter_rows(named=True)):
        numbers = [_known(values[place]) for values in (found.accuracy, found.low, found.high)]
        status = "ok" if numbers[0] is not None else "too_few"
        row = {**label, "status": status, "signature": text}
        p = _known(found.p_value[place])
        yield from _verdict(
            suite, settings, row, "expected_accuracy", numbers, int(found.n_members[place]), p
        )


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _verdict(
    suite: Suite,
    settings: Settings,
    row: Mapping[str, Any],
    measure: str,
    numbers: Sequence[float | None],
    members: int,
    p_value: float | None,
) -> Iterator[Finding]:
    """Two questions: whether it orders members better than a coin, and whether it may be of any use."""
    effect, low, high = numbers
    shared: dict[str, Any] = {
        "label": _label(row),
        "measure": measure,
        "n_members": members,
        "status": row["status"],
        "evidence": row["signature"],
        "effect": effect,
        "low": low,
        "high": high,
    }
    yield Finding(action="keep", family="use", p_value=p_value, cost=0.0, excludes=0.5, **shared)
    # Worth its compute is what it is not shown to be, and at best it would be little.
    if low is not None and high is not None and low <= 0.5 and high < settings.useful:
        yield Finding(
            action="do_not_use", family="", cost=-_share(suite, row), excludes=settings.useful, **shared
        )


def _p_of_decisions(row: Mapping[str, Any], level: float) -> float | None:
    """At which level the interval over members begins to hold one half, two-sided."""
    value, low, members = row["decision_accuracy"], row["low"], row["n_members"]
    if value is None or low is None or members < 3:
        return None
    if value >= 1.0:
        return min(1.0, 2 * 0.5 ** (members // 2))
    if not 0 < low < value:
        return 1.0
    freedom = np.array([members - 1.0])
    margin = np.log(value / (1 - value)) - np.log(low / (1 - low))
    stderr = margin / quantile_at("t_quantile", (1 + level) / 2, freedom)[0]
    t = np.log(value / (1 - value)) / stderr
    return min(1.0, 2 * float(kernels().t_cdf(np.array([-abs(t)]), freedom)[0]))


# --- selections


def _metric(suite: Suite, settings: Settings) -> Iterator[Finding]:
    """Another metric of the same answers, which costs nothing."""
    several = suite.tasks.group_by("task").agg(pl.col("metric").n_unique().alias("n")).filter(pl.col("n") > 1)
    frame = suite.tasks.filter(
        pl.col("task").is_in([*suite.primary]), pl.col("task").is_in(several["task"].to_list())
    )
    if not frame.height:
        return
    sides = suite.sides or {"match": settings.across}
    table = choose_metric(
        frame,
        primary={task: suite.primary[task] for task in frame["task"].unique().sort()},
        **sides,
        score=settings.score,  # type: ignore[arg-type]
        window=settings.window,
        n_splits=settings.n_splits,
        choices=False,
        direction=settings.direction,
        rng_seed=settings.rng_seed,
        **settings.common,
    )
    for row in table.iter_rows(named=True):
        chosen = row["metric"] if row["metric"] != row["primary"] else None
        label = _label({**row, "metric": row["primary"]})
        yield _gain(label, "switch_metric", "selection", row, choice=chosen, cost=0.0)


def _gain(
    label: Mapping[str, Any],
    action: str,
    family: str,
    row: Mapping[str, Any],
    *,
    choice: str | None,
    cost: float | None,
) -> Finding:
    """A finding of one of the verbs that choose on one half and judge on the other."""
    # Where no member changes the gain nothing is claimed, but it was looked at: it counts as a test.
    counted = 1.0 if row["gain"] is not None and row["p_value"] is None else row["p_value"]
    return Finding(
        label=label,
        action=action,
        family=family,
        measure=row.get("measure", "snr"),
        n_members=row["n_members"],
        status=row["status"],
        evidence=row["signature"],
        effect=row["gain"],
        low=row.get("gain_low", row.get("low")),
        high=row.get("gain_high", row.get("high")),
        in_sample=row["gain_in_sample"],
        p_value=counted,
        choice=choice,
        cost=cost,
    )


def _subtasks(suite: Suite, settings: Settings) -> Iterator[Finding]:
    """Fewer subtasks of a task."""
    if suite.subtasks is not None:
        yield from _filtered(suite, settings, suite.at_small(suite.subtasks), None)


def _drop(suite: Suite, settings: Settings) -> Iterator[Finding]:
    """Fewer tasks in the average of the suite, of those whose primary metric is the one that most have."""
    frame = suite.at_small(suite.of_primary).drop("subtask", strict=False)
    if not frame.height:
        return
    counts = (
        frame.group_by("metric")
        .agg(pl.col("task").n_unique().alias("n"))
        .sort("n", "metric", descending=[True, False])
    )
    frame = frame.filter(metric=counts["metric"][0])
    tasks = frame["task"].unique().sort().to_list()
    # A task in two configurations would be two tasks, or an average of both.
    several = [name for name in ("config", "filter") if name in frame.columns and frame[name].n_unique() > 1]
    if len(tasks) >= _LEAST_TASKS and not several:
        yield from _filtered(suite, settings, frame, {SUITE: tasks})


def _filtered(
    suite: Suite, settings: Settings, frame: pl.DataFrame, groups: dict[str, list[str]] | None
) -> Iterator[Finding]:
    if not frame.height:
        return
    shared: dict[str, Any] = {
        "by": ("task", "metric"),
        "rules": "snr",
        "groups": groups,
        "window": max(2, settings.window),
        "order": settings.order,
        "duplicates": settings.duplicates,
        "threads": settings.threads,
        "rng_seed": settings.rng_seed,
        "n_random": 1,
        "across": suite.members(frame, settings.across),
    }
    gains = filtering_gain(
        frame, sizes=(), n_splits=settings.n_splits, confidence_level=settings.level, **shared
    )
    curves = filter_subtasks(frame, **shared)
    for row in gains.filter(against="full", size="best").iter_rows(named=True):
        label = _label(row)
        curve = curves.filter(
            pl.col(name).eq_missing(pl.lit(value)) for name, value in label.items() if name in curves
        )
        kept = curve.filter(pl.col("n_subtasks") <= pl.col("n_subtasks").filter("best").first())[
            "subtask"
        ].to_list()
        every = curve["subtask"].to_list()
        if groups is None:
            choice, cost = ", ".join(kept), -_share(suite, row) * (1 - len(kept) / max(len(every), 1))
        else:
            left = [task for task in every if task not in kept]
            choice, cost = ", ".join(left), -sum(suite.compute.get(task, 0.0) for task in left)
        action = "filter_subtasks" if groups is None else "drop"
        yield _gain(
            label, action, "selection", row, choice=choice if len(kept) < len(every) else None, cost=cost
        )


# --- what a budget buys


def _averaging(suite: Suite, settings: Settings) -> Iterator[Finding]:
    """More checkpoints in an average."""
    sides = suite.sides or {"across": settings.across}
    table = choose_window(
        suite.of_primary,
        **sides,
        n_splits=settings.n_splits,
        direction=settings.direction,
        rng_seed=settings.rng_seed,
        **settings.common,
    )
    for row in table.iter_rows(named=True):
        window = row["window"]
        cost = None if window is None else (window - 1) * _share(suite, row)
        choice = None if window in (None, 1) else str(window)
        yield _gain(_label(row), "average_checkpoints", "averaging", row, choice=choice, cost=cost)


def _seeds(suite: Suite, settings: Settings) -> Iterator[Finding]:
    """More training seeds, where those that are there differ by more than checkpoints do."""
    frame = suite.at_small(suite.of_primary)
    if not frame.height:
        return
    across = suite.members(frame, settings.across) if suite.sides else None
    table = variance(frame, across=across, window=settings.window, instances=False, **settings.common)
    for row in table.iter_rows(named=True):
        if "no_seeds" in row["flags"]:
            continue
        seed, step = row["variance_seed"], row["variance_step"]
        limits = [row["variance_seed_low"], row["variance_seed_high"]]
        known = seed is not None and step is not None and seed + step > 0 and None not in limits
        share, low, high = (v / (v + step) for v in (seed, *limits)) if known else (None, None, None)
        yield Finding(
            label=_label(row),
            action="add_seeds",
            family="",
            measure="share_of_noise",
            n_members=row["n_members"],
            status=row["status"],
            evidence=row["signature"],
            effect=share,
            low=low,
            high=high,
            choice="2",
            cost=_share(suite, row),
        )


def _instances(suite: Suite, settings: Settings) -> Iterator[Finding]:
    """Fewer instances where few decide as well; more where half of them decide worse."""
    if suite.instances is None or not suite.sides:
        return
    chosen = is_primary(suite.primary)
    given = None if suite.where is None else as_expression(suite.where, "where")
    table = sample_size(
        suite.instances,
        where=chosen if given is None else given & chosen,
        **suite.sides,
        score=settings.score,  # type: ignore[arg-type]
        window=settings.window,
        direction=settings.direction,
        rng_seed=settings.rng_seed,
        **settings.common,
    )
    by = table.columns[: table.columns.index("size")]
    for _, part in table.group_by(by, maintain_order=True):
        row = part.row(-1, named=True)
        # Of a subtask the instances say little about its task.
        if row.get("subtask") is not None or row["n_instances"] is None:
            continue
        yield from _sizes(suite, part, row)


def _sizes(suite: Suite, part: pl.DataFrame, row: Mapping[str, Any]) -> Iterator[Finding]:
    n, share = row["n_instances"], _share(suite, row)
    shared: dict[str, Any] = {
        "label": _label(row),
        "family": "",
        "n_members": row["n_members"],
        "status": row["status"],
        "evidence": row["signature"],
    }
    enough = [
        None if row[name] is None else row[name] / n for name in ("enough", "enough_low", "enough_high")
    ]
    size = row["enough_high"]
    yield Finding(
        action="fewer_instances",
        measure="share_of_instances",
        effect=enough[0],
        low=enough[1],
        high=enough[2],
        excludes=1.0,
        choice=None if size is None else str(size),
        cost=None if size is None else -share * (1 - size / n),
        **shared,
    )
    half = part.row(int((part["size"] - n / 2).abs().arg_min() or 0), named=True)
    if half["size"] < n and half["kept"] is not None:
        lost = [None if half[name] is None else 1 - half[name] for name in ("kept", "kept_high", "kept_low")]
        yield Finding(
            action="add_instances",
            measure="lost_with_fewer",
            effect=lost[0],
            low=lost[1],
            high=lost[2],
            choice=str(2 * n),
            cost=share,
            **shared,
        )


QUESTIONS: tuple[Callable[[Suite, Settings], Iterator[Finding]], ...] = (
    _use,
    _metric,
    _subtasks,
    _drop,
    _averaging,
    _seeds,
    _instances,
)
