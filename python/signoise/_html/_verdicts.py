"""The answer: which benchmarks separate the models, which do not, and why, one word and one reason each."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import polars as pl

from .._errors import SignoiseWarning
from .._report import Report
from ..plot._frames import shorten, size

YES, NO, UNKNOWN = "separates", "does not", "cannot say"
MOST_NAMES = 5
LEVEL = 0.05
"""A range that equal models would show more often than this separates nothing."""

_REASONS = {
    "constant": "all scores are equal",
    "zero_noise": "the checkpoints have equal scores, so that the noise is unknown",
    "zero_mean": "the mean score is 0",
    "too_few": "too few models or checkpoints",
    "duplicate_key": "the same score stands there with different values",
}


@dataclass(frozen=True)
class Verdicts:
    """A verdict for each row of the report's table, and where they were reached."""

    table: pl.DataFrame
    """The report's rows with ``verdict`` and ``reason``."""
    members: str
    """What is told apart: ``recipes`` or ``models``."""
    place: str
    """``at 150M``, or nothing."""


def verdicts(report: Report) -> Verdicts:
    """Whether each benchmark's range is more than its noise, where the decision is made."""
    from .._snr import signal as signal_of
    from .._snr import snr

    basis = report.basis
    rows, across, members, place = _population(report)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SignoiseWarning)
        found = signal_of(rows, by=basis.by, across=across, window=basis.window, **basis.shared)
        flagged = report.table
        if rows is not basis.scores:
            flagged = snr(
                rows, by=basis.by, across=across, window=basis.window, chance=basis.chance, **basis.shared
            )
    chance = flagged.select(*basis.by, chance=pl.col("flags").list.contains("near_chance"))
    found = found.select(*basis.by, "range_p_value", at_scale="status").join(
        chance, on=basis.by, nulls_equal=True
    )
    table = report.table.join(found, on=basis.by, how="left", nulls_equal=True, maintain_order="left")
    p, status = pl.col("range_p_value"), pl.col("at_scale")
    # Near chance a range beyond noise may be one of habits; an order that holds at the target is none.
    holds = pl.col("decision_low") > 0.5 if "decision_low" in table.columns else pl.lit(value=False)
    by_chance = pl.col("chance").fill_null(value=False) & ~holds.fill_null(value=False)
    cases = [
        (status == "constant", NO, pl.lit(_REASONS["constant"])),
        (p.is_null(), UNKNOWN, status.replace_strict(_REASONS, default=status, return_dtype=pl.String)),
        (p >= LEVEL, NO, pl.lit("the range is no more than noise makes it")),
        (by_chance, NO, pl.lit("at chance level")),
    ]
    verdict, reason = pl.lit(YES), pl.lit("")
    for condition, word, why in reversed(cases):
        here = condition.fill_null(value=False)
        verdict = pl.when(here).then(pl.lit(word)).otherwise(verdict)
        reason = pl.when(here).then(why).otherwise(reason)
    table = table.with_columns(verdict=verdict, reason=reason.fill_null("not there at this size"))
    return Verdicts(table.drop("range_p_value", "at_scale", "chance"), members, place)


def _population(report: Report) -> tuple[pl.DataFrame, str, str, str]:
    """Scores, member column, what members are called, and where: the scale that decides, else all."""
    basis = report.basis
    if basis.sides is not None and basis.sides.kind == "scales":
        params = int(basis.sides.small.split("=")[1])  # type: ignore[union-attr]
        return basis.scores.filter(params=params), "recipe", "recipes", f" at {size(params)}"
    return basis.scores, "run", "models", ""


def sentences(report: Report, judged: Verdicts, names: pl.Series) -> list[str]:
    """The answer as one reads it: how many separate, which do not and why, and whether the order holds."""
    table = judged.table.with_columns(names.alias("name"))
    count = {word: table.filter(verdict=word).height for word in (YES, NO, UNKNOWN)}
    what = "benchmark" if table["task"].n_unique() == table.height else "score"
    first = (
        f"Of {table.height} {what}{'s' * (table.height != 1)}, {count[YES] or 'none'} can separate your "
        f"{judged.members}{judged.place}"
    )
    said = [first + "."]
    if count[NO]:
        said.append(f"{_cannot(table, count[NO], what)}.")
    if count[UNKNOWN]:
        reasons = table.filter(verdict=UNKNOWN)["reason"].value_counts(sort=True).rows()
        why = "; ".join(f"{reason} ({n})" if len(reasons) > 1 else reason for reason, n in reasons)
        said.append(f"Of {count[UNKNOWN]} nothing can be said: {why}.")
    if (held := _held(report, table)) is not None:
        said.append(held)
    return said


def _cannot(table: pl.DataFrame, count: int, what: str) -> str:
    """Who cannot, by reason."""
    parts = []
    rows = table.filter(verdict=NO)
    for reason, n in (
        rows["reason"].value_counts(sort=True).sort("count", "reason", descending=[True, False]).rows()
    ):
        # Where a task has several scores, tasks are named: the table tells them apart.
        there = rows.filter(reason=reason)
        distinct = there["name" if what == "benchmark" else "task"].unique(maintain_order=True)
        names = [shorten(name) for name in distinct.head(MOST_NAMES)]
        if what != "benchmark":
            tasks = there["task"].n_unique()
            more = f" and {tasks - len(names)} more tasks" if tasks > len(names) else ""
            parts.append(f"{n} of {', '.join(names)}{more} ({reason})")
            continue
        shown = ", ".join(names) + (f" and {n - len(names)} more" if n > len(names) else "")
        parts.append(f"{shown} ({reason})")
    return f"{'This ' + what if count == 1 else f'These {count}'} cannot: {'; '.join(parts)}"


def _held(report: Report, table: pl.DataFrame) -> str | None:
    """Whether those that separate also keep their order."""
    if "decision_accuracy" not in table.columns or report.basis.sides is None:
        return None
    rows = table.filter(pl.col("verdict") == YES, pl.col("decision_accuracy").is_not_null())
    if not rows.height:
        return None
    low, middle, high = (rows["decision_accuracy"].quantile(q) for q in (0.0, 0.5, 1.0))
    whose = "On those that separate" if rows.height > 1 else "On the one that separates"
    spread = f"{middle:.0%} of the pairs stay in order"
    if low != high:
        spread = f"a median of {spread} (from {low:.0%} to {high:.0%})"
    question = report.basis.sides.words.split("?")[0]
    return f"{question[:1].upper()}{question[1:]}? {whose}, {spread}; by luck it would be half."
