"""Tests: how often they reject what is true."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from scipy import stats

from signoise import _core
from signoise._exact_tests import equivalence, mcnemar, non_inferiority, wilcoxon_signed_rank
from signoise._mean_intervals import mean_estimate, p_value, unpaired_difference

from .means import NORMAL, POPULATIONS, SIZES, Population
from .study import ALPHA, NO_VERB, Bar, Cell, Row, Study, rejections
from .tables import batches, mean_flags, offsets, unpaired_flags

LAPLACE = Population("Laplace", lambda rng, size: rng.laplace(size=size), 0.0, np.sqrt(2), 0.0)
EXPONENTIAL = POPULATIONS[2]
SIGNED = "symmetric differences"
RATES = (0.05, 0.5, 0.95)


def row(
    method: str,
    cell: str,
    domain: str,
    numbers: dict[str, float | int],
    *,
    inside: bool = True,
    flags: str = "",
    bar: Bar = Bar.TEST,
    estimand: str = "rejects although there is no difference",
    section: str = "Tests",
) -> Row:
    """A row about a test."""
    return Row(section, method, estimand, cell, bar=bar, domain=domain, inside=inside, flags=flags, **numbers)  # type: ignore[arg-type]


def units(count: int, start: int = 0) -> np.ndarray:
    """Addresses of draws, one for each replication."""
    return np.arange(start, start + count, dtype=np.uint64)


def t_row(study: Study, name: str, population: Population, n: int) -> Iterator[Row]:
    """Student's t on paired differences with mean 0."""
    rng, p, flags = study.rng(name), [], ""
    for count in batches(study.replications, n):
        d, bounds = (population.draw(rng, (count, n)) - population.mean).ravel(), offsets(count, n)
        p.append(p_value(mean_estimate(d, bounds)))
        flags = flags or mean_flags(d, bounds)
    yield row(
        "paired t",
        f"{population.name}, n = {n}",
        "n >= 30 max(1, skewness^2)",
        rejections(np.concatenate(p)),
        inside=population.enough(n),
        flags=flags,
    )


def sign_flip_row(study: Study, name: str, population: Population, n: int) -> Iterator[Row]:
    """Random signs; up to 2,000 patterns all of them."""
    rng, p, flags = study.rng(name), [], ""
    for count in batches(study.replications, n):
        d, bounds = (population.draw(rng, (count, n)) - population.mean).ravel(), offsets(count, n)
        p.append(_core.sign_flip_test(d, bounds, units(count, len(p) << 32), 2000, study.seed)["p_value"])
        flags = flags or mean_flags(d, bounds)
    yield row(
        "sign flip",
        f"{population.name}, n = {n}",
        SIGNED,
        rejections(np.concatenate(p)),
        inside=population.skewness == 0,
        flags=flags,
    )


def clustered_flip_row(study: Study, name: str, clusters: int) -> Iterator[Row]:
    """Random signs of the sums over clusters of lognormal sizes."""
    rng = study.rng(name)
    sizes = np.ceil(rng.lognormal(np.log(8), 1, (study.replications, clusters)))
    sums = np.sqrt(0.3 * sizes**2 + 0.7 * sizes) * rng.normal(size=sizes.shape)
    found = _core.sign_flip_test(sums.ravel(), offsets(*sizes.shape), units(len(sizes)), 2000, study.seed)
    yield row(
        "sign flip of clusters", f"{clusters} clusters, lognormal sizes", SIGNED, rejections(found["p_value"])
    )


def labels_row(
    study: Study, name: str, population: Population, n_a: int, n_b: int, scale: float
) -> Iterator[Row]:
    """Random labels of two independent samples."""
    rng, p = study.rng(name), []
    for count in batches(study.replications, n_a + n_b):
        a = population.draw(rng, (count, n_a)) - population.mean
        b = scale * (population.draw(rng, (count, n_b)) - population.mean)
        both = (a.ravel(), offsets(count, n_a), b.ravel(), offsets(count, n_b))
        p.append(_core.label_permutation_test(*both, units(count, len(p) << 32), 2000, study.seed)["p_value"])
    cell = f"{population.name}, n = {n_a} and {n_b}" + (f" ({scale:g} times the sd)" if scale != 1 else "")
    yield row(
        "label permutation",
        cell,
        "equal distributions",
        rejections(np.concatenate(p)),
        inside=scale == 1,
        flags=unpaired_flags(*both),
    )


def welch_row(study: Study, name: str, n_a: int, n_b: int, scale: float) -> Iterator[Row]:
    """Welch's t on two independent samples."""
    rng, p = study.rng(name), []
    for count in batches(study.replications, n_a + n_b):
        a = mean_estimate(rng.normal(size=count * n_a), offsets(count, n_a))
        b = mean_estimate(scale * rng.normal(size=count * n_b), offsets(count, n_b))
        p.append(p_value(unpaired_difference(a, b)))
    yield row(
        "unpaired Welch t",
        f"normal, n = {n_a} and {n_b} ({scale:g} times the sd)",
        "n >= 30 max(1, skewness^2)",
        rejections(np.concatenate(p)),
        inside=min(n_a, n_b) >= 30,
    )


def mcnemar_rate(n: int, discordant: float, method: str) -> float:
    """Probability that the test rejects two equally good models, summed over all outcomes."""
    b, c = np.meshgrid(np.arange(n + 1.0), np.arange(n + 1.0), indexing="ij")
    b, c = b[b + c <= n], c[b + c <= n]
    # Discordant pairs are rare or half of all: far fewer outcomes than n^2 count.
    total, chance = b + c, stats.binom.pmf(np.arange(n + 1), n, discordant)
    likely = chance[total.astype(int)] > 1e-15
    b, c, total = b[likely], c[likely], total[likely]
    weight = chance[total.astype(int)] * stats.binom.pmf(b, total, 0.5)
    return float(weight[mcnemar(b, c, method) <= ALPHA].sum())  # type: ignore[arg-type]


def mcnemar_rows(study: Study, name: str, p: float, n: int) -> Iterator[Row]:
    """Exact rates of all forms."""
    del study, name
    discordant = p * (1 - p)  # the instance decides half of them: correlation 0.5
    cell = f"p = {p} both, correlation 0.5, n = {n}"
    for method in ("exact", "mid_p", "chi2", "chi2_corrected"):
        numbers: dict[str, float | int] = {"rate": mcnemar_rate(n, discordant, method)}
        enough = method != "chi2" or n * discordant >= 10
        domain = "10 discordant pairs" if method == "chi2" else "everywhere"
        yield row(f"McNemar, {method.replace('_', ' ')}", cell, domain, numbers, inside=enough)


def wilcoxon_row(study: Study, name: str, n: int, *, ties: bool) -> Iterator[Row]:
    """Signed ranks; with ties the scores have one decimal."""
    rng = study.rng(name)
    count = study.fewer(2000)
    d = rng.normal(size=(count, n))
    d = (np.round(2 * d) / 2 if ties else d).ravel()
    found = wilcoxon_signed_rank(d, offsets(count, n)).p_value
    yield row(
        "Wilcoxon signed ranks",
        f"normal{', many ties' * ties}, n = {n}",
        SIGNED,
        rejections(found),
        flags=NO_VERB,
    )


def margin_rows(study: Study, name: str, n: int) -> Iterator[Row]:
    """Equivalence and non-inferiority where the true difference stands at the margin."""
    rng, both, worse = study.rng(name), [], []
    margin = 0.5
    for count in batches(study.replications, n):
        found = mean_estimate(rng.normal(margin, 1, count * n), offsets(count, n))
        both.append(equivalence(found.value, found.stderr, found.df, margin).p_value)
        worse.append(non_inferiority(-found.value, found.stderr, found.df, margin))
    for method, p in (("equivalence (TOST)", both), ("non-inferiority", worse)):
        yield row(
            method,
            f"normal, n = {n}",
            "n >= 30 max(1, skewness^2)",
            rejections(np.concatenate(p)),
            flags=NO_VERB,
            estimand="rejects although the difference is the margin",
        )


def cells() -> Iterator[Cell]:
    """All cells of this module."""

    def cell(name: str, run: Callable[..., Iterator[Row]], *args: object, **options: object) -> Cell:
        return Cell(name, lambda study: run(study, name, *args, **options))

    for n in SIZES[:2]:
        for population in (NORMAL, EXPONENTIAL):
            yield cell(f"tests/t/{population.name}/{n}", t_row, population, n)
    for n in (8, *SIZES[:2]):
        for population in (NORMAL, LAPLACE, EXPONENTIAL):
            yield cell(f"tests/sign-flip/{population.name}/{n}", sign_flip_row, population, n)
    for clusters in (8, 10, 20, 50):
        yield cell(f"tests/clusters/{clusters}", clustered_flip_row, clusters)
    for n_a, n_b, scale in ((30, 30, 1.0), (30, 164, 1.0), (30, 164, 2.0), (164, 30, 2.0)):
        yield cell(f"tests/labels/normal/{n_a}-{n_b}-{scale:g}", labels_row, NORMAL, n_a, n_b, scale)
        yield cell(f"tests/welch/{n_a}-{n_b}-{scale:g}", welch_row, n_a, n_b, scale)
    yield cell("tests/labels/exponential", labels_row, EXPONENTIAL, 30, 164, 1.0)
    for p in RATES[:2]:
        for n in SIZES:
            yield cell(f"tests/mcnemar/{p}/{n}", mcnemar_rows, p, n)
    for n in (10, *SIZES[:2]):
        yield cell(f"tests/wilcoxon/{n}", wilcoxon_row, n, ties=False)
        yield cell(f"tests/wilcoxon/ties/{n}", wilcoxon_row, n, ties=True)
    for n in SIZES[:2]:
        yield cell(f"tests/margin/{n}", margin_rows, n)
