"""Twin of ``rust/core/src/matrix.rs``: moments of the rows of dense matrices, and counts over rows of bits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._moments import moments_of
from ._segments import Floats, check_length

Matrix = NDArray[np.float64] | NDArray[np.float32]
Bits = NDArray[np.uint8]
"""Row-major bits without padding between rows, the first one in the lowest bit of byte 0."""


def unpacked(bits: Bits | None, rows: int, width: int, *, absent: bool = True) -> NDArray[np.bool_]:
    if bits is None:
        return np.full((rows, width), absent)
    check_length("bits", min(8 * len(bits), rows * width), rows * width)
    return np.unpackbits(bits, count=rows * width, bitorder="little").reshape(rows, width).astype(bool)


def matrix_moments(
    matrices: Sequence[Matrix], validity: Sequence[Bits | None], *, threads: int | None = None
) -> dict[str, NDArray[Any]]:
    """Count, NaN count, mean, sum of squared deviations, smallest and largest value of each row."""
    del threads
    check_length("validity", len(validity), len(matrices))
    counts: list[tuple[int, int]] = []
    rows: list[tuple[float, ...]] = []
    for matrix, bits in zip(matrices, validity, strict=True):
        for values, there in zip(matrix.astype(np.float64), unpacked(bits, *matrix.shape), strict=True):
            nan = there & np.isnan(values)
            n, *moments = moments_of(values[there & ~nan])
            counts.append((n, int(nan.sum())))
            rows.append(tuple(moments))
    integers = np.array(counts, dtype=np.uint64).reshape(-1, 2)
    floats = np.array(rows, dtype=float).reshape(-1, 4)
    return {
        "n": integers[:, 0],
        "n_nan": integers[:, 1],
        **{name: floats[:, i] for i, name in enumerate(("mean", "m2", "min", "max"))},
    }


def matrix_weighted_means(
    matrices: Sequence[Matrix],
    weights: Sequence[Matrix],
    validity: Sequence[Bits | None],
    *,
    threads: int | None = None,
) -> dict[str, Floats]:
    """sum(weight * value) / sum(weight) and sum(weight) of each row."""
    del threads
    check_length("weights", len(weights), len(matrices))
    check_length("validity", len(validity), len(matrices))
    rows: list[tuple[float, float]] = []
    for matrix, weight, bits in zip(matrices, weights, validity, strict=True):
        for x, w, there in zip(matrix, weight, unpacked(bits, *matrix.shape), strict=True):
            usable = there & ~np.isnan(x)
            x, w = x[usable].astype(np.float64), w[usable].astype(np.float64)  # noqa: PLW2901 (the definition's letters)
            total = float(np.sum(w))
            rows.append((float(np.sum(w * x)) / total if total != 0 else np.nan, total))
    table = np.array(rows, dtype=float).reshape(-1, 2)
    return {"mean": table[:, 0], "weight": table[:, 1]}


def bit_matrix_counts(
    matrices: Sequence[Bits],
    validity: Sequence[Bits | None],
    rows: NDArray[np.uintp],
    widths: NDArray[np.uintp],
    *,
    threads: int | None = None,
) -> dict[str, NDArray[np.uint64]]:
    """Cells that are there and ones among them, of each row of bit matrices."""
    del threads
    for name, given in (("validity", validity), ("rows", rows), ("widths", widths)):
        check_length(name, len(given), len(matrices))
    n: list[int] = []
    ones: list[int] = []
    for values, bits, height, width in zip(matrices, validity, rows.tolist(), widths.tolist(), strict=True):
        there = unpacked(bits, height, width)
        n += there.sum(axis=1).tolist()
        ones += (there & unpacked(values, height, width)).sum(axis=1).tolist()
    return {"n": np.array(n, dtype=np.uint64), "ones": np.array(ones, dtype=np.uint64)}


def bit_matrix_moments(
    matrices: Sequence[Bits],
    validity: Sequence[Bits | None],
    rows: NDArray[np.uintp],
    widths: NDArray[np.uintp],
    *,
    threads: int | None = None,
) -> dict[str, NDArray[Any]]:
    """Cells that are there, their mean, variance, smallest and largest value, of each row of bit matrices."""
    del threads
    for name, given in (("validity", validity), ("rows", rows), ("widths", widths)):
        check_length(name, len(given), len(matrices))
    found: list[tuple[float, ...]] = []
    for values, bits, height, width in zip(matrices, validity, rows.tolist(), widths.tolist(), strict=True):
        there = unpacked(bits, height, width)
        for row, usable in zip(unpacked(values, height, width), there, strict=True):
            n, mean, m2, low, high = moments_of(row[usable].astype(np.float64))
            found.append((n, mean, m2 / (n - 1) if n > 1 else np.nan, low, high))
    table = np.array(found, dtype=float).reshape(-1, 5)
    names = ("mean", "variance", "min", "max")
    return {
        "n": table[:, 0].astype(np.uint64),
        **{name: table[:, 1 + i] for i, name in enumerate(names)},
    }
