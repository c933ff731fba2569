"""One registry of kernels: how to make an input for each, and how closely it must agree with its twin.

Read by ``test_twins.py``, ``test_invariance.py`` and ``benches/bench_kernels.py``. A case's name is the name of the
function in ``signoise._core`` and in ``signoise.reference``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Arguments = tuple[Any, ...]


@dataclass(frozen=True)
class Case:
    """A kernel, an input maker and a tolerance; ``rtol=0`` means that every bit must agree."""

    name: str
    make: Callable[[np.random.Generator, int], Arguments]
    """From a generator and a size (number of groups) to positional arguments."""
    options: dict[str, Any] = field(default_factory=dict)
    rtol: float = 1e-12
    atol: float = 1e-15

    def __str__(self) -> str:
        settings = ",".join(f"{key}={value}" for key, value in self.options.items())
        return f"{self.name}({settings})"


def offsets_of(lengths: Any) -> np.ndarray:
    """Offsets of consecutive segments with these lengths."""
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.uintp)


def ragged(rng: np.random.Generator, groups: int, longest: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Scores on a coarse grid (so that ties occur) in segments of length 0 to ``longest``."""
    lengths = rng.integers(0, longest + 1, groups)
    values = np.round(rng.normal(0.5, 0.1, int(lengths.sum())), 2)
    return values, offsets_of(lengths)


CASES: list[Case] = [
    Case("trailing_mean", lambda rng, n: (*ragged(rng, n), 5)),
    Case("trailing_ema", lambda rng, n: (*ragged(rng, n), 5)),
]
