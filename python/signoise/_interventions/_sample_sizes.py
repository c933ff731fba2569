"""Random subsets of instances, and the size from which a curve over sizes stays high enough.

Twin: reference/_sample_sizes.py.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .._addresses import SAMPLE_SIZES, random_subsets
from .._instance_cells import Cells
from .._kernels import kernels

Floats = NDArray[np.float64]

#: Subsets drawn in one go.
_BATCH = 50


def log_spaced(least: int, most: int, count: int) -> list[int]:
    """`count` sizes from `least` to `most`, even on a logarithmic scale, each once."""
    if most <= least:
        return [most]
    sizes = np.rint(np.geomspace(least, most, count)).astype(int).tolist() if count > 1 else [most]
    return sorted({*sizes[:-1], most})


def subset_counts(n: int, size: int, count: int, rng_seed: int, unit: int, *, replacement: bool) -> Floats:
    """How often each of n instances is in each subset, (count, n).

    Every size and batch of subsets has a stream of its own.
    """
    out = np.zeros((count, n))
    for block, start in enumerate(range(0, count, _BATCH)):
        rows = min(_BATCH, count - start)
        # Sizes are below 2^40, as instances fit into memory.
        replicate = (block << 40) + size
        if replacement:
            words = kernels().philox_uint64(rng_seed, SAMPLE_SIZES, replicate, unit, rows * size)
            place = (words.reshape(rows, size) >> np.uint64(11)).astype(float) * 2.0**-53 * n
            np.add.at(out, (start + np.arange(rows)[:, None], place.astype(np.intp)), 1.0)
        else:
            out[start : start + rows] = random_subsets(
                rng_seed, SAMPLE_SIZES, unit, n=n, size=size, count=rows, replicate=replicate
            )
    return out


def subset_scores(cells: Cells, counts: Floats) -> Floats:
    """Scores of every row of the cells on every subset (column)."""
    scores: Floats = ((cells.values * cells.weights) @ counts.T) / (cells.weights @ counts.T)
    scores[cells.logs] = np.exp(scores[cells.logs])
    return scores


def isotone(values: Floats) -> Floats:
    """The nearest rising curve by least squares: neighbours that fall are pooled."""
    pools: list[tuple[float, int]] = []
    for value in values.tolist():
        pools.append((value, 1))
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            (left, m), (right, n) = pools[-2:]
            pools[-2:] = [((left * m + right * n) / (m + n), m + n)]
    return np.concatenate([np.full(n, value) for value, n in pools])


def crossing(sizes: Sequence[int], values: Floats, level: float) -> int | None:
    """Smallest size at which a rising curve reaches a level, linear in the logarithm of the size.

    The first size where the curve is there already; None where it never gets there or is not known.
    """
    if not len(values) or np.isnan(values).any():
        return None
    curve = isotone(values)
    above = np.flatnonzero(curve >= level - 1e-12)
    if not len(above):
        return None
    at = int(above[0])
    if at == 0:
        return sizes[0]
    share = (level - curve[at - 1]) / (curve[at] - curve[at - 1])
    low, high = np.log(sizes[at - 1]), np.log(sizes[at])
    return min(int(np.ceil(np.exp(low + share * (high - low)) - 1e-9)), sizes[at])
