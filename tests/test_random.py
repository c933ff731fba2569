"""Addressed draws: NumPy's Philox is the oracle, equality is exact."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import signoise._core as core
from signoise import reference
from signoise.reference._random import Words

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


def lanes_of(address: list[int]) -> np.ndarray:
    """State words of the 16 lanes, from NumPy's Philox."""
    rng_seed, purpose, replicate, unit = address
    raw = numpy_raw([rng_seed, purpose], [0, unit, replicate, 0], 32)
    return raw.astype("<u8").view("<u4").reshape(4, 16)


def xoshiro128pp(s: list[int], n: int) -> list[int]:
    """One lane in plain integers."""

    def rotl(x: int, k: int) -> int:
        return (x << k | x >> (32 - k)) % 2**32

    out: list[int] = []
    for _ in range(n):
        out.append((rotl((s[0] + s[3]) % 2**32, 7) + s[0]) % 2**32)
        t = (s[1] << 9) % 2**32
        s[2] ^= s[0]
        s[3] ^= s[1]
        s[1] ^= s[2]
        s[0] ^= s[3]
        s[2] ^= t
        s[3] = rotl(s[3], 11)
    return out


@given(words, words, words, words, st.integers(0, 100))
def test_wide_words_are_sixteen_generators_side_by_side(
    rng_seed: int, purpose: int, replicate: int, unit: int, n: int
) -> None:
    address = [rng_seed, purpose, replicate, unit]
    lanes = lanes_of(address)
    expected = np.array([xoshiro128pp(lanes[:, lane].tolist(), 7) for lane in range(16)]).T.reshape(-1)[:n]
    found = core.wide_uint32(*address, n)
    assert found.dtype == np.uint32
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(reference.wide_uint32(*address, n), expected)


@pytest.mark.parametrize("changed", range(4))
def test_every_part_of_a_wide_address_matters(changed: int) -> None:
    address = [1, 2, 3, 4]
    other = address.copy()
    other[changed] += 1
    one, two = core.wide_uint32(*address, 100_000), core.wide_uint32(*other, 100_000)
    assert abs(int((one == two).sum())) <= 2
    ones = np.bitwise_count(one ^ two).sum() / (32 * 100_000)
    assert ones == pytest.approx(0.5, abs=4 * 0.5 / np.sqrt(32 * 100_000))


def test_wide_bits_are_fair_and_independent() -> None:
    n = 1 << 20
    found = core.wide_uint32(5, 0, 0, 0, n)
    bits = np.unpackbits(found.view(np.uint8), bitorder="little").reshape(n, 32)
    assert np.abs(bits.mean(axis=0) - 0.5).max() < 5 * 0.5 / np.sqrt(n)
    uniform = found / 2.0**32
    for lag in (1, 2, 15, 16, 17, 32):
        assert abs(np.corrcoef(uniform[lag:], uniform[:-lag])[0, 1]) < 5 / np.sqrt(n)
    assert stats.kstest(uniform, "uniform").pvalue > 1e-3
    # Serial pairs and bytes.
    cells = np.bincount((found[::2] >> 27) * 32 + (found[1::2] >> 27), minlength=1024)
    assert stats.chisquare(cells).pvalue > 1e-3
    assert stats.chisquare(np.bincount(found.view(np.uint8), minlength=256)).pvalue > 1e-3


def test_first_words_of_neighbouring_replicates_look_random() -> None:
    first = np.array([core.wide_uint32(1, 2, replicate, 3, 16) for replicate in range(4000)])
    assert stats.chisquare(np.bincount(first.reshape(-1) >> 24, minlength=256)).pvalue > 1e-3
    correlations = np.corrcoef(first.T / 2.0**32)[np.triu_indices(16, 1)]
    assert np.abs(correlations).max() < 5 / np.sqrt(4000)


@pytest.mark.parametrize("n", [1, 3, 10, 1000, 3 << 30])
def test_wide_integers_are_uniform(n: int) -> None:
    draw = Words(5, 0, 0, n)
    draws = np.array([draw.below(n) for _ in range(20_000)])
    assert draws.min() >= 0
    assert draws.max() < n
    counts = np.bincount((draws * min(n, 1000) // n).astype(int), minlength=min(n, 1000))
    assert len(counts) == 1 or stats.chisquare(counts).pvalue > 1e-3
