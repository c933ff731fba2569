"""Confidence sequences: does the whole path of limits hold the mean?"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from signoise._confidence_sequences import asymptotic_sequence, betting_sequence, empirical_bernstein_sequence

from .study import Bar, Cell, Floats, Row, Study, Tally

LENGTH = 1000
POPULATION = 2000
Z = 1.959963984540054


def path(
    study: Study, name: str, method: str, p: float, *, real: bool, population: bool = False
) -> Iterator[Row]:
    """Limits after each of 1,000 instances; a path misses if any of its intervals does."""
    rng, counted = study.rng(name), Tally()
    start = 0
    if method == "asymptotic":
        # Looking begins once the rarer outcome has come 15 times, on average.
        start = max(30, int(np.ceil(15 / min(p, 1 - p)))) - 1
    for _ in range(study.fewer(2000)):
        truth = p
        if population:
            everything = np.zeros(POPULATION)
            everything[: round(p * POPULATION)] = 1
            x = rng.permutation(everything)[:LENGTH]
        elif real:
            x = rng.beta(4 * p, 4 * (1 - p), LENGTH)
        else:
            x = (rng.random(LENGTH) < p).astype(float)
        low, high = _limits(method, x, POPULATION if population else None)
        held = bool(np.all((low[start:] <= truth + 1e-12) & (truth - 1e-12 <= high[start:])))
        sd = np.sqrt(p * (1 - p) / (5 if real else 1))
        # A path that missed once counts as a miss, whatever its last interval holds.
        shift = 0.0 if held else 2.0
        counted.add(low[-1:] + shift, high[-1:] + shift, truth, 2 * Z * sd / np.sqrt(LENGTH))
    kind = "scores in [0, 1]" if real else "0/1"
    yield Row(
        "Confidence sequences",
        f"{method.replace('_', ' ')} sequence" + (", without replacement" if population else ""),
        "mean, at all times at once" + (" from 15 of the rarer outcome on" if start else ""),
        f"{kind}, mean {p}, {LENGTH} instances" + (f" of {POPULATION}" if population else ""),
        bar=Bar.CONSERVATIVE,
        domain="from 15 of the rarer outcome on" if method == "asymptotic" else "everywhere",
        inside=True,
        **counted.measured(),  # type: ignore[arg-type]
    )


def _limits(method: str, x: Floats, population: int | None) -> tuple[Floats, Floats]:
    if method == "asymptotic":
        return asymptotic_sequence(x)
    if method == "betting":
        return betting_sequence(x, population=population, resolution=200)
    return empirical_bernstein_sequence(x, population=population)


def cells() -> Iterator[Cell]:
    """All cells of this module."""

    def cell(name: str, run: Callable[..., Iterator[Row]], *args: object, **options: object) -> Cell:
        return Cell(name, lambda study: run(study, name, *args, **options))

    for method in ("empirical_bernstein", "betting", "asymptotic"):
        for p in (0.05, 0.5, 0.95):
            yield cell(f"sequences/{method}/{p}", path, method, p, real=False)
        yield cell(f"sequences/{method}/real", path, method, 0.5, real=True)
        if method != "asymptotic":
            yield cell(f"sequences/{method}/population", path, method, 0.5, real=False, population=True)
