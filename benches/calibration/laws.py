"""Scaling laws: prediction intervals of a larger run, the band of the curve, and intervals of parameters."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np
import polars as pl

import signoise as sn

from .study import Bar, Cell, Row, Study, Tally, shares

TRUTH = {"A": 406.4, "B": 410.7, "alpha": 0.34, "beta": 0.28, "E": 1.69}
"""Of the law planted, chinchilla's."""
RATIOS = np.array([5.0, 10.0, 20.0, 50.0, 100.0])
"""Tokens a parameter at each size."""
TARGET = (7e9, 7e11)
NOISE = 0.01
"""Standard deviation of log residuals."""
RESAMPLES = 200
TOGETHER = 250
"""Replications of one call, a group each."""


def value(params: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """The planted law."""
    t = TRUTH
    return t["E"] + t["A"] * params ** -t["alpha"] + t["B"] * tokens ** -t["beta"]


def law_rows(
    study: Study, name: str, objective: str, sizes: int, rung: float, cluster: str | None
) -> Iterator[Row]:
    """`predict` and `fit_scaling_law` on ladders of five runs a size; `rung` is the sd of what a size's runs share."""
    rng = study.rng(name)
    params = np.repeat(np.geomspace(1e8, 3e9, sizes), len(RATIOS))
    tokens = params * np.tile(RATIOS, sizes)
    at_target = float(value(*(np.array(amount) for amount in TARGET)))
    tallies = {what: Tally() for what in ("prediction", "curve", *TRUTH)}
    flags = []
    left = study.fewer(2000)
    while left:
        count = min(left, TOGETHER)
        left -= count
        shared = np.repeat(rung * rng.normal(size=(count, sizes)), len(RATIOS), axis=1)
        loss = value(params, tokens) * np.exp(shared + NOISE * rng.normal(size=(count, len(params))))
        new = at_target * np.exp(rung * rng.normal(size=count) + NOISE * rng.normal(size=count))
        group = np.arange(count)
        runs = pl.DataFrame(
            {
                "group": np.repeat(group, len(params)),
                "params": np.tile(params, count),
                "tokens": np.tile(tokens, count),
                "loss": loss.ravel(),
            }
        )
        settings = {"y": "loss", "by": "group", "objective": objective, "n_resamples": RESAMPLES} | {
            "cluster": cluster
        }
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", sn.SignoiseWarning)
            fit = sn.fit_scaling_law(runs, "ladder_loss", **settings)  # type: ignore[arg-type]
            told = sn.predict(
                runs,
                "ladder_loss",
                at={"params": TARGET[0], "tokens": TARGET[1]},
                **settings,  # type: ignore[arg-type]
            )
        flags.append(told["flags"])
        for what, prefix, truth in (("prediction", "prediction_", new), ("curve", "", at_target)):
            limits = (told[f"{prefix}{side}"].fill_null(np.nan).to_numpy() for side in ("low", "high"))
            tallies[what].add(*limits, truth)
        for parameter, truth in TRUTH.items():
            own = fit.filter(pl.col("parameter") == parameter)
            limits = (own[side].fill_null(np.nan).to_numpy() for side in ("low", "high"))
            tallies[parameter].add(*limits, truth)
    cell = f"{sizes} sizes of {len(RATIOS)} runs" + (f", sizes share sd {rung:g}" if rung else "")
    cell += f", cluster={cluster!r}" if cluster else ""
    estimands = {"prediction": "score of a new, larger run", "curve": "the law at a larger run"}
    for what, tally in tallies.items():
        of_target = what in estimands
        yield Row(
            "Scaling laws",
            f"{what}, {objective}",
            estimands.get(what, f"parameter {what}"),
            cell,
            bar=Bar.APPROXIMATE if what == "prediction" else Bar.NONE,
            domain="5 sizes; what runs share is named (cluster=)" if of_target else "none claimed",
            inside=what == "prediction" and (not rung or cluster is not None),
            flags=shares(flags),
            **tally.measured(),  # type: ignore[arg-type]
        )


def cells() -> Iterator[Cell]:
    """All cells of this module."""
    for objective in ("lsq_log", "huber_log"):
        for sizes in (5, 8):
            for rung, cluster in ((0.0, None), (0.01, None), (0.01, "params")):
                args = objective, sizes, rung, cluster
                name = "/".join(["laws", *map(str, args)])
                yield Cell(name, lambda study, name=name, args=args: law_rows(study, name, *args))
