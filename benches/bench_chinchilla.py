"""Chinchilla's law on 240 points: 4,500 starts, and 4,000 bootstrap refits, beside SciPy.

SciPy's L-BFGS-B gets the analytic gradient in plain NumPy and works on a share of the starts and refits, spread evenly;
its times are multiplied. The best objectives must agree first.
"""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING, Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import polars as pl
from scipy.optimize import minimize

import signoise as sn
from measure import interleaved, markdown, setting
from signoise._laws._fit import inner
from signoise._laws._law import registry

if TYPE_CHECKING:
    from numpy.typing import NDArray

DELTA = 1e-3


def planted(n: int = 240) -> pl.DataFrame:
    """Points around the published law."""
    rng = np.random.default_rng(0)
    params = np.exp(rng.uniform(np.log(5e7), np.log(1.5e10), n))
    tokens = params * np.exp(rng.uniform(np.log(3), np.log(100), n))
    loss = 1.82 + 478 * params**-0.347 + 2143 * tokens**-0.367
    return pl.DataFrame(
        {"params": params, "tokens": tokens, "loss": loss * np.exp(0.007 * rng.normal(size=n))}
    )


class Peer:
    """The sum of Huber's function of log residuals and its gradient, as a careful NumPy user writes them."""

    def __init__(self, points: pl.DataFrame) -> None:
        columns = points.select("params", "tokens", "loss").to_numpy().T
        self.log_n, self.log_d, self.log_y = np.log(columns)

    def __call__(self, x: NDArray[np.float64], weights: NDArray[np.float64] | float) -> Any:
        a, b, alpha, beta, e = x
        by_n, by_d, floor = np.exp(a - alpha * self.log_n), np.exp(b - beta * self.log_d), np.exp(e)
        total = by_n + by_d + floor
        r = np.log(total) - self.log_y
        held = np.clip(r, -DELTA, DELTA)
        slope = weights * held / total
        of_n, of_d = slope * by_n, slope * by_d
        gradient = (of_n.sum(), of_d.sum(), -of_n @ self.log_n, -of_d @ self.log_d, slope.sum() * floor)
        return np.sum(weights * held * (r - 0.5 * held)), np.array(gradient)

    def fit(self, start: NDArray[np.float64], weights: NDArray[np.float64] | float = 1.0) -> Any:
        options = {"maxiter": 10_000, "ftol": 1e-15, "gtol": 1e-10}
        return minimize(self, start, (weights,), jac=True, method="L-BFGS-B", options=options)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--points", help="table with the columns params, tokens and loss; default: 240 planted ones"
    )
    parser.add_argument("--share", type=int, default=50, help="SciPy gets one of so many starts and refits")
    parser.add_argument("--refits", type=int, default=4000)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    print(setting(options.repeats))
    points = (pl.read_parquet(options.points) if options.points else planted()).with_row_index("own")
    law = registry()["chinchilla"]
    variables = {name: points[name].to_numpy() for name in ("params", "tokens")}
    starts = inner(law, law.start_grid(variables, points["loss"].to_numpy()))
    peer = Peer(points)

    def ours(law_name: str, threads: int, refits: int) -> pl.DataFrame:
        return sn.fit_scaling_law(
            points,
            law_name,
            y="loss",
            cluster="own",
            interval="bootstrap" if refits else "none",
            n_resamples=refits or 2,
            threads=threads,
        )

    fit = ours("chinchilla", 2, 0)
    optimum = inner(law, fit["estimate"].to_numpy()[None])[0]
    polished = peer.fit(optimum).fun
    if not fit["objective"][0] <= polished * (1 + 1e-8):
        raise SystemExit(f"the fit is no optimum: {fit['objective'][0]} above {polished}")
    rng = np.random.default_rng(1)
    counts = rng.multinomial(
        points.height, np.full(points.height, 1 / points.height), options.refits // options.share
    )
    share = options.share
    jobs = {
        f"{len(starts):,} starts, 2 threads": (lambda: ours("chinchilla", 2, 0), 1),
        f"{len(starts):,} starts, 1 thread": (lambda: ours("chinchilla", 1, 0), 1),
        f"{len(starts):,} starts, SciPy": (lambda: [peer.fit(start) for start in starts[::share]], share),
        # A law of the same form with few starts stands before the refits.
        f"{options.refits:,} refits, 2 threads": (lambda: ours("ladder_loss", 2, options.refits), 1),
        f"{options.refits:,} refits, 1 thread": (lambda: ours("ladder_loss", 1, options.refits), 1),
        f"{options.refits:,} refits, SciPy": (
            lambda: [peer.fit(optimum, row.astype(float)) for row in counts],
            share,
        ),
    }
    times = interleaved({name: job for name, (job, _) in jobs.items()}, options.repeats)
    rows = []
    for kind in ("starts", "refits"):
        names = [name for name in jobs if kind in name]
        wall, cpu = (
            [getattr(times[name], what) * jobs[name][1] for name in names] for what in ("wall", "cpu")
        )
        rows += [
            {
                "job": name,
                "wall s": f"{w:.3g}",
                "CPU s": f"{c:.3g}",
                "SciPy takes (wall)": f"{wall[-1] / w:.1f}x",
                "(CPU)": f"{cpu[-1] / c:.1f}x",
            }
            for name, w, c in zip(names, wall, cpu, strict=True)
        ]
    print(markdown(rows))


if __name__ == "__main__":
    main()
