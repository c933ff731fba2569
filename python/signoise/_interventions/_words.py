"""What a selection of subtasks is worth, and which it chooses, in sentences."""

from __future__ import annotations

import math
from collections.abc import Sequence

import polars as pl


def in_words(gains: pl.DataFrame, curves: pl.DataFrame, by: Sequence[str]) -> list[str]:
    """Two sentences for each benchmark and rule: its gain out of sample, and the subtasks that all scores choose."""
    lines = []
    chosen = gains.filter(against="full", size="best")
    for row in chosen.iter_rows(named=True):
        label = {name: row[name] for name in by} | {"rule": row["rule"]}
        curve = curves.filter(pl.col(name).eq_missing(pl.lit(value)) for name, value in label.items())
        best = curve.filter("best")
        benchmark = ", ".join(str(row[name]) for name in by if row[name] is not None)
        if row["gain"] is None or not best.height:
            lines.append(f"{benchmark}: no gain by {row['rule']} ({row['status']}).")
            continue
        size = best["n_subtasks"][0]
        lines.append(f"{benchmark}: {_gain(row)}")
        lines.append(
            f"  {size} of {row['n_subtasks_all']} chosen by {row['rule']} on all scores: "
            f"{', '.join(curve['subtask'].head(size))}."
        )
    return lines


def _gain(row: dict[str, float]) -> str:
    limits = [math.exp(row[name]) for name in ("low", "high")]
    if row["low"] > 0:
        verdict = "a gain"
    elif row["high"] < 0:
        verdict = "a loss"
    else:
        verdict = "no gain to rely on"
    return (
        f"choosing by {row['rule']} (about {row['n_subtasks']:.0f} of {row['n_subtasks_all']}) multiplies the SNR by "
        f"{row['gain_factor']:.2f} ({limits[0]:.2f} to {limits[1]:.2f}) where it was not chosen: {verdict}. Where it "
        f"was chosen it looks like {math.exp(row['gain_in_sample']):.2f}."
    )
