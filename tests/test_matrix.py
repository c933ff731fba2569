"""Moments of matrix rows: the definition's corners, and that representation does not matter."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import signoise as sn
from signoise import _core as core


def moments(matrix: np.ndarray, there: np.ndarray | None = None) -> dict[str, np.ndarray]:
    bits = None if there is None else np.packbits(there.reshape(-1), bitorder="little")
    return core.matrix_moments([matrix], [bits])


def test_moments_of_a_row() -> None:
    found = moments(np.array([[1.0, 2.0, 4.0, 5.0]]))
    assert {name: value[0] for name, value in found.items()} == {
        "n": 4,
        "n_nan": 0,
        "mean": 3.0,
        "m2": 10.0,
        "min": 1.0,
        "max": 5.0,
    }


def test_no_usable_value_is_undefined() -> None:
    found = moments(np.array([[np.nan, 1.0], [np.nan, np.nan]]), np.array([[True, False], [False, False]]))
    assert found["n"].tolist() == [0, 0]
    assert found["n_nan"].tolist() == [1, 0]
    assert all(np.isnan(found[name]).all() for name in ("mean", "m2", "min", "max"))


def test_no_matrices_and_empty_ones() -> None:
    assert all(len(column) == 0 for column in core.matrix_moments([], []).values())
    found = core.matrix_moments([np.zeros((3, 0)), np.zeros((0, 3), dtype=np.float32)], [None, None])
    assert found["n"].tolist() == [0, 0, 0]
    nothing = np.array([], dtype=np.uintp)
    assert len(core.bit_matrix_counts([], [], nothing, nothing)["n"]) == 0


def test_a_large_shift_does_not_cost_the_variance() -> None:
    values = np.random.default_rng(1).normal(0.0, 1.0, (1, 10_001))
    shifted = moments(values + 1e8)
    assert shifted["m2"][0] / 1e4 == pytest.approx(np.var(values + 1e8, ddof=1), rel=1e-12)
    assert shifted["m2"][0] / 1e4 == pytest.approx(np.var(values, ddof=1), rel=1e-6)


def test_equal_values_have_no_spread() -> None:
    found = moments(np.full((1, 1000), 0.1))
    assert (found["mean"][0], found["m2"][0]) == (0.1, 0.0)


def test_single_precision_is_summed_in_double() -> None:
    values = np.random.default_rng(2).random((2, 5000), dtype=np.float32)
    single, double = moments(values), moments(values.astype(np.float64))
    assert all(single[name].tobytes() == double[name].tobytes() for name in single)


@given(st.integers(0, 2**32 - 1), st.integers(1, 80), st.sampled_from([0.0, 0.1, 0.9]))
def test_absent_values_leave_no_trace(seed: int, width: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    values, there = rng.normal(size=(3, width)), rng.random((3, width)) >= share
    values[rng.random(values.shape) < share / 2] = np.nan
    found = moments(values, there)
    garbage = moments(np.where(there, values, 1e300), there)
    for row in range(3):
        alone = moments(values[row][there[row] & ~np.isnan(values[row])][None])
        for name in ("n", "mean", "m2", "min", "max"):
            assert found[name][row].tobytes() == alone[name][0].tobytes() == garbage[name][row].tobytes()


@given(st.integers(0, 2**32 - 1), st.integers(0, 7), st.integers(0, 300))
def test_bits_at_any_start_are_counted(seed: int, rows: int, width: int) -> None:
    rng = np.random.default_rng(seed)
    values, there = rng.random((2, rows, width)) < 0.5
    packed = [np.packbits(cells.reshape(-1), bitorder="little") for cells in (values, there)]
    shape = [np.array([n], dtype=np.uintp) for n in (rows, width)]
    full = core.bit_matrix_counts([packed[0]], [None], *shape)
    assert full["n"].tolist() == [width] * rows
    assert full["ones"].tolist() == values.sum(axis=1).tolist()
    masked = core.bit_matrix_counts([packed[0]], [packed[1]], *shape)
    assert masked["n"].tolist() == there.sum(axis=1).tolist()
    assert masked["ones"].tolist() == (values & there).sum(axis=1).tolist()
    moments = core.bit_matrix_moments([packed[0]], [packed[1]], *shape)
    cells = core.matrix_moments([values.astype(float)], [packed[1]])
    assert moments["n"].tolist() == cells["n"].tolist()
    for name in ("mean", "min", "max"):
        np.testing.assert_allclose(moments[name], cells[name], rtol=1e-15)


def test_weighted_means() -> None:
    values, weights = np.array([[1.0, 3.0, np.nan]]), np.array([[1.0, 3.0, 100.0]], dtype=np.float32)
    found = core.matrix_weighted_means([values], [weights], [None])
    assert (found["mean"][0], found["weight"][0]) == (2.5, 4.0)
    none = core.matrix_weighted_means([values], [np.zeros((1, 3))], [None])
    assert np.isnan(none["mean"][0])


def test_shapes_that_do_not_fit_are_named() -> None:
    values = np.zeros((2, 9))
    with pytest.raises(sn.ShapeError, match="validity has 1 values, expected 3"):
        core.matrix_moments([values], [np.zeros(1, np.uint8)])
    with pytest.raises(sn.ShapeError, match="one a matrix"):
        core.matrix_moments([values], [])
    with pytest.raises(sn.ShapeError, match="contiguous"):
        core.matrix_moments([values[:, ::2]], [None])
    with pytest.raises(sn.ShapeError, match="weights has 9 values, expected 18"):
        core.matrix_weighted_means([values], [np.zeros((1, 9))], [None])
    three = np.array([3], dtype=np.uintp)
    with pytest.raises(sn.ShapeError, match="values has 1 values, expected 2"):
        core.bit_matrix_counts([np.zeros(1, np.uint8)], [None], three, three)


def test_columns_are_not_taken_for_rows():
    with pytest.raises(sn.ShapeError, match="ascontiguousarray"):
        core.matrix_moments([np.asfortranarray(np.arange(6.0).reshape(2, 3))], [None])
