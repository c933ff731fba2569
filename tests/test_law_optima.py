"""Optima beside that of compute: loss along training, mixtures of languages, encoder and decoder."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize

import signoise as sn
from signoise._laws._law import registry

KAPLAN = {
    name: value
    for law in ("kaplan_steps", "critical_batch")
    for name, value in registry()[law].published["Kaplan et al. 2020"].items()
}

# --- trajectory -------------------------------------------------------------------------------------


@given(st.floats(1e6, 1e11), st.floats(1e2, 1e6), st.floats(1e3, 1e8))
@settings(max_examples=50, deadline=None)
def test_both_sides_of_the_trajectory_agree(params: float, steps: float, batch: float) -> None:
    row = sn.loss_trajectory({"params": params, "steps": steps, "batch_tokens": batch}).row(0, named=True)
    c, loss = KAPLAN, row["predicted"]
    assert row["critical_batch"] == pytest.approx(c["B_star"] / loss ** (1 / c["alpha_B"]), rel=1e-9)
    expected = (c["N_c"] / params) ** c["alpha_N"] + (c["S_c"] / row["min_steps"]) ** c["alpha_S"]
    assert loss == pytest.approx(expected, rel=1e-9)
    # Time and examples trade along a hyperbola.
    trade = (steps / row["min_steps"] - 1) * (batch * steps / row["min_tokens"] - 1)
    assert trade == pytest.approx(1, rel=1e-6)


def test_a_very_large_batch_takes_the_fewest_steps() -> None:
    place = {"params": 1e8, "steps": 2e4, "batch_tokens": 1e15}
    out = sn.loss_trajectory([place, place | {"batch_tokens": 1e4}])
    plain = sn.predict(
        law="kaplan_steps", parameters="Kaplan et al. 2020", at={"params": 1e8, "min_steps": 2e4}
    )["predicted"].item()
    assert out["predicted"][0] == pytest.approx(plain, rel=1e-6)
    assert out["predicted"][1] > plain


def test_the_parts_of_a_trajectory_are_fitted_one_after_the_other() -> None:
    """From the steps that each batch takes to each loss back to all six coefficients."""
    losses = np.linspace(2.8, 4.5, 6)
    sizes = [1e7, 1e8, 1e9]
    c = KAPLAN
    rows = []
    for params in sizes:
        for loss in losses[losses > 1.02 * (c["N_c"] / params) ** c["alpha_N"]]:
            fewest = c["S_c"] / (loss - (c["N_c"] / params) ** c["alpha_N"]) ** (1 / c["alpha_S"])
            critical = c["B_star"] / loss ** (1 / c["alpha_B"])
            rows += [
                {
                    "params": params,
                    "loss": loss,
                    "batch_tokens": batch,
                    "steps": fewest * (1 + critical / batch),
                }
                for batch in np.geomspace(2**14, 2**22, 5)
            ]
    runs = pl.DataFrame(rows)
    contours = sn.fit_scaling_law(runs, "batch_tradeoff", y="steps", by=["params", "loss"], interval="none")
    wide = contours.pivot("parameter", index=["params", "loss"], values="estimate")
    wide = wide.rename({"S_min": "min_steps", "B_crit": "critical"})
    batches = sn.fit_scaling_law(wide.filter(params=1e9), "critical_batch", y="critical", interval="none")
    steps = sn.fit_scaling_law(wide, "kaplan_steps", y="loss", interval="none")
    found = dict(pl.concat([batches, steps]).select("parameter", "estimate").iter_rows())
    assert found == pytest.approx(c, rel=1e-4)
    out = sn.loss_trajectory(runs.head(1), found)
    assert out["predicted"].item() == pytest.approx(runs["loss"][0], rel=1e-6)


def test_undefined_trajectories_and_misuse() -> None:
    place = {"params": 1e8, "steps": 0.0, "batch_tokens": 1e6}
    row = sn.loss_trajectory(place).row(0, named=True)
    assert (row["status"], row["predicted"], row["critical_batch"]) == ("not_finite", None, None)
    with pytest.raises(sn.FitError, match="not_finite"):
        sn.loss_trajectory(place, strict=True)
    with pytest.raises(sn.OptionError, match="at: there is no 'batch_tokens'"):
        sn.loss_trajectory({"params": 1e8, "steps": 1.0})
    with pytest.raises(sn.OptionError, match="there is no 'N_d'; did you mean"):
        sn.loss_trajectory(place, KAPLAN | {"N_d": 1.0})
    with pytest.raises(sn.OptionError, match="needs B_star, alpha_B too"):
        sn.loss_trajectory(place, {name: KAPLAN[name] for name in registry()["kaplan_steps"].names})


# --- mixtures of languages --------------------------------------------------------------------------

LANGUAGES = {
    "a": {"E": 1.2, "A": 300.0, "B": 800.0, "alpha": 0.33, "beta": 0.34, "gamma": 0.03},
    "b": {"E": 1.6, "A": 200.0, "B": 900.0, "alpha": 0.31, "beta": 0.33, "gamma": 0.08},
    "c": {"E": 0.9, "A": 250.0, "B": 500.0, "alpha": 0.35, "beta": 0.32, "gamma": 0.2},
}


def loss_at_share_one(params: float, tokens: float) -> np.ndarray:
    return np.array(
        [c["E"] + c["A"] * params ** -c["alpha"] + c["B"] * tokens ** -c["beta"] for c in LANGUAGES.values()]
    )


@pytest.mark.parametrize("weights", [None, {"a": 1.0, "b": 5.0, "c": 0.3}])
def test_no_other_mixture_is_better(weights: dict[str, float] | None) -> None:
    out = sn.optimal_mixture(parameters=LANGUAGES, params=1e9, tokens=1e11, weights=weights)
    weigh = np.array(list((weights or dict.fromkeys(LANGUAGES, 1.0)).values()))
    gamma = np.array([c["gamma"] for c in LANGUAGES.values()])
    height = loss_at_share_one(1e9, 1e11)

    def total(free: np.ndarray) -> float:
        shares = np.exp(free) / np.exp(free).sum()
        return float(np.sum(weigh * height * shares**-gamma))

    best = optimize.minimize(total, np.zeros(3), method="BFGS", options={"gtol": 1e-10})
    np.testing.assert_allclose(out["share"], np.exp(best.x) / np.exp(best.x).sum(), rtol=1e-5)
    assert out["share"].sum() == pytest.approx(1, rel=1e-12)
    assert float((out["predicted"] * out["weight"]).sum()) == pytest.approx(best.fun, rel=1e-10)


def test_mixtures_of_fitted_languages() -> None:
    rng = np.random.default_rng(0)
    params, tokens, share = (
        column.ravel()
        for column in np.meshgrid([8e7, 4e8, 1.2e9], [5e9, 5e10], [0.1, 0.3, 0.8], indexing="ij")
    )
    runs = pl.concat(
        pl.DataFrame(
            {
                "language": name,
                "params": params,
                "tokens": tokens,
                "share": share,
                "loss": (c["E"] + c["A"] * params ** -c["alpha"] + c["B"] * tokens ** -c["beta"])
                * share ** -c["gamma"]
                * np.exp(0.002 * rng.standard_normal(len(share))),
            }
        )
        for name, c in LANGUAGES.items()
    )
    options = {"params": 1e9, "tokens": 1e11, "y": "loss", "n_resamples": 200, "confidence_level": 0.99}
    out = sn.optimal_mixture(runs, **options)
    truth = sn.optimal_mixture(parameters=LANGUAGES, params=1e9, tokens=1e11)
    for row, exact in zip(out.iter_rows(named=True), truth["share"], strict=True):
        assert row["share_low"] < row["share"] < row["share_high"]
        assert row["share_low"] < exact < row["share_high"]
        assert row["predicted_low"] < row["predicted"] < row["predicted_high"]
        assert row["share"] == pytest.approx(exact, rel=0.1)
    shuffled = runs.sample(fraction=1, shuffle=True, seed=1)
    assert out.equals(sn.optimal_mixture(shuffled, **options))
    assert out.equals(sn.optimal_mixture(runs, **options, threads=2))
    short = runs.filter((pl.col("language") != "c") | (pl.col("share") == 0.3))
    gone = sn.optimal_mixture(short.filter(pl.col("tokens") < 1e10), **options, interval="none")
    assert set(gone["status"]) >= {"too_few"}
    assert gone["share"].null_count() == gone["predicted"].null_count() == 3


def test_misuse_of_mixtures_is_named() -> None:
    place = {"params": 1e9, "tokens": 1e11}
    silent = sn.optimal_mixture(parameters=LANGUAGES, **place, weights={"a": 1.0, "b": 1.0})
    assert silent["share"][2] == 0.0
    assert silent["predicted"][2] is None
    with pytest.raises(sn.OptionError, match="optimal_mixture needs scores"):
        sn.optimal_mixture(**place)
    with pytest.raises(sn.OptionError, match="there is no 'd'"):
        sn.optimal_mixture(parameters=LANGUAGES, **place, weights={"d": 1.0})
    with pytest.raises(sn.OptionError, match="not all 0"):
        sn.optimal_mixture(parameters=LANGUAGES, **place, weights={"a": 0.0})
    with pytest.raises(sn.OptionError, match="two languages or more"):
        sn.optimal_mixture(parameters={"a": LANGUAGES["a"]}, **place)
    with pytest.raises(sn.OptionError, match="must be above 0"):
        sn.optimal_mixture(parameters=LANGUAGES, params=-1.0, tokens=1e9)
    with pytest.raises(sn.OptionError, match="'bootstrap' or 'none'"):
        sn.optimal_mixture(parameters=LANGUAGES, **place, interval="jackknife")


# --- encoder and decoder ----------------------------------------------------------------------------

NMT = {"L_inf": 1.1, "a": 90.0, "p_e": 0.15, "p_d": 0.21}


def test_no_other_split_is_better() -> None:
    out = sn.optimal_split(parameters=NMT, params=[3e8, 3e9])
    for row in out.iter_rows(named=True):
        total = row["params"]
        best = optimize.minimize_scalar(
            lambda s, n=total: -NMT["p_e"] * math.log(s * n) - NMT["p_d"] * math.log((1 - s) * n),
            bounds=(0.01, 0.99),
            method="bounded",
            options={"xatol": 1e-10},
        )
        assert row["encoder_params"] == pytest.approx(best.x * total, rel=1e-6)
        assert row["encoder_params"] + row["decoder_params"] == pytest.approx(total, rel=1e-12)
        at = {name: row[name] for name in ("encoder_params", "decoder_params")}
        again = sn.predict(law="encoder_decoder", parameters=NMT, at=at)["predicted"].item()
        assert row["predicted"] == pytest.approx(again, rel=1e-12)


def test_splits_of_fitted_models() -> None:
    rng = np.random.default_rng(1)
    encoder, decoder = (column.ravel() for column in np.meshgrid(*[np.geomspace(3e7, 1e9, 4)] * 2))
    loss = 1.1 + 90 * encoder**-0.15 * decoder**-0.21 + 0.0005 * rng.standard_normal(16)
    runs = pl.DataFrame({"encoder_params": encoder, "decoder_params": decoder, "loss": loss})
    row = sn.optimal_split(runs, y="loss", params=2e9, n_resamples=200).row(0, named=True)
    assert row["encoder_params_low"] < 2e9 * 0.15 / 0.36 < row["encoder_params_high"]
    assert row["decoder_params_low"] < row["decoder_params"] < row["decoder_params_high"]
    assert row["status"] == "ok"
    few = sn.optimal_split(runs.head(3), y="loss", params=2e9)
    assert few["status"].to_list() == ["too_few"]
    assert few["encoder_params"].to_list() == [None]


def test_no_split_is_best_without_gain() -> None:
    row = sn.optimal_split(parameters=NMT | {"p_e": 0.0}, params=1e9).row(0, named=True)
    assert (row["status"], row["encoder_params"], row["predicted"]) == ("no_optimum", None, None)
    with pytest.raises(sn.OptionError, match="params must be a number above 0"):
        sn.optimal_split(parameters=NMT, params=0.0)
    with pytest.raises(sn.OptionError, match="optimal_split needs scores"):
        sn.optimal_split(params=1e9)
    with pytest.raises(sn.OptionError, match="has no 'p_x'"):
        sn.optimal_split(parameters=NMT | {"p_x": 0.0}, params=1e9)
