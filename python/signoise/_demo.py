"""The main job on a suite whose truth is known: estimates beside what was planted."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import polars as pl

from ._decisions import decision_accuracy
from ._errors import SignoiseWarning
from ._examples import example_suite
from ._snr import snr

SMALL, TARGET = 150_000_000, 1_000_000_000


@dataclass(frozen=True)
class Demo:
    """The table and the words around it."""

    opening: list[str]
    table: pl.DataFrame
    closing: list[str]


def demo() -> Demo:
    """Estimates on the example suite beside its truth.

    Returns
    -------
    Demo
        ``table``: ``task``; ``snr`` of the recipes at the small size and ``true_snr``; ``decision_accuracy``
        of the small size for the large one and ``true_accuracy``, that of the recipes' true means;
        ``remarks``, the status of the snr unless it is ok, and its flags.
    """
    scores, truth = example_suite()
    at_small = truth.filter(pl.col("params") == SMALL)
    chance = dict(at_small.filter("at_chance").select("task", "chance").iter_rows())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SignoiseWarning)
        ratios = snr(scores, where=f"params = {SMALL}", chance=chance)
        decided = decision_accuracy(scores, small=f"params = {SMALL}", target=f"params = {TARGET}")
    undefined = pl.when(pl.col("status") == "ok").then([]).otherwise(pl.concat_list("status"))
    planted = at_small.select(
        "task", pl.col("snr").alias("true_snr"), pl.col("decision_accuracy").alias("true_accuracy")
    )
    table = (
        ratios.select("task", "snr", pl.concat_list(undefined, "flags").alias("remarks"))
        .join(decided.select("task", "decision_accuracy"), on="task", how="left")
        .join(planted, on="task", how="left")
        .select("task", "snr", "true_snr", "decision_accuracy", "true_accuracy", "remarks")
        .sort("snr", "task", descending=[True, False], nulls_last=True)
    )
    recipes, steps = scores["recipe"].n_unique(), scores["step"].n_unique()
    opening = [
        f"Which benchmark can choose among {recipes} training recipes at 150M parameters,",
        f"and does the choice hold at 1B? {table.height} simulated benchmarks, {steps} checkpoints a run;",
        "true_ columns hold what was planted.",
    ]
    closing = [
        "snr: range of the recipes' scores at 150M over the noise between checkpoints.",
        "Near 1 their order is luck. decision_accuracy: share of recipe pairs that",
        "150M orders as 1B does; 0.5 is a coin toss.",
        "Your own results: signoise report RESULTS",
    ]
    return Demo(opening, table, closing)
