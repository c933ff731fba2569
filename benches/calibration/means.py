"""Normal-theory intervals of means and differences: independent, paired, clustered, corrected by labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from signoise._mean_intervals import (
    ClusterError,
    crossed_mean,
    interval,
    mean_estimate,
    paired_difference,
    unpaired_difference,
)
from signoise._prediction_powered import prediction_powered_mean

from .study import LEVEL, NO_VERB, Bar, Cell, Floats, Row, Study, Tally
from .tables import batches, compare_flags, judged_flags, mean_flags, offsets, unpaired_flags

Draw = Callable[[np.random.Generator, tuple[int, int]], Floats]

Z = 1.959963984540054
SIZES = (30, 164, 1000)
NORMAL_ENOUGH = "n >= 30 max(1, skewness^2)"


@dataclass(frozen=True)
class Population:
    """What scores are drawn from."""

    name: str
    draw: Draw
    mean: float
    sd: float
    skewness: float

    def enough(self, n: int) -> bool:
        """Whether normal theory is for so many of them."""
        return n >= 30 * max(1.0, self.skewness**2)


def _gamma(shape: float) -> Population:
    name = "exponential" if shape == 1 else f"gamma({shape:g})"
    return Population(
        f"{name}, skewness {2 / shape**0.5:.1f}",
        lambda rng, size: rng.gamma(shape, size=size),
        shape,
        shape**0.5,
        2 / shape**0.5,
    )


def _lognormal(sigma: float) -> Population:
    square = np.exp(sigma**2)
    mean, skewness = np.exp(sigma**2 / 2), (square + 2) * np.sqrt(square - 1)
    return Population(
        f"lognormal({sigma:g}), skewness {skewness:.1f}",
        lambda rng, size: rng.lognormal(0, sigma, size),
        float(mean),
        float(mean * np.sqrt(square - 1)),
        float(skewness),
    )


def bernoulli(p: float) -> Population:
    """Scores of 0 and 1."""
    sd = float(np.sqrt(p * (1 - p)))
    return Population(
        f"0/1, p = {p}", lambda rng, size: (rng.random(size) < p).astype(float), p, sd, (1 - 2 * p) / sd
    )


NORMAL = Population("normal", lambda rng, size: rng.normal(size=size), 0.0, 1.0, 0.0)
POPULATIONS = (NORMAL, _gamma(4), _gamma(1), _lognormal(1))


def mean_row(study: Study, name: str, population: Population, n: int, distribution: str) -> Iterator[Row]:
    """Mean of independent scores."""
    rng, tally, flags = study.rng(name), Tally(), ""
    for count in batches(study.replications, n):
        x, bounds = population.draw(rng, (count, n)).ravel(), offsets(count, n)
        low, high = interval(mean_estimate(x, bounds), LEVEL, distribution)  # type: ignore[arg-type]
        tally.add(low, high, population.mean, 2 * Z * population.sd / np.sqrt(n))
        flags = flags or mean_flags(x, bounds)
    yield Row(
        "Means",
        {"t": "mean, Student's t", "z": "mean, normal quantiles"}[distribution],
        "mean of the population of instances",
        f"{population.name}, n = {n}",
        bar=Bar.APPROXIMATE,
        domain=NORMAL_ENOUGH,
        inside=population.enough(n),
        flags=flags,
        **tally.measured(),  # type: ignore[arg-type]
    )


def repeated_row(study: Study, name: str, k: int, n: int) -> Iterator[Row]:
    """K generations of each instance, averaged within it."""
    rng, tally, flags = study.rng(name), Tally(), ""
    sd = np.sqrt(1 / 20 + (1 / 4 - 1 / 20) / k)  # p of an instance is Beta(2, 2)
    for count in batches(study.replications, n):
        x = (rng.binomial(k, rng.beta(2, 2, (count, n))) / k).ravel()
        bounds = offsets(count, n)
        low, high = interval(mean_estimate(x, bounds), LEVEL)
        tally.add(low, high, 0.5, 2 * Z * sd / np.sqrt(n))
        flags = flags or mean_flags(x, bounds)
    yield Row(
        "Means",
        f"mean, {k} samples per instance, Student's t of instance means",
        "mean success probability of the population of instances",
        f"0/1, p of an instance Beta(2, 2), n = {n}",
        bar=Bar.APPROXIMATE,
        domain=NORMAL_ENOUGH,
        inside=True,
        flags=flags,
        **tally.measured(),  # type: ignore[arg-type]
    )


def ratio_row(study: Study, name: str, n: int) -> Iterator[Row]:
    """Ratio of sums, such as bits per byte."""
    rng, tally = study.rng(name), Tally()
    sigma, noise = 0.5, 0.3
    for count in batches(study.replications, n):
        weights = rng.lognormal(0, sigma, count * n)
        x = 1 + noise * rng.normal(size=count * n)
        low, high = interval(mean_estimate(x, offsets(count, n), weights=weights), LEVEL)
        tally.add(low, high, 1.0, 2 * Z * noise * np.exp(sigma**2 / 2) / np.sqrt(n))
    yield Row(
        "Means",
        "ratio of sums, Student's t of residuals",
        "ratio of expectations",
        f"bytes lognormal({sigma}), n = {n}",
        bar=Bar.APPROXIMATE,
        domain=NORMAL_ENOUGH,
        inside=True,
        **tally.measured(),  # type: ignore[arg-type]
    )


def paired_row(study: Study, name: str, p: float, n: int) -> Iterator[Row]:
    """0/1 scores of two equally good models, half of the instances decided by the instance."""
    rng, tally, flags = study.rng(name), Tally(), ""
    discordant = p * (1 - p)  # half of the instances, each with probability 2 p (1 - p)
    for count in batches(study.replications, n):
        shared = rng.random((count, n)) < 0.5
        a = rng.random((count, n)) < p
        b = np.where(shared, a, rng.random((count, n)) < p)
        x, y, bounds = a.ravel().astype(float), b.ravel().astype(float), offsets(count, n)
        found = paired_difference(x, y, bounds).difference
        low, high = (np.where(found.stderr > 0, limit, np.nan) for limit in interval(found, LEVEL))
        tally.add(low, high, 0.0, 2 * Z * np.sqrt(discordant / n))
        flags = flags or compare_flags(x, y, bounds)
    yield Row(
        "Means",
        "paired difference, Student's t",
        "difference of success probabilities",
        f"0/1, p = {p} both, correlation 0.5, n = {n}",
        bar=Bar.APPROXIMATE,
        domain="n >= 30 max(1, skewness^2), 10 discordant pairs",
        inside=n * discordant >= 10,
        flags=flags,
        **tally.measured(),  # type: ignore[arg-type]
    )


def unpaired_row(study: Study, name: str, population: Population, n_a: int, n_b: int) -> Iterator[Row]:
    """Two runs on different instances, the second with twice the spread."""
    rng, tally = study.rng(name), Tally()
    flags = ""
    for count in batches(study.replications, n_a + n_b):
        a, b = population.draw(rng, (count, n_a)).ravel(), 2 * population.draw(rng, (count, n_b)).ravel()
        bounds = offsets(count, n_a), offsets(count, n_b)
        found = unpaired_difference(mean_estimate(a, bounds[0]), mean_estimate(b, bounds[1]))
        low, high = interval(found, LEVEL)
        flags = flags or unpaired_flags(a, bounds[0], b, bounds[1])
        tally.add(low, high, -population.mean, 2 * Z * population.sd * np.sqrt(1 / n_a + 4 / n_b))
    yield Row(
        "Means",
        "unpaired difference, Welch's t",
        "difference of means",
        f"{population.name}, n = {n_a} and {n_b} (twice the sd)",
        bar=Bar.APPROXIMATE,
        domain=NORMAL_ENOUGH,
        inside=population.enough(min(n_a, n_b)),
        flags=flags,
        **tally.measured(),  # type: ignore[arg-type]
    )


def crossed_row(study: Study, name: str, seeds: int, n: int) -> Iterator[Row]:
    """Training seeds x instances, both sampled."""
    rng, tally = study.rng(name), Tally()
    sd = np.array([0.02, 0.4, 0.2])  # seed, instance, interaction
    oracle = 2 * Z * np.sqrt((sd**2 / [seeds, n, seeds * n]).sum())
    for _ in range(study.replications):
        rows, columns = sd[0] * rng.normal(size=(seeds, 1)), sd[1] * rng.normal(size=n)
        found = crossed_mean(rows + columns + sd[2] * rng.normal(size=(seeds, n)))
        tally.add(*interval(found, LEVEL), 0.0, oracle)
    yield Row(
        "Means",
        "crossed mean, Satterthwaite's t",
        "mean over populations of seeds and of instances",
        f"{seeds} seeds x {n} instances",
        bar=Bar.APPROXIMATE,
        domain="5 seeds or more",
        inside=seeds >= 5,
        flags=NO_VERB,
        **tally.measured(),  # type: ignore[arg-type]
    )


def cluster_sizes(rng: np.random.Generator, clusters: int, *, equal: bool) -> NDArray[np.intp]:
    """Instances of each cluster: 10, or lognormal about 8 with a long tail."""
    if equal:
        return np.full(clusters, 10)
    return np.ceil(rng.lognormal(np.log(8), 1, clusters)).astype(np.intp)


def clustered_scores(
    rng: np.random.Generator, replications: int, clusters: int, *, equal: bool
) -> tuple[Floats, NDArray[np.uintp], NDArray[np.intp], Floats]:
    """Scores with an intraclass correlation of 0.3; bounds of replications; clusters; variance of each mean."""
    sizes = cluster_sizes(rng, replications * clusters, equal=equal)
    label = np.repeat(np.arange(len(sizes)), sizes)
    x = np.sqrt(0.3) * rng.normal(size=len(sizes))[label] + np.sqrt(0.7) * rng.normal(size=len(label))
    by = sizes.reshape(replications, clusters).astype(float)
    n = by.sum(axis=1)
    variance = (0.3 * (by**2).sum(axis=1) + 0.7 * n) / n**2
    return x, np.concatenate([[0], np.cumsum(n)]).astype(np.uintp), label, variance


def cluster_rows(study: Study, name: str, clusters: int, *, equal: bool) -> Iterator[Row]:
    """Whole clusters depend on each other."""
    rng, flags = study.rng(name), ""
    tallies: dict[ClusterError, Tally] = {"CR0": Tally(), "CR1": Tally(), "CR3": Tally()}
    effective = 0.0
    for count in batches(study.replications, clusters * 15):
        x, bounds, label, variance = clustered_scores(rng, count, clusters, equal=equal)
        for error, tally in tallies.items():
            found = mean_estimate(x, bounds, clusters=label, error=error)
            tally.add(*interval(found, LEVEL), 0.0, 2 * Z * np.sqrt(variance))
            effective += float(found.effective_clusters.sum()) / 3
        flags = flags or mean_flags(x, bounds, label)
    effective /= study.replications
    for error, tally in tallies.items():
        sizes = "equal sizes" if equal else "lognormal sizes"
        yield Row(
            "Clusters",
            f"clustered mean, {error}, Student's t",
            "mean of the population of instances",
            f"{clusters} clusters, {sizes} ({effective:.0f} effective)",
            bar=Bar.APPROXIMATE,
            domain="30 effective clusters",
            inside=effective >= 29.5,
            flags=flags,
            **tally.measured(),  # type: ignore[arg-type]
        )


def labels_row(study: Study, name: str, n: int, correlation: float, *, binary: bool) -> Iterator[Row]:
    """A judge's scores of 1,000 instances and labels of n."""
    rng, tally, flags = study.rng(name), Tally(), ""
    more = 1000
    for count in batches(study.replications, more + n):
        if binary:
            y = rng.random((count, n + more)) < 0.7
            # The judge copies the label or guesses high.
            judge = np.where(rng.random(y.shape) < correlation, y, rng.random(y.shape) < 0.8)
            truth, sd = 0.7, np.sqrt(0.21)
        else:
            y = rng.normal(size=(count, n + more))
            judge = 0.3 + correlation * y + np.sqrt(1 - correlation**2) * rng.normal(size=y.shape)
            truth, sd = 0.0, 1.0
        labels, scored, rest = (
            np.ravel(part).astype(float) for part in (y[:, :n], judge[:, :n], judge[:, n:])
        )
        bounds, rest_bounds = offsets(count, n), offsets(count, more)
        found = prediction_powered_mean(labels, scored, bounds, rest, rest_bounds).estimate
        tally.add(*interval(found, LEVEL), truth, 2 * Z * sd / np.sqrt(n))
        flags = flags or judged_flags(labels, bounds, scored, rest, rest_bounds)
    yield Row(
        "Labels and a judge",
        "prediction-powered mean",
        "mean label of the population of instances",
        f"{'0/1' if binary else 'normal'}, agreement {correlation}, {n} labels, {more} judged",
        bar=Bar.APPROXIMATE,
        domain="50 labels",
        inside=n >= 50,
        flags=flags,
        **tally.measured(),  # type: ignore[arg-type]
    )


def cells() -> Iterator[Cell]:
    """All cells of this module."""

    def cell(name: str, run: Callable[..., Iterator[Row]], *args: object, **options: object) -> Cell:
        return Cell(name, lambda study: run(study, name, *args, **options))

    for n in SIZES:
        for population in POPULATIONS:
            yield cell(f"means/t/{population.name}/{n}", mean_row, population, n, "t")
        yield cell(f"means/z/{n}", mean_row, NORMAL, n, "z")
        yield cell(f"means/ratio/{n}", ratio_row, n)
        for p in (0.05, 0.5, 0.95):
            yield cell(f"means/paired/{p}/{n}", paired_row, p, n)
    for n in SIZES[:2]:
        yield cell(f"means/samples/{n}", repeated_row, 4, n)
    yield cell("means/unpaired/normal", unpaired_row, NORMAL, 30, 164)
    yield cell("means/unpaired/0.5", unpaired_row, bernoulli(0.5), 164, 164)
    yield cell("means/unpaired/exponential", unpaired_row, POPULATIONS[2], 164, 164)
    for seeds in (3, 5, 10):
        yield cell(f"means/crossed/{seeds}", crossed_row, seeds, 164)
    for clusters in (10, 20, 50):
        yield cell(f"clusters/equal/{clusters}", cluster_rows, clusters, equal=True)
    for clusters in (10, 20, 50, 100, 200):
        yield cell(f"clusters/lognormal/{clusters}", cluster_rows, clusters, equal=False)
    for n in (30, 50, 164):
        for binary in (False, True):
            for correlation in (0.3, 0.8):
                kind = "binary" if binary else "normal"
                yield cell(f"labels/{kind}/{correlation}/{n}", labels_row, n, correlation, binary=binary)
