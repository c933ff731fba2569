"""What a finding advises, in a sentence."""

from __future__ import annotations

import math

import polars as pl

from ._advice_findings import SUITE, Finding

#: What is said first: what not to rely on, what costs nothing or saves, what costs, what may stay.
ORDER = (
    "do_not_use",
    "switch_metric",
    "filter_subtasks",
    "drop",
    "fewer_instances",
    "average_checkpoints",
    "add_instances",
    "add_seeds",
    "keep",
)
#: Names spelt out in a sentence, and sentences of one kind, before the rest are counted.
_NAMED, _TOLD = 6, 8


def sentence(found: Finding, member: str) -> str:
    """What to do, how much that is worth with its interval, and what it costs."""
    text = _SENTENCES[found.action](found, member)
    return f"{_benchmark(found)}: {text}"


def _benchmark(found: Finding) -> str:
    task = found.label["task"]
    name = "all tasks" if found.action == "drop" and task == SUITE else str(task)
    details = [str(found.label[key]) for key in ("config", "filter") if found.label[key] is not None]
    return f"{name} ({', '.join(details)})" if details else name


def _keep(found: Finding, member: str) -> str:
    return f"keep it. {_orders(found, member)}."


def _do_not_use(found: Finding, member: str) -> str:
    return f"do not use it at this scale. {_orders(found, member)}: as far as can be told, no better than a coin."


def _orders(found: Finding, member: str) -> str:
    metric, share = found.label["metric"], _shares(found)
    if found.measure == "decision_accuracy":
        return f"The order of {found.n_members} {member}s by {metric} holds at the target for {share} of their pairs"
    return f"One checkpoint's {metric} orders two {member}s as their true scores in {share} of cases"


def _switch_metric(found: Finding, member: str) -> str:
    return f"decide by {found.choice} instead of {found.label['metric']}. {_worth(found, member)}; it costs nothing."


def _filter_subtasks(found: Finding, member: str) -> str:
    return f"keep {_names(found.choice)} alone. {_worth(found, member)}; {_compute(found)}."


def _drop(found: Finding, member: str) -> str:
    return f"leave {_names(found.choice)} out of the average. {_worth(found, member)}; {_compute(found)}."


def _average(found: Finding, member: str) -> str:
    return f"average the last {found.choice} checkpoints. {_worth(found, member)}; {_compute(found)}."


def _add_seeds(found: Finding, member: str) -> str:
    return (
        f"train two seeds or more a {member}. Between seeds lies {_shares(found)} of the variance of a score, which no "
        f"average of checkpoints removes; {_compute(found)}, beside the training."
    )


def _fewer_instances(found: Finding, _: str) -> str:
    return (
        f"{found.choice} instances are enough: {_shares(found)} of them keep 95 % of the decision accuracy above one "
        f"half; {_compute(found)}."
    )


def _add_instances(found: Finding, _: str) -> str:
    return (
        f"add instances. With about half of them {_shares(found)} of the decision accuracy above one half is lost; to "
        f"have {found.choice}, {_compute(found)}."
    )


_SENTENCES = {
    "keep": _keep,
    "do_not_use": _do_not_use,
    "switch_metric": _switch_metric,
    "filter_subtasks": _filter_subtasks,
    "drop": _drop,
    "average_checkpoints": _average,
    "add_seeds": _add_seeds,
    "fewer_instances": _fewer_instances,
    "add_instances": _add_instances,
}


def _worth(found: Finding, member: str) -> str:
    """A gain where it was not chosen, and what it looks like where it was."""
    others = f"on {member}s that did not choose it"
    if found.measure == "decision_accuracy":
        return f"Decision accuracy {_limits(found, '{:+.3f}')} {others} ({found.in_sample:+.3f} where chosen)"
    low, high = (math.exp(limit) for limit in (found.low or 0.0, found.high or 0.0))
    effect, looks = math.exp(found.effect or 0.0), math.exp(found.in_sample or 0.0)
    return f"SNR times {effect:.2f} ({low:.2f} to {high:.2f}) {others} (times {looks:.2f} where chosen)"


def _limits(found: Finding, digits: str) -> str:
    return f"{digits.format(found.effect)} ({digits.format(found.low)} to {digits.format(found.high)})"


def _shares(found: Finding) -> str:
    effect, low, high = (100 * (value or 0.0) for value in (found.effect, found.low, found.high))
    return f"{effect:.0f} % ({low:.0f} to {high:.0f} %)"


def _compute(found: Finding) -> str:
    cost = found.cost or 0.0
    if cost == 0:
        return "it costs nothing"
    percent = 100 * abs(cost)
    return f"it {'costs' if cost > 0 else 'saves'} {percent:.{0 if percent >= 10 else 1}f} % of the suite's evaluations"


def _names(choice: str | None) -> str:
    names = (choice or "").split(", ")
    shown = ", ".join(names[:_NAMED])
    return shown if len(names) <= _NAMED else f"{shown} and {len(names) - _NAMED} more"


def in_words(table: pl.DataFrame) -> list[str]:
    """The advice of a table in ranked sentences, a few of each kind; what may stay in one."""
    lines = []
    for (action,), part in table.filter(pl.col("rank").is_not_null()).group_by("action", maintain_order=True):
        if action == "keep":
            tasks = part["task"].unique(maintain_order=True)
            plural = "s" * (len(tasks) != 1)
            lines.append(f"Keep {len(tasks)} task{plural}, the surest first: {_names(', '.join(tasks))}.")
            continue
        told = part.head(_TOLD)
        lines += [f"{rank}. {text}" for rank, text in told.select("rank", "advice").iter_rows()]
        if part.height > _TOLD:
            lines.append(f"   and {part.height - _TOLD} more of {action}")
    return lines


def headline(table: pl.DataFrame) -> str:
    """How many benchmarks may be used, may not, or cannot be told."""
    asked = table.filter(action="keep")
    kept = asked.filter(pl.col("rank").is_not_null()).height
    refused = table.filter(pl.col("rank").is_not_null(), action="do_not_use").height
    parts = [
        f"{count} {words}"
        for count, words in (
            (kept, "orders members better than a coin" if kept == 1 else "order members better than a coin"),
            (refused, "should not be used at this scale"),
            (asked.height - kept - refused, "cannot be told either way"),
        )
        if count
    ]
    return (
        f"Of {asked.height} benchmark{'s' * (asked.height != 1)}, {', '.join(parts) or 'none can be judged'}."
    )


def scales(table: pl.DataFrame) -> str:
    """What was asked of the benchmarks: whether an order holds, or whether there is one."""
    if (table["measure"] == "decision_accuracy").any():
        return (
            "Asked: does the order at the small scale hold at the target? The signature says which they are."
        )
    return "Asked at one scale, of all runs together; for a small scale and its target give small and target."


def questions(table: pl.DataFrame) -> list[str]:
    """How many questions of each kind were asked, and how many could not be answered."""
    asked = table.group_by("action").agg(
        pl.len().alias("asked"),
        pl.col("rank").is_not_null().sum().alias("advised"),
        (pl.col("low").is_null()).sum().alias("open"),
    )
    counts = {row["action"]: row for row in asked.iter_rows(named=True)}
    out = []
    for action in ORDER:
        if action in counts and action not in ("keep", "do_not_use"):
            row = counts[action]
            text = f"{action}: asked {row['asked']} times, advised {row['advised']} times"
            out.append(text + (f", without an answer {row['open']} times" if row["open"] else ""))
    return out
