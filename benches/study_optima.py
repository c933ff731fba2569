"""How often limits of `optimal_split` and `optimal_mixture` hold the optimum of the planted law.

    python benches/study_optima.py --problems 500      # two minutes

Sixteen models of encoder and decoder, and 27 runs of each of three languages, with errors of 0.3 % of the loss.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Sequence

import numpy as np
import polars as pl

import signoise as sn

ERROR = 0.003
NMT = {"L_inf": 1.1, "a": 90.0, "p_e": 0.15, "p_d": 0.21}
LANGUAGES = {
    "a": {"E": 1.2, "A": 300.0, "B": 800.0, "alpha": 0.33, "beta": 0.34, "gamma": 0.03},
    "b": {"E": 1.6, "A": 200.0, "B": 900.0, "alpha": 0.31, "beta": 0.33, "gamma": 0.08},
    "c": {"E": 0.9, "A": 250.0, "B": 500.0, "alpha": 0.35, "beta": 0.32, "gamma": 0.2},
}
MODEL = {"params": 1e9, "tokens": 1e11}


def _grid(**levels: Sequence[float]) -> pl.DataFrame:
    grids = np.meshgrid(*map(np.array, levels.values()), indexing="ij")
    return pl.DataFrame({name: grid.ravel() for name, grid in zip(levels, grids, strict=True)})


def _held(table: pl.DataFrame, name: str, truth: np.ndarray) -> list[bool]:
    """Of each row, whether its limits hold the truth; those that are not there hold nothing."""
    low, high = (table[f"{name}_{side}"].to_numpy() for side in ("low", "high"))
    return ((low < truth) & (truth < high)).tolist()


def split(rng: np.random.Generator) -> list[bool]:
    """One fit of encoder and decoder."""
    sizes = np.geomspace(3e7, 1e9, 4)
    runs = _grid(encoder_params=sizes, decoder_params=sizes)
    exact = sn.predict(law="encoder_decoder", parameters=NMT, at=runs)["predicted"].to_numpy()
    runs = runs.with_columns(loss=exact * np.exp(ERROR * rng.standard_normal(len(exact))))
    found = sn.optimal_split(runs, params=2e9, y="loss", objective="lsq_log", n_resamples=500)
    truth = sn.optimal_split(parameters=NMT, params=2e9)["encoder_params"].to_numpy()
    return _held(found, "encoder_params", truth)


def mixture(rng: np.random.Generator) -> list[bool]:
    """One mixture of three languages."""
    runs = _grid(params=[8e7, 4e8, 1.2e9], tokens=[5e9, 2e10, 1e11], share=[0.1, 0.3, 0.8])
    parts = []
    for name, law in LANGUAGES.items():
        exact = sn.predict(law="multilingual", parameters=law, at=runs)["predicted"].to_numpy()
        noisy = exact * np.exp(ERROR * rng.standard_normal(len(exact)))
        parts.append(runs.with_columns(language=pl.lit(name), loss=noisy))
    found = sn.optimal_mixture(pl.concat(parts), **MODEL, y="loss", objective="lsq_log", n_resamples=500)
    truth = sn.optimal_mixture(parameters=LANGUAGES, **MODEL)["share"].to_numpy()
    return _held(found, "share", truth)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--problems", type=int, default=500)
    options = parser.parse_args(arguments)
    print("| limits of | problems | held | Monte Carlo error |\n| --- | --- | --- | --- |")
    for name, one in (("encoder_params", split), ("share", mixture)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", sn.SignoiseWarning)
            held = np.array([one(np.random.default_rng(seed)) for seed in range(options.problems)])
        # Limits of one mixture stand and fall together: a problem is one draw.
        error = held.mean(axis=1).std(ddof=1) / np.sqrt(len(held))
        print(f"| {name} | {len(held)} | {held.mean():.3f} | {error:.3f} |", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
