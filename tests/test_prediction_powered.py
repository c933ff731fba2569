"""Prediction-powered inference: the formulas written out, known special cases, and simulated coverage."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from signoise import _mean_intervals as mi
from signoise._errors import OptionError, ShapeError
from signoise._prediction_powered import PredictionPowered, prediction_powered_mean


def offsets(*sizes: int) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.uintp)


def one(y: np.ndarray, f: np.ndarray, rest: np.ndarray, **options: float) -> PredictionPowered:
    return prediction_powered_mean(y, f, offsets(len(y)), rest, offsets(len(rest)), **options)


def judged(
    rng: np.random.Generator, shape: tuple[int, ...], accuracy: float
) -> tuple[np.ndarray, np.ndarray]:
    """0/1 labels with mean .3 and a judge that is right this often and too kind by 5 points."""
    y = (rng.random(shape) < 0.3).astype(float)
    f = np.where(rng.random(shape) < accuracy, y, 1 - y)
    return y, np.maximum(f, rng.random(shape) < 0.05)


def test_formulas_written_out() -> None:
    rng = np.random.default_rng(0)
    y, f = judged(rng, (80,), 0.85)
    _, rest = judged(rng, (500,), 0.85)
    found = one(y, f, rest)
    weight = np.cov(y, f)[0, 1] / ((1 + 80 / 500) * np.var(np.concatenate([f, rest]), ddof=1))
    assert found.weight[0] == pytest.approx(weight, rel=1e-12)
    value = y.mean() + weight * (rest.mean() - f.mean())
    assert found.estimate.value[0] == pytest.approx(value, rel=1e-12)
    variance = np.var(y - weight * f, ddof=1) / 80 + weight**2 * np.var(rest, ddof=1) / 500
    assert found.estimate.stderr[0] == pytest.approx(np.sqrt(variance), rel=1e-12)
    assert found.labels_alone.stderr[0] == pytest.approx(stats.sem(y), rel=1e-12)
    assert found.estimate.design_effect[0] == pytest.approx(variance / stats.sem(y) ** 2, rel=1e-12)
    assert found.estimate.design_effect[0] < 1


def test_weights_of_nothing_and_of_full_trust() -> None:
    rng = np.random.default_rng(1)
    y, f = judged(rng, (50,), 0.8)
    _, rest = judged(rng, (200,), 0.8)
    ignored = one(y, f, rest, weight=0.0)
    assert ignored.estimate.value[0] == pytest.approx(y.mean())
    assert ignored.estimate.stderr[0] == pytest.approx(stats.sem(y))
    assert ignored.estimate.df[0] == pytest.approx(49)
    trusted = one(y, f, rest, weight=1.0)
    expected = stats.ttest_ind(rest, -(y - f), equal_var=False)
    assert trusted.estimate.value[0] == pytest.approx(rest.mean() + (y - f).mean())
    assert mi.p_value(trusted.estimate)[0] == pytest.approx(expected.pvalue, rel=1e-8)


@given(st.integers(0, 2**32), st.floats(-3, 3))
def test_a_judges_constant_bias_changes_nothing(seed: int, bias: float) -> None:
    rng = np.random.default_rng(seed)
    y, f = judged(rng, (30,), 0.8)
    _, rest = judged(rng, (60,), 0.8)
    plain, biased = one(y, f, rest), one(y, f + bias, rest + bias)
    np.testing.assert_allclose(biased.estimate.value, plain.estimate.value, atol=1e-10)
    np.testing.assert_allclose(biased.estimate.stderr, plain.estimate.stderr, atol=1e-10)


def test_useless_judges_are_ignored() -> None:
    rng = np.random.default_rng(2)
    y, f = judged(rng, (40,), 0.8)
    constant = one(y, np.full(40, 0.5), np.full(99, 0.5))
    assert constant.weight[0] == 0
    assert constant.estimate.value[0] == pytest.approx(y.mean())
    contrary = one(y, 1 - f, 1 - judged(rng, (99,), 0.8)[1])
    assert contrary.weight[0] == 0


def test_undefined_groups_and_wrong_shapes() -> None:
    found = prediction_powered_mean(
        np.array([1.0, 0, 1, 1, np.nan]),
        np.array([1.0, 0, 1, 1, 1]),
        offsets(2, 1, 2),
        np.array([1.0, 0, 0, 1, 1, 0]),
        offsets(2, 2, 2),
    )
    assert np.isfinite(found.estimate.value[0])
    assert np.isnan(found.estimate.value[1:]).all()
    assert np.isnan(found.estimate.stderr[1:]).all()
    with pytest.raises(ShapeError, match="labels has 2 values and predictions 1"):
        prediction_powered_mean(np.zeros(2), np.zeros(1), offsets(2), np.zeros(1), offsets(1))
    with pytest.raises(ShapeError, match="same groups"):
        prediction_powered_mean(np.zeros(2), np.zeros(2), offsets(2), np.zeros(2), offsets(1, 1))
    with pytest.raises(OptionError, match="between 0 and 1"):
        one(np.zeros(2), np.zeros(2), np.zeros(2), weight=1.5)


@pytest.mark.parametrize(("labelled", "accuracy"), [(100, 0.9), (100, 0.6), (400, 0.8)])
def test_coverage_of_a_mean(labelled: int, accuracy: float) -> None:
    rng = np.random.default_rng(3)
    groups = 4000
    y, f = judged(rng, (groups, labelled), accuracy)
    _, rest = judged(rng, (groups, 1000), accuracy)
    found = prediction_powered_mean(
        y.ravel(), f.ravel(), offsets(*[labelled] * groups), rest.ravel(), offsets(*[1000] * groups)
    )
    low, high = mi.interval(found.estimate, 0.95)
    assert 0.935 <= np.mean((low <= 0.3) & (high >= 0.3)) <= 0.962
    # never wider than the labels alone but for chance
    assert np.mean(found.estimate.design_effect) < (0.7 if accuracy >= 0.9 else 1.01)


def test_coverage_of_a_paired_difference() -> None:
    rng = np.random.default_rng(4)
    groups, n, more = 3000, 150, 800
    sides = []
    for p in (0.5, 0.6):
        skill = rng.random((groups, n + more)) < p
        sides.append(
            (skill.astype(float), np.where(rng.random(skill.shape) < 0.85, skill, ~skill).astype(float))
        )
    labels, predictions = (sides[0][i] - sides[1][i] for i in (0, 1))
    found = prediction_powered_mean(
        np.ascontiguousarray(labels[:, :n]).ravel(),
        np.ascontiguousarray(predictions[:, :n]).ravel(),
        offsets(*[n] * groups),
        np.ascontiguousarray(predictions[:, n:]).ravel(),
        offsets(*[more] * groups),
    )
    low, high = mi.interval(found.estimate, 0.95)
    assert 0.937 <= np.mean((low <= -0.1) & (high >= -0.1)) <= 0.962
    assert np.mean(found.estimate.design_effect) < 0.8
