"""Twin of ``_interventions/_sample_sizes.py``: subsets one by one, and a rising curve by its definition."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np

from ._random import philox_uint64
from ._segments import Floats


def subset_of(n: int, size: int, row: int, rows: int, rng_seed: int, purpose: int, unit: int) -> list[int]:
    """The row-th of so many subsets of a size: instances with the smallest random numbers, without replacement."""
    batch = 50
    block, place = divmod(row, batch)
    in_block = min(batch, rows - block * batch)
    words = philox_uint64(rng_seed, purpose, (block << 40) + size, unit, in_block * n)
    own = words[place * n : (place + 1) * n].tolist()
    return sorted(sorted(range(n), key=lambda instance: own[instance])[:size])


def kept_share(small: Floats, target: Floats, subsets: list[list[int]]) -> float:
    """Share of the decision accuracy of all instances above one half that subsets keep on average.

    ``small`` and ``target`` are scores (n_members, n_instances).
    """

    def decisions(instances: list[int]) -> float:
        a, b = ([sum(row[i] for i in instances) / len(instances) for row in x] for x in (small, target))
        pairs = combinations(range(len(a)), 2)
        return float(np.mean([(1 + np.sign((a[i] - a[j]) * (b[i] - b[j]))) / 2 for i, j in pairs]))

    on_subsets = [decisions(instances) for instances in subsets]
    return (sum(on_subsets) / len(on_subsets) - 0.5) / (decisions(list(range(small.shape[1]))) - 0.5)


def isotone(values: Floats) -> Floats:
    """The nearest rising curve: the largest over starts of the smallest over ends of the means between them."""
    n = len(values)
    return np.array(
        [
            max(min(float(np.mean(values[s : e + 1])) for e in range(at, n)) for s in range(at + 1))
            for at in range(n)
        ]
    )


def crossing(sizes: list[int], values: Floats, level: float) -> int | None:
    """The first whole size at which the rising curve, linear in log size, is at the level; None if it never is."""
    curve = isotone(values)
    for size in range(sizes[0], sizes[-1] + 1):
        if np.interp(math.log(size), np.log(sizes), curve) >= level - 1e-9:
            return size
    return None
