"""pass@k beyond the samples: mixing distributions against other libraries, and what the verb makes of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy import integrate, optimize, special, stats

import signoise as sn
from signoise._sampling._mixing import MIXINGS, beta_moment, logit_normal_moment, zero_inflated_moment
from signoise._sampling._simplex import minimise

NAMES = [mixing.name for mixing in MIXINGS]


def counts(n: Any, c: Any) -> pl.DataFrame:
    return pl.DataFrame(
        {"run": "m", "task": "t", "instance_id": [f"{at:04}" for at in range(len(c))], "n": n, "c": c}
    )


def partly_unsolvable(items: int, n: int, seed: int = 0) -> tuple[pl.DataFrame, np.ndarray]:
    rng = np.random.default_rng(seed)
    p = np.where(rng.random(items) < 0.2, 0.0, rng.beta(0.6, 1.5, items))
    return counts(n, rng.binomial(n, p)), p


# --- distributions -------------------------------------------------------------------------------------------------


def test_beta_moments_are_those_of_scipy() -> None:
    n, c = np.array([10.0, 10.0, 500.0]), np.array([0.0, 7.0, 20.0])
    (beta, zero_inflated, _) = MIXINGS
    theta = np.log([0.7, 2.5])
    expected = stats.betabinom.logpmf(c, n, 0.7, 2.5)
    np.testing.assert_allclose(beta.log_likelihoods(theta, n, c), expected, rtol=1e-11)
    some = np.append(theta, special.logit(0.3))
    mixed = np.log(0.7 * np.exp(expected) + 0.3 * (c == 0))
    np.testing.assert_allclose(zero_inflated.log_likelihoods(some, n, c), mixed, rtol=1e-11)


@pytest.mark.parametrize("theta", [(-1.0, 0.5), (0.5, 0.0), (-3.0, 1.5), (2.0, -3.0)])
def test_logit_normal_moments_are_those_of_quadrature(theta: tuple[float, float]) -> None:
    centre, sd = theta[0], np.exp(theta[1])
    for c, w in ((0, 0), (0, 40), (3, 7), (40, 0), (200, 300)):
        found = logit_normal_moment(np.array(theta), np.array([float(c)]), np.array([float(w)])).item()

        def relative(x: float, c: int = c, w: int = w, found: float = found) -> float:
            log = c * special.log_expit(x) + w * special.log_expit(-x) - found
            return float(np.exp(log) * stats.norm.pdf(x, centre, sd))

        peak = special.logit(np.clip((c + 0.5) / (c + w + 1), 0.01, 0.99))
        area, _ = integrate.quad(
            relative, centre - 12 * sd - 12, centre + 12 * sd + 12, points=[centre, peak], limit=400
        )
        assert area == pytest.approx(1, abs=1e-7), (theta, c, w)


def test_moments_of_a_million_samples() -> None:
    c, w = np.array([0.0, 3.0, 5e5]), np.array([1e6, 1e6, 5e5])
    for moment, theta in (
        (beta_moment, [0.0, 1.0]),
        (zero_inflated_moment, [0.0, 1.0, -1.0]),
        (logit_normal_moment, [-1.0, 1.0]),
    ):
        found = moment(np.array(theta), c, w)
        assert np.isfinite(found).all()
        assert (np.diff(found) < 0).all()


@pytest.mark.parametrize("mixing", MIXINGS, ids=NAMES)
def test_the_likelihood_is_at_its_maximum(mixing: Any) -> None:
    frame, _ = partly_unsolvable(300, 20)
    c, items = (x.astype(float) for x in np.unique(frame["c"].to_numpy(), return_counts=True))
    n = np.full(len(c), 20.0)
    theta = mixing.fit(n, c, items)
    own = items @ mixing.log_likelihoods(theta, n, c)

    def height(x: np.ndarray) -> float:
        return -float(items @ mixing.log_likelihoods(np.clip(x, mixing.lower, mixing.upper), n, c))

    assert (
        own
        >= -optimize.minimize(height, theta + 0.3, method="Nelder-Mead", options={"maxiter": 4000}).fun - 1e-4
    )
    # The covariance is the inverse of SciPy's numerical Hessian at an inner maximum.
    if ((theta > mixing.lower + 0.1) & (theta < mixing.upper - 0.1)).all():
        gradient = optimize.approx_fprime(theta, height, 1e-5)
        np.testing.assert_allclose(gradient, 0, atol=0.05)


def test_a_minimum_within_bounds() -> None:
    def valley(x: np.ndarray) -> float:
        return float(100 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2)

    wide, narrow = np.full(2, 5.0), np.array([0.5, 5.0])
    place, height = minimise(valley, np.array([-1.2, 1.0]), step=0.5, lower=-wide, upper=wide)
    np.testing.assert_allclose(place, 1, atol=1e-3)
    place, height = minimise(valley, np.array([-1.2, 1.0]), step=0.5, lower=-wide, upper=narrow)
    np.testing.assert_allclose(place, [0.5, 0.25], atol=1e-3)
    assert height == pytest.approx(0.25, abs=1e-5)


# --- the verb ------------------------------------------------------------------------------------------------------


def test_within_the_samples_nothing_changes() -> None:
    frame, _ = partly_unsolvable(60, 10)
    plain = sn.pass_at_k(frame, k=[1, 10], n_resamples=100)
    beyond = sn.pass_at_k(frame, k=[1, 10], n_resamples=100, extrapolate=True)
    assert beyond.drop(*NAMES, *(f"{name}_log_likelihood" for name in NAMES), "signature").equals(
        plain.drop("signature")
    )
    assert beyond.select(NAMES).null_count().row(0) == (2, 2, 2)
    assert "extrapolate:true" in beyond["signature"][0]


def test_unsolvable_instances_are_inside_the_envelope() -> None:
    frame, p = partly_unsolvable(400, 40)
    k = 1000
    row = sn.pass_at_k(frame, k=k, extrapolate=True, n_resamples=300).row(0, named=True)
    truth = float(1 - np.mean((1 - p) ** k))
    assert 0.77 < truth < 0.80
    assert row["status"] == "extrapolated"
    assert row["low"] < truth < row["high"]
    # One model alone would be far off, and nothing in its fit says so.
    assert row["beta"] > truth + 0.1
    assert row["logit_normal"] > truth + 0.1
    assert abs(row["zero_inflated_beta"] - truth) < 0.02
    assert (row["pass_at_k"], row["stderr"], row["flags"]) == (None, None, ["models_differ"])
    assert row["zero_inflated_beta_log_likelihood"] > row["beta_log_likelihood"]


def test_a_single_value_where_the_models_agree() -> None:
    rng = np.random.default_rng(3)
    p = rng.beta(2, 3, 100)
    frame = counts(20, rng.binomial(20, p))
    row = sn.pass_at_k(frame, k=30, extrapolate=True, n_resamples=300).row(0, named=True)
    assert (row["status"], row["flags"]) == ("extrapolated", [])
    assert row["pass_at_k"] == sorted(row[name] for name in NAMES)[1]
    assert row["low"] < row["pass_at_k"] < row["high"]
    assert row["pass_at_k"] == pytest.approx(1 - np.mean((1 - p) ** 30), abs=3 * row["stderr"])
    alone = sn.pass_at_k(frame, k=[7, 30], extrapolate=True, n_resamples=300)
    assert alone.row(1, named=True) == row


def test_all_tries_beyond_the_samples() -> None:
    rng = np.random.default_rng(4)
    p = rng.beta(3, 1, 200)
    frame = counts(20, rng.binomial(20, p))
    row = sn.pass_at_k(frame, k=25, success="all", extrapolate=True, n_resamples=300).row(0, named=True)
    assert row["low"] < float(np.mean(p**25)) < row["high"]
    # Right and wrong exchanged: never failing is what always succeeding was.
    mirrored = sn.pass_at_k(counts(20, 20 - frame["c"].to_numpy()), k=25, extrapolate=True, n_resamples=300)
    assert row["beta"] == pytest.approx(1 - mirrored["beta"].item(), abs=1e-6)
    assert row["logit_normal"] == pytest.approx(1 - mirrored["logit_normal"].item(), abs=1e-4)


def test_items_with_enough_samples_keep_their_unbiased_estimates() -> None:
    rng = np.random.default_rng(5)
    n = np.array([10, 40] * 50)
    frame = counts(n, rng.binomial(n, rng.beta(2, 3, 100)))
    row = sn.pass_at_k(frame, k=20, extrapolate=True, n_resamples=300).row(0, named=True)
    assert (row["n_short"], row["status"]) == (50, "extrapolated")
    long = sn.pass_at_k(frame.filter(pl.col("n") == 40), k=20, n_resamples=2)["pass_at_k"].item()
    short = sn.pass_at_k(frame.filter(pl.col("n") == 10), k=20, extrapolate=True, n_resamples=2)[
        "beta"
    ].item()
    assert row["beta"] == pytest.approx((long + short) / 2, abs=0.02)


@pytest.mark.parametrize(("n", "c"), [(1, [0, 1] * 20), (5, [0] * 30), (5, [5] * 30)])
def test_what_says_nothing_of_what_is_beyond(n: int, c: list[int]) -> None:
    row = sn.pass_at_k(counts(n, c), k=6, extrapolate=True, n_resamples=50).row(0, named=True)
    assert row["status"] == "not_identified"
    assert [row[name] for name in ("pass_at_k", "stderr", "low", "high", *NAMES)] == [None] * 7


def test_too_far() -> None:
    frame, _ = partly_unsolvable(60, 10)
    table = sn.pass_at_k(frame, k=[1000, 1001], extrapolate=True, n_resamples=50)
    assert ["far_beyond" in flags for flags in table["flags"]] == [False, True]
    assert table["pass_at_k"][1] is None
    with pytest.raises(sn.OptionError, match="extrapolate=True is for"):
        sn.pass_at_k(frame, k=20, estimator="plug_in", extrapolate=True)


def test_nothing_depends_on_rows_around() -> None:
    frame, _ = partly_unsolvable(40, 4)
    table = sn.pass_at_k(frame, k=40, extrapolate=True, n_resamples=50)
    twice = pl.concat([frame, frame.with_columns(run=pl.lit("a"))]).sample(fraction=1.0, shuffle=True, seed=2)
    assert (
        sn.pass_at_k(twice, k=40, extrapolate=True, n_resamples=50, threads=1).filter(run="m").equals(table)
    )


def test_a_quarter_of_published_samples_foretells_all(shared: Path) -> None:
    frame = pl.read_parquet(shared / "data" / "cruxeval_samples.parquet").filter(
        (pl.col("n") == 10) & (pl.col("model") == "codellama-13b") & ~pl.col("cot")
    )
    by = ("task", "temperature")
    whole = sn.pass_at_k(frame.drop("outcomes"), k=10, by=by, n_resamples=2)["pass_at_k"]
    # Drawn, as samples of an item stand in no random order there: the first ones are more alike than others.
    right = frame["c"].to_numpy()
    some = np.random.default_rng(0).hypergeometric(right, 10 - right, 3)
    part = frame.drop("outcomes").with_columns(n=pl.lit(3), c=pl.Series(some))
    found = sn.pass_at_k(part, k=10, by=by, extrapolate=True, n_resamples=100)
    assert found.height == 4
    assert ((found["low"] <= whole) & (whole <= found["high"])).all()
