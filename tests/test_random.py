"""Addressed draws: NumPy's Philox is the oracle, equality is exact."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import signoise._core as core
from signoise import reference

words = st.integers(0, 2**64 - 1)


def numpy_raw(key: list[int], counter: list[int], n: int) -> np.ndarray:
    return np.random.Philox(
        key=np.array(key, dtype=np.uint64), counter=np.array(counter, dtype=np.uint64)
    ).random_raw(n)


@given(words, words, words, words, st.integers(0, 70))
def test_equals_numpys_philox(rng_seed: int, purpose: int, replicate: int, unit: int, n: int) -> None:
    found = core.philox_uint64(rng_seed, purpose, replicate, unit, n)
    assert found.dtype == np.uint64
    np.testing.assert_array_equal(found, numpy_raw([rng_seed, purpose], [0, unit, replicate, 0], n))
    np.testing.assert_array_equal(found, reference.philox_uint64(rng_seed, purpose, replicate, unit, n))


def test_known_answer_of_random123() -> None:
    # The published block of counter 0 and key 0 is the one that NumPy reaches from the counter before 0.
    published = [0x16554D9ECA36314C, 0xDB20FE9D672D0FDC, 0xD7E772CEE186176B, 0x7E68B68AEC7BA23B]
    last = 2**64 - 1
    assert numpy_raw([0, 0], [last] * 4, 4).tolist() == published
    assert core.philox_uint64(0, 0, 0, 0, 4).tolist() != published


def test_a_longer_stream_starts_with_the_shorter_one() -> None:
    longer = core.philox_uint64(3, 1, 4, 1, 40_001)  # more than one part of the work
    np.testing.assert_array_equal(longer, numpy_raw([3, 1], [0, 1, 4, 0], 40_001))
    np.testing.assert_array_equal(longer[:7], core.philox_uint64(3, 1, 4, 1, 7))


@pytest.mark.parametrize("changed", range(4))
def test_every_part_of_the_address_matters(changed: int) -> None:
    address = [1, 2, 3, 4]
    other = address.copy()
    other[changed] += 1
    assert not set(core.philox_uint64(*address, 100)) & set(core.philox_uint64(*other, 100))


def test_words_are_unsigned() -> None:
    assert list(inspect.signature(core.philox_uint64).parameters)[:4] == [
        "rng_seed",
        "purpose",
        "replicate",
        "unit",
    ]
    with pytest.raises(OverflowError):
        core.philox_uint64(-1, 0, 0, 0, 1)


@pytest.mark.parametrize("n", [1, 3, 10, 1000])
def test_bounded_integers_are_uniform(n: int) -> None:
    from signoise.reference._random import below

    draws = [below(output, n) for output in core.philox_uint64(5, 0, 0, 0, 20_000)]
    counts = np.bincount(draws, minlength=n)
    assert len(counts) == n
    chi_square = float(((counts - 20_000 / n) ** 2 / (20_000 / n)).sum())
    assert abs(chi_square - (n - 1)) <= 4 * np.sqrt(2 * max(n - 1, 1))
