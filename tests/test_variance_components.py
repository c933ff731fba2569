"""Variance components: hand computations, mixed models of statsmodels, published seeds, and simulated coverage."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import statsmodels.api as sm
from scipy import stats

from signoise import _variance_components as vc


def offsets(*sizes: int) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.uintp)


def split(x: np.ndarray, **options: object) -> vc.SeedAndStep:
    """Groups x seeds x checkpoints, one cell a group."""
    groups, seeds, k = x.shape
    runs = x.reshape(-1, k)
    group = np.repeat(np.arange(groups), seeds)
    return vc.seed_and_step(
        np.full(len(runs), float(k)),
        runs.mean(axis=1),
        ((runs - runs.mean(axis=1, keepdims=True)) ** 2).sum(axis=1),
        np.full(len(runs), k - 1.0),
        group,
        group,
        groups,
        **options,  # type: ignore[arg-type]
    )


def autoregressive(rng: np.random.Generator, shape: tuple[int, ...], rho: float) -> np.ndarray:
    """Unit variance along the last axis."""
    x = rng.normal(size=shape)
    for t in range(1, shape[-1]):
        x[..., t] = rho * x[..., t - 1] + np.sqrt(1 - rho**2) * x[..., t]
    return x


def test_balanced_components_are_those_of_an_analysis_of_variance() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1, 6, 1)) * 2 + rng.normal(size=(1, 6, 5))
    found = split(x)
    mse = x[0].var(axis=1, ddof=1).mean()
    msa = 5 * x[0].mean(axis=1).var(ddof=1)
    assert found.step.unclipped[0] == pytest.approx(mse, rel=1e-12)
    assert found.seed.unclipped[0] == pytest.approx((msa - mse) / 5, rel=1e-12)
    assert (found.seed.df[0], found.step.df[0]) == (5, 24)
    expected = (24 * mse / stats.chi2.ppf(0.975, 24), 24 * mse / stats.chi2.ppf(0.025, 24))
    assert (found.step.low[0], found.step.high[0]) == pytest.approx(expected, rel=1e-9)
    # a balanced random-effects model by restricted likelihood has the same estimates where they are positive
    fit = sm.MixedLM(x.ravel(), np.ones(30), groups=np.repeat(np.arange(6), 5)).fit(reml=True)
    assert found.seed.unclipped[0] == pytest.approx(float(fit.cov_re[0, 0]), rel=1e-3)
    assert found.step.unclipped[0] == pytest.approx(fit.scale, rel=1e-3)


def test_cells_pool_and_lone_runs_only_speak_of_steps() -> None:
    means, ss = np.array([1.0, 2.0, 10.0, 14.0, 100.0]), np.array([2.0, 2, 2, 2, 8])
    found = vc.seed_and_step(
        np.full(5, 3.0), means, ss, np.full(5, 2.0), np.array([0, 0, 1, 1, 2]), np.zeros(5, int), 1
    )
    # MSE 16/10; variances of run means .5 and 8 with 1 df each
    assert found.step.unclipped[0] == pytest.approx(1.6)
    assert found.seed.unclipped[0] == pytest.approx(4.25 - 1.6 / 3)
    assert found.seed.df[0] == 2


def test_limits_of_a_balanced_design_equal_the_book() -> None:
    # Exact in the two directions that the method is built to be exact in: MSE known, or MSA/MSE at the F limit.
    msa, n1 = np.array([3.0]), np.array([4.0])
    low, high = vc.difference_limits(msa, np.array([1e-12]), n1, np.array([20.0]), 0.95)
    assert low[0] == pytest.approx(4 * 3 / stats.chi2.ppf(0.975, 4), rel=1e-9)
    assert high[0] == pytest.approx(4 * 3 / stats.chi2.ppf(0.025, 4), rel=1e-9)
    at_limit = np.array([stats.f.ppf(0.975, 4, 20)])
    low, _ = vc.difference_limits(at_limit, np.ones(1), n1, np.array([20.0]), 0.95)
    assert low[0] == pytest.approx(0.0, abs=1e-7)
    low, _ = vc.difference_limits(at_limit * 1.01, np.ones(1), n1, np.array([20.0]), 0.95)
    assert low[0] > 0
    at_other = np.array([stats.f.ppf(0.025, 4, 20)])
    _, high = vc.difference_limits(at_other, np.ones(1), n1, np.array([20.0]), 0.95)
    assert high[0] == pytest.approx(0.0, abs=1e-7)


@pytest.mark.parametrize(("seeds", "k", "seed_sd"), [(5, 5, 1.0), (10, 30, 0.3), (3, 10, 2.0)])
def test_seed_limits_cover(seeds: int, k: int, seed_sd: float) -> None:
    rng = np.random.default_rng(1)
    x = seed_sd * rng.normal(size=(3000, seeds, 1)) + rng.normal(size=(3000, seeds, k))
    found = split(x)
    covered = (found.seed.low <= seed_sd**2) & (seed_sd**2 <= found.seed.high)
    assert 0.935 <= covered.mean() <= 0.965
    assert found.seed.unclipped.mean() == pytest.approx(seed_sd**2, abs=0.05 * (seed_sd**2 + 1 / k) * 3)


def test_seed_limits_cover_unbalanced_designs() -> None:
    rng = np.random.default_rng(2)
    sizes = np.array([3, 10, 5, 20, 7, 4])
    n_groups = 2500
    means, ss = [], []
    for k in sizes:
        x = rng.normal(size=(n_groups, 1)) * 0.7 + rng.normal(size=(n_groups, k))
        means.append(x.mean(axis=1))
        ss.append(((x - x.mean(axis=1, keepdims=True)) ** 2).sum(axis=1))
    group = np.repeat(np.arange(n_groups), len(sizes))
    n = np.tile(sizes.astype(float), n_groups)
    found = vc.seed_and_step(
        n, np.array(means).T.ravel(), np.array(ss).T.ravel(), n - 1, group, group, n_groups
    )
    assert found.seed.unclipped.mean() == pytest.approx(0.49, rel=0.05)
    covered = (found.seed.low <= 0.49) & (found.seed.high >= 0.49)
    assert 0.925 <= covered.mean() <= 0.965


@pytest.mark.parametrize("rho", [0.5, 0.8])
def test_autocorrelated_checkpoints(rho: float) -> None:
    rng = np.random.default_rng(3)
    x = 0.5 * rng.normal(size=(3000, 6, 1)) + autoregressive(rng, (3000, 6, 15), rho)
    found, naive = split(x, rho=np.full(3000, rho)), split(x)
    assert found.step.unclipped.mean() == pytest.approx(1.0, abs=0.03)
    assert found.seed.unclipped.mean() == pytest.approx(0.25, abs=0.03)
    assert naive.seed.unclipped.mean() > 0.35  # takes the wandering of a run for its seed
    covered = (found.seed.low <= 0.25) & (found.seed.high >= 0.25)
    assert 0.925 <= covered.mean() <= 0.97
    step = (found.step.low <= 1) & (found.step.high >= 1)
    assert 0.93 <= step.mean() <= 0.97


def test_undefined_components() -> None:
    one_run = split(np.array([[[1.0, 2, 3]]]))
    assert one_run.step.unclipped[0] == pytest.approx(1.0)
    assert np.isnan([one_run.seed.unclipped[0], one_run.seed.low[0], one_run.seed.df[0]]).all()
    single = split(np.array([[[1.0], [2.0]]]))
    assert np.isnan([single.step.unclipped[0], single.seed.unclipped[0], single.seed.high[0]]).all()
    nothing = vc.seed_and_step(*(np.zeros(0),) * 4, np.zeros(0, int), np.zeros(0, int), 2)
    assert np.isnan(nothing.seed.unclipped).all()
    lost = vc.seed_and_step(
        np.array([2.0, 0.0]), np.array([1.0, np.nan]), np.array([2.0, 0]), np.array([1.0, -1.0]),
        np.zeros(2, int), np.zeros(2, int), 1,
    )  # fmt: skip
    assert lost.step.unclipped[0] == 2.0


def test_negative_estimates_are_kept_beside_the_clipped_ones() -> None:
    found = split(np.array([[[0.0, 2.0], [2.0, 0.0], [0.0, 2.0]]]))
    assert found.seed.unclipped[0] == pytest.approx(-1.0)
    assert found.seed.value[0] == 0.0
    assert found.seed.low[0] == 0.0


def test_two_way_components() -> None:
    rng = np.random.default_rng(4)
    rows, columns = rng.normal(size=(40, 1)), 0.5 * rng.normal(size=(1, 12))
    x = rows + columns + 0.3 * rng.normal(size=(40, 12))
    found = vc.two_way(x)
    grid = pl.DataFrame(
        {"x": x.ravel(), "row": np.repeat(np.arange(40), 12), "column": np.tile(np.arange(12), 40)}
    )
    ms_rows = 12 * grid.group_by("row").mean()["x"].var()  # type: ignore[operator]
    ms_columns = 40 * grid.group_by("column").mean()["x"].var()  # type: ignore[operator]
    total = 479 * np.var(x, ddof=1)
    mse = (total - 39 * ms_rows - 11 * ms_columns) / (39 * 11)
    assert found.residual.unclipped[0] == pytest.approx(mse, rel=1e-9)
    assert found.rows.unclipped[0] == pytest.approx((ms_rows - mse) / 12, rel=1e-9)
    assert found.columns.unclipped[0] == pytest.approx((ms_columns - mse) / 40, rel=1e-9)
    assert (found.rows.df[0], found.columns.df[0], found.residual.df[0]) == (39, 11, 429)
    assert found.columns.low[0] < 0.25 < found.columns.high[0]
    assert np.isnan(vc.two_way(x[:1]).residual.unclipped[0])
    x[0, 0] = np.nan
    assert np.isnan(vc.two_way(x).rows.unclipped[0])


def test_generation_components_are_unbiased_and_their_sum_is_the_variance() -> None:
    rng = np.random.default_rng(5)
    n_groups, items = 400, 50
    k = np.tile(np.concatenate([np.full(25, 4), np.full(20, 2), np.full(5, 1)]), n_groups)
    p = rng.beta(2, 3, n_groups * items)
    x = rng.random((len(p), 4)) < p[:, None]
    x = np.where(np.arange(4) < k[:, None], x, np.nan)
    mean = np.nanmean(x, axis=1)
    m2 = np.nansum((x - mean[:, None]) ** 2, axis=1)
    found = vc.generation_components(k.astype(float), mean, m2, offsets(*[items] * n_groups))
    assert found.data_unclipped.mean() == pytest.approx(0.04, abs=0.002)  # Var Beta(2, 3)
    assert found.prediction.mean() == pytest.approx(0.24 - 0.04, abs=0.002)
    equal = vc.generation_components(
        np.full(3, 2.0), np.array([0.0, 0.5, 1.0]), np.array([0, 0.5, 0]), offsets(3)
    )
    assert equal.prediction[0] == pytest.approx(0.5 / 3)
    assert equal.data_unclipped[0] == pytest.approx(0.25 - 0.5 / 3 / 2)
    single = vc.generation_components(np.ones(3), np.array([0.0, 0, 1]), np.zeros(3), offsets(3))
    assert np.isnan([single.prediction[0], single.data_unclipped[0]]).all()


def test_paired_generation_components() -> None:
    rng = np.random.default_rng(6)
    n = 40_000
    level, shift = rng.normal(size=n), 0.3 * rng.normal(size=n)
    a = (level + shift)[:, None] + 0.5 * rng.normal(size=(n, 3))
    b = level[:, None] + rng.normal(size=(n, 2))
    columns = []
    for x in (a, b):
        mean = x.mean(axis=1)
        columns += [np.full(n, float(x.shape[1])), mean, ((x - mean[:, None]) ** 2).sum(axis=1)]
    side_a, side_b = vc.paired_generation_components(*columns, offsets(n))
    assert side_a.data_unclipped[0] == side_b.data_unclipped[0] == pytest.approx(0.09, abs=0.02)
    assert side_a.prediction[0] == pytest.approx(0.25, rel=0.02)
    assert side_b.prediction[0] == pytest.approx(1.0, rel=0.02)


def test_variance_of_an_averaged_score_equals_simulation() -> None:
    rng = np.random.default_rng(7)
    n, k, s, reps = 20, 3, 2, 20_000
    parts = {"seed": 0.02, "step": 0.03, "seed_item": 0.4, "step_item": 0.9, "item": 0.25}
    sd = {name: np.sqrt(value) for name, value in parts.items()}
    x = sd["item"] * rng.normal(size=(reps, 1, 1, n))
    x = x + sd["seed"] * rng.normal(size=(reps, s, 1, 1)) + sd["seed_item"] * rng.normal(size=(reps, s, 1, n))
    x = x + sd["step"] * rng.normal(size=(reps, s, k, 1)) + sd["step_item"] * rng.normal(size=(reps, s, k, n))
    expected = vc.score_variance(n, k, s, **parts)
    assert np.var(x.mean(axis=(1, 2, 3))) == pytest.approx(expected, rel=0.04)


def test_expected_accuracy_equals_simulation() -> None:
    rng = np.random.default_rng(8)
    truth = rng.normal(size=(200_000, 2)) * 0.8
    seen, again = (truth + rng.normal(size=truth.shape) * noise for noise in (0.5, 1.0))
    r1, r2 = vc.reliability(0.64, 0.25), vc.reliability(0.64, 1.0)
    right = np.mean((np.diff(truth) > 0) == (np.diff(seen) > 0))
    agree = np.mean((np.diff(again) > 0) == (np.diff(seen) > 0))
    assert vc.expected_accuracy(r1) == pytest.approx(right, abs=0.004)
    assert vc.expected_accuracy(r1, r2) == pytest.approx(agree, abs=0.004)
    assert vc.expected_accuracy(0.0) == 0.5
    assert vc.expected_accuracy(1.0) == 1.0


def test_published_sampling_seeds(shared: Path, oracle: Callable[[str], dict[str, Any]]) -> None:
    frame = pl.read_parquet(shared / "data" / "enem_seeds.parquet").filter(pl.col("condition") == "default")
    for name, expected in oracle("enem_seed_variance").items():
        language, subject = name.split("|")
        part = frame.filter((pl.col("language") == language) & (pl.col("subject") == subject))
        for at, model in enumerate(expected["models"]):
            runs = (
                part.filter(pl.col("model") == model)
                .sort("exam", "seed")
                .group_by("exam", maintain_order=True)
            )
            x = np.concatenate(
                [[list(map(int, p)) for p in exam["pattern"]] for _, exam in runs], axis=1
            ).astype(float)
            assert x.shape == (expected["n_replicates"], expected["n_items"])
            mean = x.mean(axis=0)
            m2 = ((x - mean) ** 2).sum(axis=0)
            found = vc.generation_components(
                np.full(x.shape[1], float(len(x))), mean, m2, offsets(x.shape[1])
            )
            within = expected["mean_within_item_variance"][at]
            assert found.prediction[0] == pytest.approx(within, rel=1e-9)
            data = expected["item_mean_variance"][at] - within / len(x)
            assert found.data_unclipped[0] == pytest.approx(data, rel=1e-9)
            # seeds x items: what items independent given the model would leave between seeds, and what there was
            table = vc.two_way(np.ascontiguousarray(x.T))
            total = table.columns.unclipped[0] + table.residual.unclipped[0] / x.shape[1]
            assert total == pytest.approx(expected["seed_sd_ddof1"][at] ** 2, rel=1e-9)
