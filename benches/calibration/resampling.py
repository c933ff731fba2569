"""Bootstrap intervals, by the engine of the verb `bootstrap` and by kernels that no verb offers yet."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from signoise import _core
from signoise._bootstrap_replicates import Plan, intervals
from signoise._bootstrap_samples import Sample

from .means import POPULATIONS, SIZES, Population, Z, bernoulli, clustered_scores
from .study import LEVEL, NO_VERB, Bar, Cell, Floats, Row, Study, Tally
from .tables import bootstrap_flags, offsets

METHODS = ("percentile", "basic", "bca", "studentised")
RESAMPLES = 2000
MOST = 4000
"""Replications of a cell whose replications share their draws, and of the others half."""
SHARING = 50
"""Replications that share their draws, which is what makes thousands cheap: 80 independent sets of draws."""
ENOUGH = "n >= 50, 30 skewness^2"


def sample(
    values: Floats,
    unit: int,
    *,
    weights: Floats | None = None,
    members: NDArray[np.uintp] | None = None,
    strata: Sequence[int] | None = None,
) -> Sample:
    """One replication, as the verb would hold it."""
    clusters = np.arange(len(values) + 1, dtype=np.uintp) if members is None else members
    bounds = np.array([0, len(clusters) - 1] if strata is None else strata, dtype=np.uintp)
    units = unit * 100 + np.arange(len(bounds) - 1, dtype=np.uint64)
    return Sample(values, weights, clusters, bounds, units.astype(np.uint64), logs=False)


def tally(
    study: Study,
    methods: Sequence[str],
    truth: Floats | float,
    oracle: Floats | float,
    samples: Sequence[Sample],
    into: dict[str, Tally],
    statistic: tuple[str, float | None] = ("mean", None),
) -> None:
    """Intervals of these replications by several methods."""
    for method in methods:
        plan = Plan(*statistic, None, method, RESAMPLES, study.seed, LEVEL, None)
        found = intervals(samples, plan)
        into.setdefault(method, Tally()).add(found.low, found.high, truth, oracle)


def rows_of(
    into: dict[str, Tally],
    *,
    what: str,
    estimand: str,
    cell: str,
    domain: str,
    inside: bool,
    flags: str | Callable[[str], str],
    nowhere: str = "",
) -> Iterator[Row]:
    """A row for each method, of which one may be good `nowhere`."""
    for method, counted in into.items():
        yield Row(
            "Bootstrap",
            f"{what}, {method}",
            estimand,
            cell,
            bar=Bar.APPROXIMATE,
            domain=domain if method != nowhere else "nowhere",
            inside=inside and method != nowhere,
            flags=flags if isinstance(flags, str) else flags(method),
            **counted.measured(),  # type: ignore[arg-type]
        )


def independent(study: Study, name: str, population: Population, n: int) -> Iterator[Row]:
    """Mean of independent instances; of 0/1 scores by their binomial law."""
    rng, into = study.rng(name), {}
    seen: list[Floats] = []
    binary = population.name.startswith("0/1")
    for batch, count in enumerate(_shared(study.fewer(MOST))):
        x = population.draw(rng, (count, n))
        samples = [sample(row, batch * SHARING + (r if binary else 0)) for r, row in enumerate(x)]
        methods = METHODS[:3] if binary else METHODS
        tally(study, methods, population.mean, 2 * Z * population.sd / np.sqrt(n), samples, into)
        seen.append(x)
    yield from rows_of(
        into,
        what="mean of 0/1 scores" if binary else "mean",
        estimand="mean of the population of instances",
        cell=f"{population.name}, n = {n}",
        domain=ENOUGH,
        inside=n >= 50 and population.enough(n),
        flags=bootstrap_flags(np.concatenate(seen[:4]).ravel(), offsets(sum(map(len, seen[:4])), n)),
    )


def median(study: Study, name: str, n: int) -> Iterator[Row]:
    """Median of normal scores."""
    rng, into = study.rng(name), {}
    for batch, count in enumerate(_shared(study.fewer(MOST // 2))):
        x = rng.normal(size=(count, n))
        samples = [sample(row, batch) for row in x]
        oracle = 2 * Z * np.sqrt(np.pi / 2 / n)
        tally(study, METHODS[:3], 0.0, oracle, samples, into, ("median", 0.5))
    yield from rows_of(
        into,
        what="median",
        estimand="median of the population of instances",
        cell=f"normal, n = {n}",
        domain="n >= 50",
        inside=n >= 50,
        flags=lambda method: bootstrap_flags(
            x.ravel(), offsets(len(x), n), statistic="median", method=method
        ),
        nowhere="basic",
    )


def clustered(study: Study, name: str, clusters: int, *, equal: bool) -> Iterator[Row]:
    """Whole clusters drawn."""
    rng, into, flags, effective = study.rng(name), {}, "", 0.0
    done = 0
    # Sizes of clusters differ between replications, so that these share no draws.
    for batch, count in enumerate(_shared(study.fewer(MOST if equal else MOST // 2))):
        x, bounds, label, variance = clustered_scores(rng, count, clusters, equal=equal)
        samples = []
        for r in range(count):
            part = slice(int(bounds[r]), int(bounds[r + 1]))
            starts = np.flatnonzero(np.diff(label[part], prepend=-1))
            members = np.append(starts, part.stop - part.start).astype(np.uintp)
            sizes = np.diff(members).astype(float)
            effective += float(sizes.sum() ** 2 / (sizes**2).sum())
            samples.append(sample(x[part], batch, members=members))
        tally(study, METHODS, 0.0, 2 * Z * np.sqrt(variance), samples, into)
        done += count
        flags = flags or bootstrap_flags(x, bounds, label)
    effective /= done
    yield from rows_of(
        into,
        what="clustered mean",
        estimand="mean of the population of instances",
        cell=f"{clusters} clusters, {'equal' if equal else 'lognormal'} sizes ({effective:.0f} effective)",
        domain="30 effective clusters",
        inside=effective >= 29.5,
        flags=flags,
    )


def stratified(study: Study, name: str, sizes: Sequence[int]) -> Iterator[Row]:
    """Mean over subtasks, instances drawn inside each."""
    rng, into = study.rng(name), {}
    strata = np.concatenate([[0], np.cumsum(sizes)]).astype(int)
    sd = np.linspace(0.5, 1.5, len(sizes))
    level = np.repeat(np.linspace(-1, 1, len(sizes)), sizes)
    oracle = 2 * Z * np.sqrt((sd**2 / sizes).sum()) / len(sizes)
    for batch, count in enumerate(_shared(study.fewer(MOST))):
        x = level + np.repeat(sd, sizes) * rng.normal(size=(count, strata[-1]))
        samples = [sample(row, batch, strata=strata.tolist()) for row in x]
        tally(study, METHODS[:3], 0.0, oracle, samples, into)
    bounds = offsets(len(x), int(strata[-1]))
    subtasks = np.tile(np.repeat(np.arange(len(sizes)), sizes), len(x))
    yield from rows_of(
        into,
        what="macro mean",
        estimand="mean over these subtasks of the mean of each population",
        cell=f"normal, {len(sizes)} subtasks of {min(sizes)} to {max(sizes)}",
        domain="n >= 50 in all, 20 in each subtask",
        inside=sum(sizes) >= 50 and min(sizes) >= 20,
        flags=bootstrap_flags(x.ravel(), bounds, subtask=subtasks, stratify="subtask"),
    )


def ratio(study: Study, name: str, n: int) -> Iterator[Row]:
    """Ratio of sums; the denominators differ between replications, so that these share no draws."""
    rng, into = study.rng(name), {}
    oracle = 2 * Z * 0.3 * np.exp(0.125) / np.sqrt(n)
    for batch, count in enumerate(_shared(study.fewer(MOST // 2))):
        x, weights = 1 + 0.3 * rng.normal(size=(count, n)), rng.lognormal(0, 0.5, (count, n))
        samples = [sample(row, batch, weights=own) for row, own in zip(x, weights, strict=True)]
        tally(study, METHODS, 1.0, oracle, samples, into)
    yield from rows_of(
        into,
        what="ratio of sums",
        estimand="ratio of expectations",
        cell=f"bytes lognormal(0.5), n = {n}",
        domain=ENOUGH,
        inside=n >= 50,
        flags=bootstrap_flags(x.ravel(), offsets(len(x), n), weight=weights.ravel()),
    )


def poisson(study: Study, name: str, n: int) -> Iterator[Row]:
    """Poisson weights, for instances that stream by."""
    rng, counted = study.rng(name), Tally()
    for batch, count in enumerate(_shared(study.fewer(MOST))):
        x = rng.normal(size=(count, n))
        units = np.array([batch], dtype=np.uint64)
        drawn = _core.bootstrap_means(x, None, offsets(1, n), units, RESAMPLES, study.seed, scheme="poisson")
        low, high = np.nanquantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=1)
        counted.add(low, high, 0.0, 2 * Z / np.sqrt(n))
    yield from rows_of(
        {"Poisson weights": counted},
        what="mean",
        estimand="mean of the population of instances",
        cell=f"normal, n = {n}",
        domain=ENOUGH,
        inside=n >= 50,
        flags=NO_VERB,
    )


def crossed(study: Study, name: str, seeds: int, n: int) -> Iterator[Row]:
    """Seeds and the instances they share, both drawn."""
    rng, counted = study.rng(name), Tally()
    sd = np.array([0.02, 0.4, 0.2])  # seed, instance, interaction
    oracle = 2 * Z * np.sqrt((sd**2 / [seeds, n, seeds * n]).sum())
    bounds, rows = offsets(1, n), offsets(1, seeds)
    for r in range(study.fewer(MOST // 2)):
        table = (
            sd[0] * rng.normal(size=(seeds, 1))
            + sd[1] * rng.normal(size=n)
            + sd[2] * rng.normal(size=(seeds, n))
        )
        unit = np.array([r], dtype=np.uint64)
        drawn = _core.bootstrap_crossed(table, None, rows, unit, bounds, unit, RESAMPLES, study.seed)
        low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=1)
        counted.add(low, high, 0.0, oracle)
    yield from rows_of(
        {"percentile": counted},
        what="crossed mean",
        estimand="mean over populations of seeds and of instances",
        cell=f"{seeds} seeds x {n} instances",
        domain="5 seeds or more",
        inside=seeds >= 5,
        flags=NO_VERB,
    )


def blocks(study: Study, name: str, scheme: str, n: int, rho: float) -> Iterator[Row]:
    """Mean of an autocorrelated series of checkpoints."""
    rng, counted = study.rng(name), Tally()
    length = round(2 * n ** (1 / 3))
    variance = (n + 2 * sum((n - lag) * rho**lag for lag in range(1, n))) / n**2
    for batch, count in enumerate(_shared(study.fewer(MOST))):
        noise = rng.normal(size=(count, n)) * np.sqrt(1 - rho**2)
        x = np.empty((count, n))
        x[:, 0] = noise[:, 0] / np.sqrt(1 - rho**2)
        for t in range(1, n):
            x[:, t] = rho * x[:, t - 1] + noise[:, t]
        units = np.array([batch], dtype=np.uint64)
        drawn = _core.bootstrap_means(
            x, None, offsets(1, n), units, RESAMPLES, study.seed, scheme=scheme, block_length=length
        )
        low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=1)
        counted.add(low, high, 0.0, 2 * Z * np.sqrt(variance))
    yield from rows_of(
        {f"{scheme.replace('_', ' ')}s of {length}": counted},
        what="mean of a series",
        estimand="mean of a stationary series",
        cell=f"{n} checkpoints, autocorrelation {rho}",
        domain="100 checkpoints",
        inside=n >= 100,
        flags=NO_VERB,
    )


def _shared(replications: int) -> list[int]:
    return [min(SHARING, replications - start) for start in range(0, replications, SHARING)]


def cells() -> Iterator[Cell]:
    """All cells of this module."""

    def cell(name: str, run: Callable[..., Iterator[Row]], *args: object, **options: object) -> Cell:
        return Cell(name, lambda study: run(study, name, *args, **options))

    for n in (30, 50, *SIZES[1:]):
        for population in (POPULATIONS[0], POPULATIONS[2], *map(bernoulli, (0.05, 0.5, 0.95))):
            yield cell(f"bootstrap/mean/{population.name}/{n}", independent, population, n)
    for n in (30, 50, 164):
        yield cell(f"bootstrap/median/{n}", median, n)
        yield cell(f"bootstrap/ratio/{n}", ratio, n)
        yield cell(f"bootstrap/poisson/{n}", poisson, n)
    for clusters in (10, 20, 30, 50):
        yield cell(f"bootstrap/clusters/equal/{clusters}", clustered, clusters, equal=True)
    for clusters in (20, 50, 100):
        yield cell(f"bootstrap/clusters/lognormal/{clusters}", clustered, clusters, equal=False)
    for sizes in ((10, 15, 20, 40), (10,) * 20, (20, 30, 40, 50), (30, 50, 100, 200)):
        yield cell(f"bootstrap/stratified/{len(sizes)}/{sizes[0]}", stratified, sizes)
    for seeds in (3, 5, 10):
        yield cell(f"bootstrap/crossed/{seeds}", crossed, seeds, 164)
    for scheme in ("moving_block", "stationary_block"):
        for n in (30, 100, 300):
            yield cell(f"bootstrap/{scheme}/{n}", blocks, scheme, n, 0.5)
