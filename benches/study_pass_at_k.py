"""Do the intervals of pass@k hold the truth, within the samples and beyond them?

Items have success probabilities of a known law, some of them 0 or hardly more. Within the samples the truth is the mean
over all items of the law; beyond them the mean over the items at hand, whose samples are given. Printed are the
coverage of limits (nominal 95 %), beside it that of a beta distribution alone, how often a single value is given and
how far off it is then. A suite without limits (all instances solved) counts as a miss.

With `--samples FILE`, a table of published samples, three of the ten of each item are fitted and compared with the
unbiased pass@10 of all of them.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

import signoise as sn
from measure import markdown
from suites import in_processes

Floats = NDArray[np.float64]
#: Law, items, samples of each, seed.
Suite = tuple[str, int, int, int]

#: Success probabilities of items.
LAWS: dict[str, Callable[[np.random.Generator, int], Floats]] = {
    "beta(0.6, 1.5)": lambda rng, n: rng.beta(0.6, 1.5, n),
    "beta(2, 3)": lambda rng, n: rng.beta(2, 3, n),
    "20 % never solved, else beta(0.6, 1.5)": lambda rng, n: np.where(
        rng.random(n) < 0.2, 0.0, rng.beta(0.6, 1.5, n)
    ),
    "logit-normal(-2, 2)": lambda rng, n: 1 / (1 + np.exp(2 - 2 * rng.standard_normal(n))),
    "half at 0.5, half at 0.002": lambda rng, n: np.where(rng.random(n) < 0.5, 0.5, 0.002),
}


def table(n: int, right: NDArray[np.int64]) -> pl.DataFrame:
    """Counts of one run."""
    return pl.DataFrame({"run": "m", "task": "t", "item": range(len(right)), "n": n, "c": right})


@cache
def expected(law: str, k: int) -> float:
    """pass@k over all items of a law."""
    return float(1 - np.mean((1 - LAWS[law](np.random.default_rng(0), 1_000_000)) ** k))


def within(suite: Suite) -> list[dict[str, Any]]:
    """Within the samples: limits of pass@1, pass@(n/2) and pass@n."""
    law, items, n, seed = suite
    rng = np.random.default_rng([seed, items, *law.encode()])
    tries = [1, n // 2, n]
    found = sn.pass_at_k(table(n, rng.binomial(n, LAWS[law](rng, items))), k=tries, n_resamples=2000)
    return [
        {"k": k, "holds": low is not None and low <= expected(law, k) <= high}
        for k, low, high in zip(tries, found["low"], found["high"], strict=True)
    ]


def beyond(suite: Suite) -> list[dict[str, Any]]:
    """Beyond the samples: limits of pass@(4n) and pass@(50n)."""
    law, items, n, seed = suite
    rng = np.random.default_rng([seed, items, *law.encode()])
    p = LAWS[law](rng, items)
    tries = [4 * n, 50 * n]
    found = sn.pass_at_k(table(n, rng.binomial(n, p)), k=tries, extrapolate=True, n_resamples=500)
    rows = []
    for row in found.iter_rows(named=True):
        truth = float(1 - np.mean((1 - p) ** row["k"]))
        # The error of one model, as if it were the only one.
        spread = 1.96 * float(np.std(1 - (1 - p) ** row["k"])) / np.sqrt(items)
        rows.append(
            {
                "k": row["k"],
                "holds": row["low"] is not None and row["low"] <= truth <= row["high"],
                "beta": row["beta"] is not None and abs(row["beta"] - truth) <= spread,
                "width": np.nan if row["low"] is None else row["high"] - row["low"],
                "error": np.nan if row["pass_at_k"] is None else abs(row["pass_at_k"] - truth),
            }
        )
    return rows


def summary(name: str, items: int, n: int, rows: Sequence[dict[str, Any]]) -> list[dict[str, str]]:
    """A row for each k: means over suites."""
    out = []
    for k in sorted({row["k"] for row in rows}):
        own = [row for row in rows if row["k"] == k]
        line = {"items": name, "number": str(items), "samples": str(n), "k": str(k)}
        line["coverage"] = f"{np.mean([row['holds'] for row in own]):.3f}"
        if "beta" in own[0]:
            errors = np.array([row["error"] for row in own])
            line["beta alone"] = f"{np.mean([row['beta'] for row in own]):.3f}"
            line["width"] = f"{np.nanmean([row['width'] for row in own]):.3f}"
            line["single value"] = f"{np.mean(~np.isnan(errors)):.2f}"
            line["its error"] = f"{np.nanmean(errors):.3f}" if (~np.isnan(errors)).any() else "-"
        out.append(line)
    return out


def published(path: Path) -> dict[str, Any]:
    """Three of ten samples of each item, drawn at random, against all of them."""
    by = ("task", "cot", "temperature")
    # Samples stand in no random order there: the first ones of an item are more alike than others.
    frame = pl.read_parquet(path).filter(pl.col("n") == 10).drop("outcomes")
    right = frame["c"].to_numpy()
    some = np.random.default_rng(0).hypergeometric(right, 10 - right, 3)
    whole = sn.pass_at_k(frame, k=10, by=by, n_resamples=2)
    part = frame.with_columns(n=pl.lit(3), c=pl.Series(some))
    found = sn.pass_at_k(part, k=10, by=by, extrapolate=True, n_resamples=200)
    both = found.join(whole.select("run", *by, truth="pass_at_k"), on=["run", *by])
    holds = (both["low"] <= both["truth"]) & (both["truth"] <= both["high"])
    errors = {
        name: float((both[name] - both["truth"]).abs().mean())  # type: ignore[arg-type]
        for name in ("pass_at_k", "beta", "zero_inflated_beta", "logit_normal")
    }
    return {
        "groups": both.height,
        "coverage": holds.mean(),
        "single values": both["pass_at_k"].count(),
        **{f"error of {name}": round(error, 4) for name, error in errors.items()},
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--replications", type=int, default=200)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--items", default="50,200")
    parser.add_argument("--samples", type=Path, help="published samples instead of simulated ones")
    options = parser.parse_args(arguments)
    if options.samples is not None:
        print(published(options.samples))
        return
    for study, n, replications in (
        (within, 20, options.replications),
        (beyond, 40, max(1, options.replications // 5)),
    ):
        lines = []
        for law in LAWS:
            for items in (int(text) for text in options.items.split(",")):
                work = [(law, items, n, seed) for seed in range(replications)]
                rows = in_processes(study, work, options.jobs)
                lines += summary(law, items, n, [row for part in rows for row in part])
        print(f"{study.__doc__}\n\n{markdown(lines)}\n")


if __name__ == "__main__":
    main()
