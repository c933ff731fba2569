"""How often `plateau` errs, on curves of known slope with autocorrelated noise; the figures of its docstring.

python benches/study_plateau.py
"""

from __future__ import annotations

import sys
import warnings

import numpy as np
import polars as pl

import signoise as sn

DELTA, NOISE = 0.02, 0.01


def table(gain: float, n_runs: int, n: int, rho: float, seed: int) -> pl.DataFrame:
    """Runs that gain so much with each doubling of their steps, with AR(1) noise."""
    draw = np.random.default_rng([1081, seed]).normal(size=(n_runs, n))
    noise = draw.copy()
    for step in range(1, n):
        noise[:, step] = rho * noise[:, step - 1] + np.sqrt(1 - rho**2) * draw[:, step]
    steps = np.arange(1, n + 1)
    values = 0.3 + gain * np.log2(steps) + NOISE * noise
    runs = np.repeat([f"r{index:04}" for index in range(n_runs)], n)
    return pl.DataFrame(
        {"run": runs, "task": "t", "metric": "acc", "step": np.tile(steps, n_runs), "value": values.ravel()}
    )


def row(n: int, rho: float, n_runs: int, *, alone: bool) -> str:
    """Shares of wrong verdicts and stops, coverage, and what is found of curves that are flat."""
    cells = []
    for gain in (DELTA, 0.0):
        runs = table(gain, n_runs, n, rho, n)
        parts = runs.partition_by("run") if alone else [runs]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", sn.SignoiseWarning)
            found = pl.concat([sn.plateau(part, delta=DELTA) for part in parts]).filter(status="ok")
        within = (found["low"] <= gain) & (found["high"] >= gain)
        cells += [
            (found["verdict"] == "plateau").mean(),
            found["plateau_at"].is_not_null().mean(),
            within.mean(),
        ]
    return (
        f"| {n} | {rho} | {'no' if alone else 'yes'} | " + " | ".join(f"{cell:.3f}" for cell in cells) + " |"
    )


def main() -> int:
    head = (
        "checkpoints",
        "autocorrelation",
        "pooled",
        "plateau",
        "ever stopped",
        "covers",
        "flat: plateau",
        "flat: stopped",
        "flat: covers",
    )
    print("| " + " | ".join(head) + " |\n" + "| --- " * len(head) + "|")
    for n in (16, 64, 256):
        for rho in (0.0, 0.5, 0.8):
            print(row(n, rho, 2000, alone=False), flush=True)
    for n in (32, 64):
        for rho in (0.0, 0.5, 0.8):
            print(row(n, rho, 500, alone=True), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
