"""Signal, noise, their ratio, decision accuracy and monotonicity of whole suites made by `simulate`.

Each replication is a task. 24 tasks share a metric name, so that what the verbs pool over the tasks of a metric (the
autocorrelation) is as uncertain as in a suite of that size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import polars as pl

import signoise as sn
from signoise import _core

from .study import Bar, Cell, Floats, Row, Study, Tally, rejections, shares

SUITE = 24
ROWS = 1_000_000
"""Of a table that is made at once."""
SIGNAL, NOISE = 0.02, 0.005
SMALL, LARGE = 150_000_000, 1_000_000_000


def suites(
    study: Study,
    name: str,
    rows_each: int,
    most: int | None = None,
    *,
    together: int = SUITE,
    error: float | None = None,
    **planted: Any,
) -> Iterator[tuple[pl.DataFrame, pl.DataFrame, np.random.Generator]]:
    """Scores and truth of all replications, in pieces; `together` tasks share a metric.

    With `error` the truth is that of scores with this error, instead of one checkpoint's.
    """
    rng = study.rng(name)
    left = study.replications if most is None else study.fewer(most)
    while left > 0:
        tasks = min(left, max(SUITE, ROWS // rows_each // SUITE * SUITE))
        seed = int(rng.integers(2**63))
        scores, truth = sn.simulate(tasks=tasks, level=0.5, rng_seed=seed, **planted)
        if error is not None:
            # The same members: no draw depends on the noise.
            other = {"step_noise": error, "checkpoints": 1, "autocorrelation": 0.0}
            _, truth = sn.simulate(tasks=tasks, level=0.5, rng_seed=seed, **planted | other)
        place = pl.col("task").str.slice(len("task-")).cast(pl.Int64)
        metric = "suite-" + (place // together).cast(pl.String)
        yield scores.with_columns(metric=metric), truth.drop("metric"), rng
        left -= tasks


def mean_variance(n: int, rho: float) -> float:
    """Variance of the mean of n checkpoints over that of one."""
    return (n + 2 * sum((n - lag) * rho**lag for lag in range(1, n))) / n**2


def two_families(rng: np.random.Generator, size: tuple[int, int]) -> Floats:
    """Members of two kinds, standard deviation 1."""
    sides = np.where(rng.random(size) < 0.5, -1.0, 1.0)
    return np.sqrt(0.8) * sides + np.sqrt(0.2) * rng.normal(size=size)


FAMILIES: dict[str, Callable[[np.random.Generator, tuple[int, int]], Floats]] = {
    "t4": lambda rng, size: rng.standard_t(4, size) / np.sqrt(2),
    "two families": two_families,
}


def snr_rows(
    study: Study,
    name: str,
    members: int,
    n: int,
    rho: float,
    family: str = "normal",
    *,
    together: int = SUITE,
) -> Iterator[Row]:
    """Intervals of the SNR (random members), the signal (these members) and the noise."""
    normal = family == "normal"
    planted = {
        "recipes": members,
        "params": (LARGE,),
        "checkpoints": n,
        "signal": SIGNAL if normal else 0.0,
        "step_noise": NOISE,
        "autocorrelation": rho,
    }
    spread = np.sqrt(SIGNAL**2 + NOISE**2 * mean_variance(n, rho))
    expected = float(_core.expected_range(np.array([float(members)]))[0])
    counted = {side: Tally() for side in ("snr", "signal", "noise")}
    flags = []
    for scores, truth, rng in suites(study, name, members * n, together=together, **planted):
        table = scores
        if not normal:
            effects = SIGNAL * FAMILIES[family](rng, (truth.height, members))
            table = scores.with_columns(value=pl.col("value") + np.repeat(effects.ravel(), n))
            truth = truth.with_columns(  # noqa: PLW2901
                mean=pl.col("mean") + effects.mean(axis=1),
                signal=pl.Series(np.ptp(effects, axis=1)) / (pl.col("mean") + effects.mean(axis=1)).abs(),
            )
        found = sn.snr(table, window=n).join(
            truth, on="task", how="left", suffix="_true", maintain_order="left"
        )
        truths = {
            "snr": expected * spread / NOISE,
            "signal": found["signal_true"].to_numpy(),
            "noise": NOISE / found["mean_true"].to_numpy(),
        }
        for side, tally in counted.items():
            low, high = (found[f"{side}_{end}"].fill_null(np.nan).to_numpy() for end in ("low", "high"))
            tally.add(low, high, truths[side])
        flags.append(found["flags"])
    cell = f"{members} members, {n} checkpoints, autocorrelation {rho}"
    if not normal:
        cell += f", members {family}"
    if together == 1:
        cell += ", one benchmark alone"
    clean = rho == 0
    what = {
        "snr": (
            "SNR",
            "expected range of such members over the noise",
            "normal members, no autocorrelation",
            clean and normal,
        ),
        "signal": ("signal", "range of these members' true scores", "no autocorrelation", clean),
        "noise": ("noise", "sd of a checkpoint about its run", "no autocorrelation", clean),
    }
    for side, (method, estimand, domain, inside) in what.items():
        yield Row(
            "Signal and noise",
            method,
            estimand,
            cell,
            bar=Bar.CONSERVATIVE if side == "signal" else Bar.APPROXIMATE,
            domain=domain,
            inside=inside,
            flags=shares(flags),
            **counted[side].measured(),  # type: ignore[arg-type]
        )


def run_noise_rows(study: Study, name: str, n: int, rho: float, kind: str) -> Iterator[Row]:
    """Noise of a single run, about its mean or about a line."""
    detrended = kind == "detrended"
    planted = {
        "recipes": 1,
        "params": (LARGE,),
        "checkpoints": n,
        "signal": 0.0,
        "step_noise": NOISE,
        "autocorrelation": rho,
        "trend": 0.03 if detrended else 0.0,
        "trend_shape": "linear",
    }
    tally, flags = Tally(), []
    for scores, _, _ in suites(study, name, n, **planted):
        found = sn.noise(scores, per="run", noise=kind, window=n, relative=False)
        low, high = (found[f"noise_{end}"].fill_null(np.nan).to_numpy() for end in ("low", "high"))
        tally.add(low, high, NOISE)
        flags.append(found["flags"])
    yield Row(
        "Signal and noise",
        f"noise of one run, {kind}",
        "sd of a checkpoint about its run" + ("'s trend" if detrended else ""),
        f"{n} checkpoints, autocorrelation {rho}" + (", linear trend" if detrended else ""),
        bar=Bar.APPROXIMATE,
        domain="no autocorrelation",
        inside=rho == 0,
        flags=shares(flags, without=("few_members",)),
        **tally.measured(),  # type: ignore[arg-type]
    )


def range_rows(study: Study, name: str, members: int, n: int, rho: float) -> Iterator[Row]:
    """The test that all members are equal."""
    planted = {
        "recipes": members,
        "params": (LARGE,),
        "checkpoints": n,
        "signal": 0.0,
        "step_noise": NOISE,
        "autocorrelation": rho,
    }
    found = [
        sn.signal(scores, window=n) for scores, _, _ in suites(study, name, members * n, 4000, **planted)
    ]
    p = np.concatenate([table["range_p_value"].fill_null(np.nan).to_numpy() for table in found])
    yield Row(
        "Signal and noise",
        "range test (studentised range)",
        "rejects although all members are equal",
        f"{members} members, {n} checkpoints, autocorrelation {rho}",
        bar=Bar.TEST,
        domain="no autocorrelation",
        inside=rho == 0,
        flags=shares([table["flags"] for table in found]),
        **rejections(p),  # type: ignore[arg-type]
    )


def decision_rows(
    study: Study, name: str, members: int, score: str, agreement: float, signal: float, rho: float = 0.0
) -> Iterator[Row]:
    """All pairs of limits of the verb: `low, high` is about new members, any other about these members."""
    n = 5
    planted = {
        "recipes": members,
        "params": (SMALL, LARGE),
        "checkpoints": n,
        "signal": signal,
        "scale_agreement": agreement,
        "step_noise": NOISE,
        "autocorrelation": rho,
    }
    error = NOISE**2 * (mean_variance(n, rho) if score == "mean" else 1.0)
    of_new = 0.5 + np.arcsin(agreement * signal**2 / (signal**2 + error)) / np.pi
    tallies: dict[str, Tally] = {}
    flags = []
    for scores, truth, _ in suites(study, name, 2 * members * n, 4000, error=np.sqrt(error), **planted):
        found = sn.decision_accuracy(
            scores,
            small=pl.col("params") == SMALL,
            target=pl.col("params") == LARGE,
            score=score,  # type: ignore[arg-type]
            direction=dict.fromkeys(scores["metric"].unique(), "higher"),
        )
        known = truth.filter(pl.col("params") == SMALL).select("task", true="expected_decision_accuracy")
        found = found.join(known, on="task", how="left", maintain_order="left")
        for column in found.columns:
            if column != "low" and not column.endswith("_low"):
                continue
            limits = (
                found[x].fill_null(np.nan).to_numpy() for x in (column, column.removesuffix("low") + "high")
            )
            tallies.setdefault(column, Tally()).add(
                *limits, of_new if column == "low" else found["true"].to_numpy()
            )
        flags.append(found["flags"])
    for column, tally in tallies.items():
        new = column == "low"
        yield Row(
            "Decision accuracy",
            f"{'members' if new else column.removesuffix('_low').replace('_', ' ')}, score {score}",
            "chance that two new members are ordered alike"
            if new
            else "decision accuracy to expect of these members at other checkpoints",
            f"{members} members, truth about {of_new:.2f}" + (f", autocorrelation {rho}" if rho else ""),
            bar=Bar.CONSERVATIVE if new else Bar.APPROXIMATE,
            domain="3 members" if new else "8 members, no autocorrelation",
            inside=new or (members >= 8 and not rho),
            flags=shares(flags),
            **tally.measured(),  # type: ignore[arg-type]
        )


def monotonicity_rows(study: Study, name: str, n: int, rho: float) -> Iterator[Row]:
    """Tests of a trend of runs that have none, by every null that the verb offers."""
    planted = {
        "recipes": 4,
        "params": (LARGE,),
        "checkpoints": n,
        "signal": 0.0,
        "step_noise": NOISE,
        "autocorrelation": rho,
    }
    found = []
    for scores, _, _ in suites(study, name, 4 * n, 2000, **planted):
        found.append(sn.smoothness(scores, direction="raw"))
    nulls = [column for column in found[0].columns if column.startswith("monotonicity_p")]
    for null in nulls:
        p = np.concatenate([table[null].fill_null(np.nan).to_numpy() for table in found])
        permutation = null == "monotonicity_p"
        yield Row(
            "Monotonicity",
            f"Kendall's tau against order, {null}",
            "rejects although there is no trend",
            f"{n} checkpoints, autocorrelation {rho}",
            bar=Bar.TEST,
            domain="no autocorrelation" if permutation else "30 checkpoints",
            inside=rho == 0 if permutation else n >= 30,
            flags=shares([table["flags"] for table in found]) if "flags" in found[0].columns else "",
            **rejections(p),  # type: ignore[arg-type]
        )


def cells() -> Iterator[Cell]:
    """All cells of this module."""

    def cell(name: str, run: Callable[..., Iterator[Row]], *args: object, **options: object) -> Cell:
        return Cell(name, lambda study: run(study, name, *args, **options))

    for n in (5, 30):
        for members in (5, 8, 25):
            for rho in (0.0, 0.5):
                yield cell(f"snr/{members}/{n}/{rho}", snr_rows, members, n, rho)
    for rho in (0.0, 0.5):
        for members in (5, 8):
            yield cell(f"snr/alone/{members}/5/{rho}", snr_rows, members, 5, rho, together=1)
    for family in FAMILIES:
        for members in (8, 25):
            yield cell(f"snr/{family}/{members}", snr_rows, members, 5, 0.0, family)
    for n in (5, 15, 30):
        for rho in (0.0, 0.5):
            for kind in ("within", "detrended"):
                yield cell(f"noise/{kind}/{n}/{rho}", run_noise_rows, n, rho, kind)
    for members in (5, 8, 25):
        for rho in (0.0, 0.5):
            yield cell(f"range-test/{members}/{rho}", range_rows, members, 5, rho)
    for members in (5, 8, 10, 25):
        for score in ("final", "mean"):
            yield cell(f"decisions/{members}/{score}/0.8", decision_rows, members, score, 0.9, 0.02)
        yield cell(f"decisions/{members}/final/0.6", decision_rows, members, "final", 0.8, 0.005)
        yield cell(f"decisions/{members}/final/0.97", decision_rows, members, "final", 1.0, 0.05)
        yield cell(f"decisions/{members}/mean/autocorrelated", decision_rows, members, "mean", 0.9, 0.02, 0.5)
    for n in (12, 30):
        for rho in (0.0, 0.5):
            yield cell(f"monotonicity/{n}/{rho}", monotonicity_rows, n, rho)
