"""The pooled autocorrelation of checkpoints: its likelihood by matrices, and what its uncertainty does to sigma."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy import stats

import signoise as sn
from signoise._autocorrelation import RunForms, pooled_autocorrelation


def series(rho: float, runs: int, n: int, seed: int = 0, tasks: int = 1) -> np.ndarray:
    """Stationary series of unit variance: (tasks, runs, n)."""
    z = np.random.default_rng(seed).normal(size=(tasks, runs, n))
    x = z.copy()
    for t in range(1, n):
        x[..., t] = rho * x[..., t - 1] + np.sqrt(1 - rho**2) * z[..., t]
    return x


def forms(x: np.ndarray) -> RunForms:
    y = x - x.mean(axis=-1, keepdims=True)
    tasks, runs, n = x.shape
    columns = {
        "n": np.full((tasks, runs), float(n)),
        "squares": (y**2).sum(axis=-1),
        "lagged": (y[..., 1:] * y[..., :-1]).sum(axis=-1),
        "first": y[..., 0],
        "last": y[..., -1],
        "group": np.repeat(np.arange(tasks), runs).reshape(tasks, runs),
    }
    return RunForms(**{name: column.ravel() for name, column in columns.items()})


def table(x: np.ndarray) -> pl.DataFrame:
    """Scores around 0.5 with a standard deviation of 0.01 between checkpoints."""
    tasks, runs, steps = (axis.ravel() for axis in np.indices(x.shape))
    return pl.DataFrame({"task": tasks, "run": runs, "step": steps, "value": 0.5 + 0.01 * x.ravel()}).select(
        pl.format("t{}", "task").alias("task"),
        pl.format("m{}", "task").alias("metric"),  # nothing is shared between tasks
        pl.format("r{}", "run").alias("run"),
        "step",
        "value",
    )


@pytest.mark.parametrize("n", [2, 3, 5, 12])
@pytest.mark.parametrize("rho", [0.0, 0.3, 0.95])
def test_forms_are_those_of_the_matrix(n: int, rho: float) -> None:
    x = series(0.5, 4, n) + 3.0
    matrix = rho ** np.abs(np.subtract.outer(np.arange(n), np.arange(n)))
    inverse, one = np.linalg.inv(matrix), np.ones(n)
    found = forms(x)
    level = one @ inverse @ one
    expected = [row @ inverse @ row - (one @ inverse @ row) ** 2 / level for row in x[0]]
    np.testing.assert_allclose(found.residual(rho), expected, rtol=1e-7)
    determinant = np.linalg.slogdet(matrix)[1] + np.log(level)
    np.testing.assert_allclose(found.log_determinant(rho), determinant, atol=1e-9)


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.8])
def test_short_runs_are_enough_together(rho: float) -> None:
    """A correlation of five values is 0.2 and more too low; the likelihood of 400 such runs is not."""
    x = series(rho, 400, 5)
    found = pooled_autocorrelation(forms(x), np.zeros(1, dtype=np.intp), np.zeros(1, dtype=bool))
    assert found.rho[0] == pytest.approx(rho, abs=0.1)
    assert found.weights is not None
    assert found.weights.sum() == pytest.approx(1.0)


def test_who_speaks_for_whom() -> None:
    def found(x: np.ndarray, strata: list[int], trending: list[bool]) -> list[float]:
        pooled = pooled_autocorrelation(forms(x), np.array(strata), np.array(trending))
        return pooled.rho.tolist()

    three = np.concatenate([series(0.0, 3, 5), series(0.9, 3, 5, seed=1), series(0.5, 3, 5, seed=2)])
    first, second, third = found(three, [0, 0, 1], [False] * 3)
    assert first == second
    assert np.isnan(third)  # 15 values
    # A group that trends is left out where the others have enough to say.
    two = np.concatenate([series(0.0, 9, 5), series(0.9, 9, 5, seed=1)])
    assert found(two, [0, 0], [False, True]) == found(two[:1], [0], [False]) * 2
    # A group with 150 values speaks for itself.
    long = np.concatenate([series(0.0, 30, 5), series(0.9, 30, 5, seed=1)])
    assert found(long, [0, 0], [False] * 2) == [
        *found(long[:1], [0], [False]),
        *found(long[1:], [0], [False]),
    ]


def test_sigma_is_as_uncertain_as_its_autocorrelation() -> None:
    x = series(0.6, 8, 5)
    row = sn.noise(table(x), relative=False, confidence_level=0.9).row(0, named=True)
    grid, n, runs = np.linspace(0, 0.95, 96), 5, 8
    nu = runs * (n - 1)
    sums, likelihood = [], []
    for rho in grid:
        matrix = rho ** np.abs(np.subtract.outer(np.arange(n), np.arange(n)))
        inverse, one = np.linalg.inv(matrix), np.ones(n)
        level = one @ inverse @ one
        total = sum(run @ inverse @ run - (one @ inverse @ run) ** 2 / level for run in x[0])
        sums.append(total)
        determinant = np.linalg.slogdet(matrix)[1] + np.log(level)
        likelihood.append(-nu / 2 * np.log(total) - runs / 2 * determinant)
    weights = np.exp(np.array(likelihood) - max(likelihood))
    weights /= weights.sum()
    logs = np.log(np.array(sums) / nu)
    mean = (weights * logs).sum()
    df = 2 / (2 / nu + (weights * (logs - mean) ** 2).sum())
    for name, p in (("noise_low", 0.95), ("noise_high", 0.05)):
        expected = 0.01 * np.sqrt(np.exp(mean) * df / stats.chi2.ppf(p, df))
        assert row[name] == pytest.approx(expected, rel=1e-6)
    assert abs(row["autocorrelation"] - grid[np.argmax(likelihood)]) <= 0.01


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.8])
def test_coverage(rho: float) -> None:
    found = sn.noise(table(series(rho, 25, 5, seed=3, tasks=300)), relative=False)
    covered = ((found["noise_low"] <= 0.01) & (found["noise_high"] >= 0.01)).mean()
    assert isinstance(covered, float)
    assert covered >= 0.95 - 3 * np.sqrt(0.95 * 0.05 / 300)


def test_a_constant_run_among_others() -> None:
    x = series(0.3, 10, 5)
    x[0, 0] = 0.0
    row = sn.noise(table(x), relative=False).row(0, named=True)
    assert row["noise_low"] < row["noise_high"]
    still = sn.noise(table(0 * x), relative=False).row(0, named=True)
    assert (still["status"], still["noise_low"]) == ("zero_noise", 0.0)


@pytest.mark.parametrize("n", [3, 4, 11])
@pytest.mark.parametrize("rho", [0.0, 0.4, 0.95])
def test_forms_about_lines_are_those_of_the_matrix(n: int, rho: float) -> None:
    x = series(0.5, 4, n)[0] + np.arange(n) * 0.7
    time = np.arange(n) - (n - 1) / 2
    y = x - x.mean(axis=1, keepdims=True)
    y -= np.outer(y @ time / (time @ time), time)
    lagged = (y[:, 1:] * y[:, :-1]).sum(axis=1)
    group = np.zeros(4, dtype=np.intp)
    found = RunForms(np.full(4, float(n)), (y**2).sum(axis=1), lagged, y[:, 0], y[:, -1], group, line=True)
    inverse = np.linalg.inv(rho ** np.abs(np.subtract.outer(np.arange(n), np.arange(n))))
    design = np.stack([np.ones(n), time], axis=1)
    normal = design.T @ inverse @ design
    left = inverse - inverse @ design @ np.linalg.solve(normal, design.T @ inverse)
    np.testing.assert_allclose(found.residual(rho), [row @ left @ row for row in x], rtol=1e-6)
    determinant = np.linalg.slogdet(normal)[1] - np.linalg.slogdet(inverse)[1]
    np.testing.assert_allclose(found.log_determinant(rho), determinant, atol=1e-9)


@pytest.mark.parametrize(("rho", "too_often"), [(0.0, False), (0.8, True)])
def test_trendless_series_are_seldom_taken_for_monotone(rho: float, too_often: bool) -> None:
    found = sn.smoothness(table(series(rho, 10, 20, seed=7, tasks=100)), direction="raw")
    rejected = {name: (found[name] <= 0.05).mean() for name in ("monotonicity_p", "monotonicity_p_ar1")}
    # The ten runs of a task share its estimate, so there is less to this than a thousand tests.
    assert rejected["monotonicity_p_ar1"] <= 0.1
    assert (rejected["monotonicity_p"] > 0.2) is too_often
    assert found["autocorrelation"].mean() == pytest.approx(rho, abs=0.08)


def test_a_steady_rise_is_found() -> None:
    found = sn.smoothness(table(series(0.3, 10, 20, tasks=3) + np.linspace(0, 6, 20)), direction="raw")
    assert (found["monotonicity_p_ar1"] <= 0.05).all()


def test_surrogates_of_a_known_autocorrelation() -> None:
    scores = table(series(0.0, 2, 4))
    found = sn.smoothness(scores, direction="raw", autocorrelation=0.0, n_resamples=20_000)
    # Without autocorrelation surrogates are permutations.
    gaps = (found["monotonicity_p_ar1"] - found["monotonicity_p"]).abs()
    assert (gaps <= 4 * np.sqrt(0.25 / 20_000)).all()
    few = sn.smoothness(scores, direction="raw")
    assert few["autocorrelation"].null_count() == few["monotonicity_p_ar1"].null_count() == 2


def test_a_key_of_no_columns_is_one_score() -> None:
    scores = table(series(0.5, 10, 5))
    found = sn.smoothness(scores, by=(), direction="raw")
    expected = sn.smoothness(scores, direction="raw")
    assert found["autocorrelation"].to_list() == expected["autocorrelation"].to_list()
