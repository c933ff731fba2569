"""How often does `scaling_shape` call a monotone trend a turn, and how often does it find planted ones?

Curves over ln x from 0 to 1 with a range of about 1, normal errors; beside the test by two lines that of a parabola
that falls at one end and rises at the other (Lind and Mehlum). Prints the table of docs/prediction.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import stats

import signoise as sn

Floats = NDArray[np.float64]

CURVES: dict[str, Callable[[Floats], Floats]] = {
    "flat": np.zeros_like,
    "straight": lambda x: x,
    "levels off": lambda x: 1 - np.exp(-4 * x),
    "rises late": lambda x: np.exp(4 * (x - 1)),
    "sigmoid": lambda x: 1 / (1 + np.exp(-15 * (x - 0.5))),
    "early step": lambda x: (x > 0.25) * 1.0,
    "U": lambda x: 4 * (x - 0.5) ** 2,
    "late U": lambda x: np.where(x < 0.7, -x / 0.7, -1 + (x - 0.7) / 0.3),
    "inverted U": lambda x: -4 * (x - 0.4) ** 2,
}


def simulated(curve: str, n: int, noise: float, tables: int) -> pl.DataFrame:
    """Tables of n models on a curve."""
    rng = np.random.default_rng([n, int(noise * 1000), *curve.encode()])
    x = np.linspace(0, 1, n)
    y = CURVES[curve](x) + noise * rng.standard_normal((tables, n))
    return pl.DataFrame(
        {
            "table": np.repeat(np.arange(tables), n),
            "flops": np.tile(1e18 * np.exp(8 * x), tables),
            "acc": y.ravel(),
        }
    )


def parabola_turns(x: Floats, y: Floats) -> bool:
    """Whether a parabola falls at one end and rises at the other, at 5 % for both ways together."""
    z = x - x.mean()
    basis = np.stack([np.ones(len(z)), z, z**2], axis=1)
    found, squares, *_ = np.linalg.lstsq(basis, y, rcond=None)
    covariance = np.linalg.inv(basis.T @ basis) * squares[0] / (len(z) - 3)
    slopes = [np.array([0, 1, 2 * end]) for end in (z.min(), z.max())]
    low, high = (float(g @ found / np.sqrt(g @ covariance @ g)) for g in slopes)
    df = len(z) - 3
    ways = max(stats.t.cdf(low, df), stats.t.sf(high, df)), max(stats.t.sf(low, df), stats.t.cdf(high, df))
    return bool(2 * min(ways) <= 0.05)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--tables", type=int, default=1000, help="of each design")
    options = parser.parse_args(arguments)
    print("| curve | models | noise | two lines: a turn | parabola: a turn | shape |")
    print("| --- " * 6 + "|")
    for curve in CURVES:
        for n in (8, 12, 24):
            for noise in (0.05, 0.15):
                table = simulated(curve, n, noise, options.tables)
                found = sn.scaling_shape(
                    table, y="acc", by="table", direction={"acc": "higher"}, compare=False
                )
                parts = table["acc"].to_numpy().reshape(options.tables, n)
                x = np.linspace(0, 1, n)
                parabola = np.mean([parabola_turns(x, y) for y in parts])
                usual = found["shape"].value_counts(sort=True).row(0)
                print(
                    f"| {curve} | {n} | {noise} | {(found['turn_p_value'] <= 0.05).mean():.3f} | {parabola:.3f} | "
                    f"{usual[0]} {usual[1] / options.tables:.2f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
