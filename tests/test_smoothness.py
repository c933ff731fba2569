"""Smoothness: hand-made series, brute-force permutations, SciPy and published checkpoints."""

from __future__ import annotations

import json
import math
import os
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import signoise._core as core
from signoise import reference

SHARED = Path(os.environ.get("SIGNOISE_SHARED", Path(__file__).parents[1] / ".." / "shared"))
STATISTICS = (
    "monotonicity_sign",
    "monotonicity_tau",
    "monotonicity_p",
    "total_variation",
    "total_variation_normalised",
    "total_variation_improvement",
    "improvement",
)


def kernel(x: Any) -> dict[str, float]:
    values = np.asarray(x, dtype=np.float64)
    found = core.smoothness_groups(values, np.array([0, len(values)], dtype=np.uintp))
    return {name: column[0].item() for name, column in found.items()}


def twin(x: Any) -> dict[str, float]:
    values = np.asarray(x, dtype=np.float64)
    found = reference.smoothness_groups(values, np.array([0, len(values)], dtype=np.uintp))
    return {name: column[0].item() for name, column in found.items()}


both = pytest.mark.parametrize("compute", [kernel, twin])
tied = st.lists(st.integers(0, 3).map(float), min_size=2, max_size=7)
distinct = st.lists(st.integers(0, 10_000).map(float), min_size=2, max_size=50, unique=True)
varied = st.lists(st.integers(0, 64).map(float), min_size=2, max_size=70).filter(lambda x: len(set(x)) > 1)


def brute_force_p(x: list[float]) -> float:
    """Share of all n! orders that lie at least as far out."""

    def score(y: tuple[float, ...]) -> float:
        return sum(np.sign(later - y[i]) for i in range(len(y)) for later in y[i + 1 :])

    observed = abs(score(tuple(x)))
    orders = [abs(score(order)) >= observed for order in permutations(x)]
    return sum(orders) / len(orders)


@both
def test_a_short_series_by_hand(compute: Any) -> None:
    assert compute([1, 3, 2, 5]) == {
        "n": 4,
        "monotonicity_sign": pytest.approx(1 / 3),
        "monotonicity_tau": pytest.approx(4 / 6),
        "monotonicity_p": pytest.approx(8 / 24),
        "total_variation": 2.0,
        "total_variation_normalised": 0.5,
        "total_variation_improvement": -0.5,
        "improvement": 1.0,
    }


@both
@given(x=tied.filter(lambda x: len(set(x)) > 1 and len(x) < 7))
def test_p_is_the_share_of_permutations(compute: Any, x: list[float]) -> None:
    assert compute(x)["monotonicity_p"] == pytest.approx(brute_force_p(x), rel=1e-13)


@both
@pytest.mark.parametrize(
    "x",
    [
        [1, 2, 3, 4, 5, 6, 7],
        [2, 1, 3, 4, 6, 5, 7],
        [1, 1, 2, 2, 3, 3, 3],
        [3, 1, 2, 2, 3, 1, 1],
        [0, 0, 0, 0, 0, 0, 1],
        [2, 1, 1, 2, 1, 2, 1],
    ],
)
def test_p_is_the_share_of_permutations_of_seven(compute: Any, x: list[float]) -> None:
    assert compute(x)["monotonicity_p"] == pytest.approx(brute_force_p(x), rel=1e-13)


@both
@given(x=distinct)
def test_exact_p_without_ties_is_scipys(compute: Any, x: list[float]) -> None:
    expected = stats.kendalltau(np.arange(len(x)), x, method="exact")
    found = compute(x)
    assert found["monotonicity_tau"] == pytest.approx(expected.statistic, rel=1e-12, abs=1e-15)
    assert found["monotonicity_p"] == pytest.approx(expected.pvalue, rel=1e-10)


@both
@pytest.mark.parametrize("seed", range(6))
def test_long_series_use_the_normal_approximation(compute: Any, seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = [51, 60, 100, 143, 200, 300][seed]
    x = np.round(rng.normal(size=n) + np.linspace(0, seed / 2, n), 1 if seed % 2 else 6)
    expected = stats.kendalltau(np.arange(n), x, method="asymptotic")
    found = compute(x)
    assert found["monotonicity_tau"] == pytest.approx(expected.statistic, rel=1e-12)
    assert found["monotonicity_p"] == pytest.approx(expected.pvalue, rel=1e-9)


@both
@given(x=varied)
def test_tau_b_is_scipys(compute: Any, x: list[float]) -> None:
    expected = stats.kendalltau(np.arange(len(x)), x).statistic
    assert compute(x)["monotonicity_tau"] == pytest.approx(expected, rel=1e-12, abs=1e-14)


def test_the_tail_keeps_its_relative_precision() -> None:
    assert kernel(range(50))["monotonicity_p"] == pytest.approx(2 / math.factorial(50), rel=1e-12)
    # Two values: the arrangements of 20 zeros and 30 ones, of which 2 are sorted.
    assert kernel([0] * 20 + [1] * 30)["monotonicity_p"] == pytest.approx(2 / math.comb(50, 20), rel=1e-12)


def test_exact_and_normal_meet_at_the_limit() -> None:
    rng = np.random.default_rng(11)
    for _ in range(20):
        x = np.round(rng.normal(size=50), 1)
        approximate = stats.kendalltau(np.arange(50), x, method="asymptotic").pvalue
        assert kernel(x)["monotonicity_p"] == pytest.approx(approximate, abs=0.02)


@both
@given(x=varied)
def test_reversing_turns_the_signs(compute: Any, x: list[float]) -> None:
    forward, backward = compute(x), compute(x[::-1])
    for name in ("monotonicity_sign", "monotonicity_tau", "improvement"):
        assert backward[name] == pytest.approx(-forward[name], rel=1e-12, abs=1e-15)
    for name in ("monotonicity_p", "total_variation", "total_variation_normalised"):
        assert backward[name] == pytest.approx(forward[name], rel=1e-12)


@both
@given(x=varied, scale=st.sampled_from([0.5, 4.0]), shift=st.sampled_from([-8.0, 0.25]))
def test_shift_and_scale(compute: Any, x: list[float], scale: float, shift: float) -> None:
    before, after = compute(x), compute([scale * value + shift for value in x])
    for name in STATISTICS:
        factor = scale if name in {"total_variation", "improvement"} else 1.0
        if name != "total_variation_improvement":
            assert after[name] == pytest.approx(factor * before[name], rel=1e-12, abs=1e-15), name


@both
@given(x=varied)
def test_bounds(compute: Any, x: list[float]) -> None:
    found = compute(x)
    assert found["n"] == len(x)
    assert abs(found["monotonicity_sign"]) <= 1
    assert abs(found["monotonicity_tau"]) <= 1 + 1e-15
    assert 0 < found["monotonicity_p"] <= 1
    assert 1 / (len(x) - 1) <= found["total_variation_normalised"] * (1 + 1e-12)


@both
@pytest.mark.parametrize("x", [[], [0.5], [0.5, math.nan, 0.6]])
def test_too_few_values(compute: Any, x: list[float]) -> None:
    found = compute(x)
    assert found["n"] == len(x)
    assert all(math.isnan(found[name]) for name in STATISTICS)


@both
@pytest.mark.parametrize("n", [2, 50, 51])
def test_constant_series(compute: Any, n: int) -> None:
    found = compute([0.1] * n)
    assert found["total_variation"] == found["improvement"] == 0
    undefined = set(STATISTICS) - {"total_variation", "improvement"}
    assert all(math.isnan(found[name]) for name in undefined)


@both
def test_no_direction_is_zero_not_undefined(compute: Any) -> None:
    found = compute([0.0, 1.0, 0.0])
    assert found["monotonicity_sign"] == found["monotonicity_tau"] == found["improvement"] == 0
    assert found["monotonicity_p"] == 1


@both
def test_infinite_scores_keep_their_order(compute: Any) -> None:
    found = compute([1.0, 2.0, math.inf])
    assert found["monotonicity_tau"] == pytest.approx(1)
    assert found["monotonicity_p"] == pytest.approx(2 / 6)
    assert math.isnan(found["total_variation"])


def test_counts_are_integers() -> None:
    found = core.smoothness_groups(np.ones(3), np.array([0, 1, 3], dtype=np.uintp))
    assert found["n"].dtype == np.uint64
    assert found["n"].tolist() == [1, 2]


@both
def test_published_checkpoints(compute: Any) -> None:
    path = SHARED / "oracles" / "pythia_v1_late_checkpoints.json"
    if not path.exists():
        pytest.skip(f"{path} is absent")
    names = {
        "tv": "total_variation",
        "tv_norm": "total_variation_normalised",
        "tv_norm_improvement": "total_variation_improvement",
        "improvement": "improvement",
        "monotonicity_sign": "monotonicity_sign",
        "monotonicity_kendall": "monotonicity_tau",
    }
    rows = json.loads(path.read_text())["results"]
    checked = 0
    for key, row in rows.items():
        found = compute(row["values"])
        for theirs, ours in names.items():
            expected = row[theirs]
            if expected is None or (theirs == "monotonicity_sign" and len(set(row["values"])) == 1):
                assert math.isnan(found[ours]), (key, theirs)  # the reference gives a constant series sign 0
            else:
                assert found[ours] == pytest.approx(expected, rel=1e-9, abs=1e-9), (key, theirs)
                checked += 1
    assert checked > 5 * len(rows)
