"""Fits of every law on problems with planted parameters: is any sum above the best that SciPy finds?

    python benches/study_laws.py --problems 200 --starts 0        # every law, all starts: hours
    python benches/study_laws.py --problems 20 --laws chinchilla,farseer
    python benches/study_laws.py --chinchilla POINTS.parquet      # the published bootstrap, 4,000 draws

Both get the same points, starts and bounds; where a law has at most three parameters, differential evolution is a third
party. Worse is a sum of more than 1e-8 (of it) above the best of the others; `--dump` writes such problems down.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import optimize

import signoise as sn
from law_designs import planted
from peer_fits import Problem, scipy_best
from signoise._laws._fit import Fit, fit_groups, settings_of
from signoise._laws._forms import LAWS
from signoise._laws._points import Points

Floats = NDArray[np.float64]

#: Relative room for rounding in "no worse".
ROOM = 1e-8
PUBLISHED = {"ln A": 0.2445, "ln B": 0.4383, "alpha": 0.0154, "beta": 0.0206, "E": 0.02566}
"""Standard errors of 2404.10102 (4,000 draws); of ln A and ln B from the published 95 % limits of A and B."""


@dataclass(frozen=True)
class Comparison:
    """Sums that both reach, and the processor time that each took."""

    ours: float
    scipy: float
    evolution: float
    seconds: float
    scipy_seconds: float
    parameters: tuple[float, ...]
    scipy_parameters: tuple[float, ...]

    @property
    def excess(self) -> float:
        """How far ours is above the best other, as a share of it."""
        best = min(self.scipy, self.evolution)
        return self.ours / best - 1


def fit_of(problem: Problem, starts: Floats) -> Fit:
    """Our fit of a problem."""
    n = len(problem.y)
    points = Points(
        (), problem.variables, problem.variables, problem.y, np.arange(n), np.zeros(n, dtype=np.int64)
    )
    settings = settings_of(problem.law, problem.objective, problem.delta)
    return fit_groups(problem.law, [points], settings, [starts])[0]


def compare_fits(problem: Problem, n_starts: int = 0, *, evolution: bool = False) -> Comparison:
    """Both fits from the same starts: all of them, or `n_starts` taken evenly."""
    starts = problem.starts()
    if 0 < n_starts < len(starts):
        starts = np.ascontiguousarray(starts[np.linspace(0, len(starts) - 1, n_starts).astype(int)])
    begin = process_time()
    fit = fit_of(problem, starts)
    middle = process_time()
    height, place = scipy_best(problem, starts)
    end = process_time()
    third = differential_evolution(problem, place) if evolution and len(place) <= 3 else math.inf
    return Comparison(
        problem.sum(fit.inner), height, third, middle - begin, end - middle, tuple(fit.inner), tuple(place)
    )


def differential_evolution(problem: Problem, centre: Floats) -> float:
    """The lowest sum of a population that starts around what SciPy found, far inside the bounds of the law."""
    lower, upper = problem.law.inner_bounds
    reach = np.maximum(3.0, 2 * np.abs(centre))
    limits = optimize.Bounds(np.maximum(lower, centre - reach), np.minimum(upper, centre + reach))
    with np.errstate(all="ignore"):
        found = optimize.differential_evolution(
            lambda x: np.nan_to_num(problem.sum(x), nan=1e250, posinf=1e250),
            limits,
            seed=1,
            tol=1e-12,
            maxiter=3000,
        )
    return float(found.fun)


def study(
    names: Sequence[str], problems: int, n_starts: int, *, evolution: bool
) -> tuple[list[dict[str, Any]], list[Any]]:
    """A row a law, and the problems where ours is worse."""
    rows, worse = [], []
    for name in names:
        found = []
        for seed in range(problems):
            comparison = compare_fits(planted(name, seed), n_starts, evolution=evolution)
            found.append(comparison)
            if not comparison.excess <= ROOM:
                worse.append({"law": name, "seed": seed, **comparison.__dict__})
        excess = np.array([one.excess for one in found])
        seconds, theirs = (sum(getattr(one, key) for one in found) for key in ("seconds", "scipy_seconds"))
        rows.append(
            {
                "law": name,
                "problems": problems,
                "worse": int(np.sum(~(excess <= ROOM))),
                "worst": float(np.max(excess)),
                "better": int(np.sum(excess < -ROOM)),
                "seconds": seconds / problems,
                "scipy": theirs / problems,
            }
        )
        print(_line(rows[-1]), flush=True)
    return rows, worse


def _line(row: Mapping[str, Any]) -> str:
    return (
        f"| {row['law']} | {row['problems']} | {row['worse']} | {row['worst']:.1e} | {row['better']} | "
        f"{row['seconds']:.3f} | {row['scipy']:.3f} |"
    )


def chinchilla(path: Path, n_resamples: int) -> None:
    """Standard errors of the bootstrap beside the published ones: one draw a point, as they did."""
    points = pl.read_parquet(path).select("params", "tokens", "loss")
    points = points.filter(pl.col("loss") < points["loss"].sort(descending=True)[4]).with_row_index("point")
    table = sn.fit_scaling_law(
        points, "chinchilla", y="loss", cluster="point", interval="bootstrap", n_resamples=n_resamples
    )
    print(
        f"objective {table['objective'][0]:.12g}\n\n"
        "| parameter | signoise | published | ratio |\n| --- | --- | --- | --- |"
    )
    for row in table.iter_rows(named=True):
        log = row["parameter"] in ("A", "B")
        low, high = (math.log(row[side]) if log else row[side] for side in ("low", "high"))
        error, name = (high - low) / (2 * 1.959964), f"ln {row['parameter']}" if log else row["parameter"]
        print(f"| {name} | {error:.4f} | {PUBLISHED[name]} | {error / PUBLISHED[name]:.3f} |")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--laws", default=",".join(law.name for law in LAWS))
    parser.add_argument("--problems", type=int, default=20)
    parser.add_argument("--starts", type=int, default=24, help="of each problem, evenly; 0 takes all")
    parser.add_argument(
        "--evolution", action="store_true", help="differential evolution too, up to 3 parameters"
    )
    parser.add_argument("--dump", type=Path, help="JSON of the problems where a fit is worse")
    parser.add_argument("--chinchilla", type=Path, help="the points of the published refit")
    parser.add_argument("--resamples", type=int, default=4000)
    options = parser.parse_args(arguments)
    if options.chinchilla:
        chinchilla(options.chinchilla, options.resamples)
        return 0
    print("| law | problems | worse | worst excess | better | CPU s | SciPy CPU s |\n" + "| --- " * 7 + "|")
    rows, worse = study(
        options.laws.split(","), options.problems, options.starts, evolution=options.evolution
    )
    if options.dump:
        options.dump.write_text(json.dumps(worse, indent=1))
    return int(any(row["worse"] for row in rows))


if __name__ == "__main__":
    raise SystemExit(main())
