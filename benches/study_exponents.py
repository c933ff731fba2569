"""How often `exponent_test` rejects what is true: the figures of its docstring.

python benches/study_exponents.py
"""

from __future__ import annotations

import sys
import warnings

import numpy as np
import polars as pl

import signoise as sn

EXPONENT, PROBLEMS = 0.4, 300


def problems(n_runs: int, domains: str, shared: float) -> pl.DataFrame:
    """Pure power laws of tokens with errors of 1 %, some of them shared by the domains of a run."""
    draw = np.random.default_rng([1082, n_runs])
    tokens = np.geomspace(1e8, 1e10, n_runs)
    parts = []
    for index in range(PROBLEMS):
        common = draw.normal(0, shared, n_runs)
        for domain in domains:
            loss = 5e3 * tokens**-EXPONENT * np.exp(common + draw.normal(0, 0.01, n_runs))
            names = [f"{'' if shared else domain}{run}" for run in range(n_runs)]
            part = pl.DataFrame({"run": names, "tokens": tokens, "loss": loss})
            parts.append(part.with_columns(problem=pl.lit(index), domain=pl.lit(domain)))
    return pl.concat(parts)


def rejected(table: pl.DataFrame, **options: object) -> float:
    """Share of the problems in which the truth is rejected at 5 %."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", sn.SignoiseWarning)
        found = sn.exponent_test(
            table, "pure_power_law", x="tokens", y="loss", by="problem", n_resamples=200, **options
        )
    return float((found["p_value"] < 0.05).mean())


def main() -> int:
    print("| runs | `lsq_log` | `huber_log` | two domains | of the same runs |\n" + "| --- " * 5 + "|")
    sides = {"a": "domain = 'a'", "b": "domain = 'b'"}
    for n_runs in (6, 8, 12, 24):
        one = problems(n_runs, "a", 0.0)
        cells = [
            rejected(one, against=EXPONENT),
            rejected(one, against=EXPONENT, objective="huber_log"),
            rejected(problems(n_runs, "ab", 0.0), **sides),
            rejected(problems(n_runs, "ab", 0.02), **sides),
        ]
        print(f"| {n_runs} | " + " | ".join(f"{cell:.3f}" for cell in cells) + " |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
