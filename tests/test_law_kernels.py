"""Kernels of laws: derivatives against differences, fits against SciPy, planted parameters found again."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import least_squares, minimize

import signoise._core as core
from bench_modules import bench_module
from signoise._errors import OptionError, ShapeError
from signoise._laws._fit import fit_groups, inner, outer, settings_of
from signoise._laws._law import Law, registry
from signoise._laws._points import Points

LAWS = sorted(registry())
DESIGNS = bench_module("law_designs")
#: Laws whose parameters stand for each other.
UNIDENTIFIED = ("ladder_single_step_flops", "farseer", "ladder_single_step")


def planted(law: Law, seed: int, noise: float = 0.0) -> tuple[Points, np.ndarray]:
    """Points of a law with parameters near those of the literature; `noise` is in errors of its design."""
    problem, inputs, truth = DESIGNS.planted_inputs(law.name, seed, noise)
    n = len(problem.y)
    run = inputs.pop("run", np.arange(n))
    points = Points((), inputs, problem.variables, problem.y, run, np.zeros(n, dtype=np.int64))
    return points, np.array([truth[name] for name in law.names])


def test_every_law_is_planted() -> None:
    assert sorted(DESIGNS.DESIGNS) == LAWS


@pytest.mark.parametrize("name", LAWS)
def test_gradient_equals_differences(name: str) -> None:
    law = registry()[name]
    points, truth = planted(law, 1)
    data = law.program.data(points.variables, points.n)
    at = inner(law, truth[None])
    found = core.law_derivatives(law.program.steps, data, at)[0]
    for index in range(at.shape[1]):
        step = 1e-6 * max(1.0, abs(at[0, index]))
        two = np.repeat(at, 2, axis=0)
        two[:, index] += [-step, step]
        low, high = core.law_values(law.program.steps, data, two)
        scale = np.abs(found[:, index]).max() + 1e-12
        np.testing.assert_allclose(found[:, index], (high - low) / (2 * step), rtol=2e-5, atol=2e-6 * scale)


@pytest.mark.parametrize("name", LAWS)
def test_noise_free_scores_are_met(name: str) -> None:
    law = registry()[name]
    points, truth = planted(law, 2)
    (fit,) = fit_groups(law, [points], settings_of(law, "lsq_log", None))
    assert fit.found
    assert np.sqrt(fit.objective / points.n) < 1e-5
    if name not in UNIDENTIFIED:
        np.testing.assert_allclose(fit.estimates, truth, rtol=0.02)


def scipy_best(law: Law, points: Points, log: bool, delta: float | None) -> float:
    """The lowest sum that SciPy reaches from the same starts."""
    data = law.program.data(points.variables, points.n)
    observed = np.log(points.y) if log else points.y
    lower, upper = law.inner_bounds

    def residuals(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        value = core.law_values(law.program.steps, data, x[None])[0]
        slopes = core.law_derivatives(law.program.steps, data, x[None])[0]
        with np.errstate(all="ignore"):
            return (np.log(value) - observed, slopes / value[:, None]) if log else (value - observed, slopes)

    def huber(x: np.ndarray) -> tuple[float, np.ndarray]:
        r, slopes = residuals(x)
        held = np.clip(r, -delta, delta)
        return float(np.sum(held * (r - 0.5 * held))), slopes.T @ held

    best = np.inf
    for start in inner(law, law.start_grid(points.variables, points.y)):
        begin = np.clip(start, lower, upper)
        try:
            if delta is None:
                inside = np.clip(begin, lower + 1e-9, upper - 1e-9)
                end = least_squares(
                    lambda x: residuals(x)[0],
                    inside,
                    lambda x: residuals(x)[1],
                    bounds=(lower, upper),
                    x_scale="jac",
                )
                best = min(best, 2 * end.cost)
            else:
                end = minimize(
                    huber, begin, jac=True, bounds=list(zip(lower, upper, strict=True)), method="L-BFGS-B"
                )
                best = min(best, end.fun)
        except ValueError:  # a start outside the domain
            continue
    return best


@pytest.mark.parametrize("objective", ["lsq_log", "huber_log"])
@pytest.mark.parametrize(
    "name", ["power_law", "ladder_loss_flops", "overtraining", "ladder_sigmoid", "loss_to_error"]
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_no_worse_than_scipy(name: str, objective: str) -> None:
    law = registry()[name]
    log = objective.endswith("_log")
    # One problem a law: benches/study_laws.py has hundreds.
    points, _ = planted(law, 0, noise=2.0)
    (fit,) = fit_groups(law, [points], settings_of(law, objective, 1e-3))
    best = scipy_best(law, points, log, None if objective == "lsq_log" else 1e-3)
    assert fit.objective <= best * (1 + 1e-8)


@given(st.integers(0, 2**32 - 1), st.sampled_from(["huber", "square", "absolute"]))
@settings(max_examples=20, deadline=None)
def test_order_of_points_and_weights_as_repeats(seed: int, loss: str) -> None:
    """A point of weight 2 counts as two; the order of points moves the sum by rounding alone."""
    rng = np.random.default_rng(seed)
    law = registry()["power_law"]
    x = np.repeat(np.geomspace(1e8, 3e9, 5), 5) * np.tile([5.0, 10.0, 20.0, 50.0, 100.0], 5)
    y = (0.5 + 300 * x**-0.25) * np.exp(0.05 * rng.standard_normal(25))
    data = law.program.data({"x": x}, 25)
    weights = rng.integers(0, 3, 25).astype(float)
    weights[:4] = 1.0
    rows = np.repeat(np.arange(25), weights.astype(int))
    order = rng.permutation(len(rows))
    starts = inner(law, law.start_grid({"x": x}, y))
    lower, upper = law.inner_bounds

    def fit(rows: np.ndarray, weights: np.ndarray) -> float:
        found = core.fit_laws(
            law.program.steps,
            np.ascontiguousarray(data[:, rows]),
            y[rows],
            weights,
            np.array([0, len(rows)], dtype=np.uintp),
            starts,
            np.array([0, len(starts)], dtype=np.uintp),
            lower,
            upper,
            law.program.linear,
            loss=loss,
            log=True,
        )
        return float(found["objective"][0])

    once = fit(np.arange(25), weights)
    assert fit(rows[order], np.ones(len(rows))) == pytest.approx(once, rel=1e-6)


def test_bounds_hold_and_fix() -> None:
    law = registry()["chinchilla"].with_bounds({"alpha": (0.4, None), "E": (1.7, 1.7)})
    points, _ = planted(law, 3, noise=1.0)
    (fit,) = fit_groups(law, [points], settings_of(law, None, None))
    estimates = dict(zip(law.names, fit.estimates, strict=True))
    assert estimates["alpha"] >= 0.4
    assert estimates["E"] == pytest.approx(1.7, rel=1e-15)
    assert fit.at_bound.tolist() == [
        name == "alpha" and estimates["alpha"] < 0.4 + 1e-9 for name in law.names
    ]
    assert fit.n_free == 4


def test_no_finite_start_is_no_fit() -> None:
    law = registry()["pure_power_law"]
    steps, lower, upper = law.program.steps, *law.inner_bounds
    offsets = np.array([0, 2], dtype=np.uintp)
    found = core.fit_laws(
        steps,
        np.array([[1.0, 2.0]]),
        np.array([1.0, 1.0]),
        np.ones(2),
        offsets,
        np.array([[1e4, 0.1]]),
        np.array([0, 1], dtype=np.uintp),
        lower,
        upper,
        np.zeros(2, dtype=bool),
    )
    assert np.isnan(found["objective"]).all()
    assert np.isnan(found["parameters"]).all()
    assert found["n_started"].tolist() == [0]
    assert found["settled"].tolist() == [False]


def test_misuse_is_named() -> None:
    law = registry()["pure_power_law"]
    lower, upper = law.inner_bounds
    one = np.array([0, 1], dtype=np.uintp)
    arguments = [
        law.program.steps,
        np.ones((1, 1)),
        np.ones(1),
        np.ones(1),
        one,
        np.ones((1, 2)),
        one,
        lower,
        upper,
        np.zeros(2, dtype=bool),
    ]
    with pytest.raises(OptionError, match='loss has no entry "cubic"'):
        core.fit_laws(*arguments, loss="cubic")
    with pytest.raises(OptionError, match="delta must be above 0"):
        core.fit_laws(*arguments, delta=0.0)
    with pytest.raises(ShapeError, match="weights has 2 values, expected 1"):
        core.fit_laws(*arguments[:3], np.ones(2), *arguments[4:])
    with pytest.raises(OptionError, match="weights must be 0 or above"):
        core.fit_laws(*arguments[:3], -np.ones(1), *arguments[4:])
    with pytest.raises(OptionError, match="lower must be at most upper"):
        core.fit_laws(*arguments[:7], upper, lower, arguments[9])
    with pytest.raises(OptionError, match="a column"):
        core.law_values(law.program.steps, np.ones((0, 1)), np.ones((1, 2)))


def test_transforms_are_inverses() -> None:
    for law in registry().values():
        for parameter in law.parameters:
            values = np.array([0.3, 0.5, 0.9])
            np.testing.assert_allclose(parameter.outer(parameter.inner(values)), values, rtol=1e-12)
    law = registry()["chinchilla"]
    sets = np.array([[406.4, 410.7, 0.34, 0.28, 1.69]])
    np.testing.assert_allclose(outer(law, inner(law, sets)), sets, rtol=1e-14)
