"""`averaging_gain`, `choose_window`: definitions written out, published numbers, limits that cover, undefined cases."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

import signoise as sn
from signoise import reference
from signoise._interventions import _averages as averages
from signoise._interventions._jackknife import jackknife_stderr, t_margin
from signoise._interventions._member_halves import (
    agreement_values,
    cross_fitted,
    log_snr_values,
    random_halves,
)

SIDES: dict[str, Any] = {"small": "params = 150000000", "target": "params = 1000000000"}
WINDOWS = (1, 2, 3, 5)


def curves(series: dict[str, Any], **extra: Any) -> pl.DataFrame:
    rows = [
        {"run": run, "step": step, "task": "t", "metric": "acc", "value": value, **extra}
        for run, values in series.items()
        for step, value in enumerate(values, start=1)
    ]
    return pl.DataFrame(rows)


def offsets_of(lengths: Any) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.uintp)


def checkpoints(rng: np.random.Generator, shape: tuple[int, ...], rho: float) -> np.ndarray:
    """Stationary series with sd 1 and autocorrelation rho."""
    z = rng.standard_normal(shape)
    for t in range(1, shape[-1]):
        z[..., t] = rho * z[..., t - 1] + np.sqrt(1 - rho**2) * z[..., t]
    return z


# --- twins ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["mean", "ema"])
@given(
    lengths=st.lists(st.integers(0, 14), min_size=1, max_size=5),
    window=st.integers(1, 6),
    seed=st.integers(0, 1000),
)
def test_variances_equal_their_twins(how: str, lengths: list[int], window: int, seed: int) -> None:
    offsets = offsets_of(lengths)
    values = np.random.default_rng(seed).normal(size=int(offsets[-1]))
    np.testing.assert_allclose(
        averages.separated_variance(values, offsets, window, how),
        reference.separated_variance(values, offsets, window, how),
        rtol=1e-9,
    )
    for ddof in (0, 1):
        np.testing.assert_allclose(
            averages.overlapping_variance(values, offsets, window, how, ddof),
            reference.overlapping_variance(values, offsets, window, how, ddof),
            rtol=1e-9,
        )


@pytest.mark.parametrize("how", ["mean", "ema"])
def test_variance_of_an_average_by_its_weights(how: str) -> None:
    rho = np.array([0.0, 0.3, 0.8])
    for window in (1, 2, 7):
        found = averages.variance_factor(window, how, rho)
        np.testing.assert_allclose(found, reference.variance_factor(window, how, rho), rtol=1e-9)


def test_cross_fitting_equals_its_twin() -> None:
    rng = np.random.default_rng(5)
    small, target = np.round(rng.normal(size=(2, 4, 9)), 1)
    variances = rng.gamma(2.0, size=(4, 9))
    halves = random_halves(9, 6, 3, 1, 2)
    assert (halves.sum(axis=1) == 4).all()
    members = [np.flatnonzero(half).tolist() for half in halves]
    # Without member 2: the same splits of the others.
    rest = [[m - (m > 2) for m in half if m != 2] for half in members]
    for fast, plain, other in (
        (agreement_values, reference.agreement_of, target),
        (log_snr_values, reference.log_snr_of, variances),
    ):
        found = cross_fitted(fast(small, other), fast(small, other), halves)
        whole = partial(plain, small, other)
        gain, in_sample = reference.cross_fitted(whole, whole, members, 9)
        assert (found.gain, found.in_sample) == pytest.approx((gain, in_sample))
        without = partial(plain, np.delete(small, 2, axis=1), np.delete(other, 2, axis=1))
        assert found.left_out[2] == pytest.approx(reference.cross_fitted(without, without, rest, 8)[0])


def test_verbs_on_the_twins() -> None:
    scores = sn.example_scores().filter(pl.col("task").is_in(["sim_arc", "sim_paloma"]))
    for verb in ("averaging_gain", "choose_window"):
        options = {**SIDES, "windows": (1, 2), "autocorrelation": 0.2} if verb == "averaging_gain" else SIDES
        found = getattr(sn, verb)(scores, **options)
        assert_frame_equal(getattr(sn.reference, verb)(scores, **options), found)


# --- noise ---------------------------------------------------------------------------------------


def test_window_one_is_what_the_other_verbs_say() -> None:
    scores = sn.example_scores()
    by = ("task", "metric", "params")
    found = sn.averaging_gain(scores, by=by, windows=(1, 3)).filter(window=1)
    plain = sn.snr(scores, by=by, score="final", window=30)
    same = ["mean", "noise", "noise_absolute", "signal", "snr", "autocorrelation", "n_runs", "n_checkpoints"]
    assert_frame_equal(found.select(same), plain.select(same))
    assert found["status"].to_list() == plain["status"].to_list()


def test_late_checkpoints_of_pythia(oracle: Any, shared: Any) -> None:
    pythia = pl.read_parquet(shared / "data" / "pythia_evals.parquet")
    late = pythia.filter(pl.sql_expr("suite = 'pythia-v1' AND variant = 'baseline' AND shots = 0"))
    table = sn.averaging_gain(late, by=("task", "metric", "run"), ddof=0)
    rows = {(r["run"], r["task"], r["metric"], r["window"]): r for r in table.iter_rows(named=True)}
    checked = 0
    for key, expected in oracle("pythia_v1_late_checkpoints").items():
        for window, spread in expected["moving_average_std"].items():
            row = rows[(*key.split("|"), int(window))]
            assert row["noise_overlapping"] == pytest.approx(spread, rel=1e-9, abs=1e-12), key
            checked += 1
    assert checked > 70
    lambada = rows["pythia-1.4b-deduped", "lambada_openai", "acc", 5]
    assert lambada["noise_overlapping"] == pytest.approx(0.00388, abs=5e-6)
    # Averages that share no checkpoint differ more than successive ones.
    assert lambada["noise_absolute"] == pytest.approx(0.004403, abs=5e-7)
    assert rows["pythia-1.4b-deduped", "lambada_openai", "acc", 1]["noise_absolute"] == pytest.approx(
        0.00619709716378
    )


@pytest.mark.parametrize("how", ["mean", "ema"])
def test_noise_of_averages_is_unbiased_where_checkpoints_are_independent(how: str) -> None:
    rng = np.random.default_rng(7)
    values = rng.standard_normal((4000, 20))
    offsets = offsets_of([20] * 4000)
    for window in (1, 3, 6):
        separated = averages.separated_variance(values.ravel(), offsets, window, how)
        overlapping = averages.overlapping_variance(values.ravel(), offsets, window, how, 1)
        form = averages.form(20, window, how)
        true = float(form.last @ form.last)
        error = separated.std() / np.sqrt(4000)
        assert abs(separated.mean() - true) < 4 * error
        if window > 1:
            assert overlapping.mean() < 0.95 * true


@pytest.mark.parametrize(("runs", "n"), [(1, 30), (5, 30), (25, 12)])
@pytest.mark.parametrize("rho", [0.0, 0.5])
def test_limits_of_the_ratio_cover(runs: int, n: int, rho: float) -> None:
    rng = np.random.default_rng(11)
    studies = 400
    values = checkpoints(rng, (studies * runs, n), rho).ravel()
    offsets = offsets_of([n] * (studies * runs))
    for window in (2, 5):
        single, averaged = (
            averages.separated_variance(values, offsets, size, "mean").reshape(studies, runs).mean(axis=1)
            for size in (1, window)
        )
        low, high = averages.ratio_limits(
            np.sqrt(averaged / single), [{n: runs}] * studies, window, "mean", np.full(studies, rho), 0.95
        )
        true = np.sqrt(averages.variance_factor(window, "mean", np.array([rho])))[0]
        assert 0.91 <= np.mean((low <= true) & (true <= high)) <= 0.995


def test_expected_noise() -> None:
    rng = np.random.default_rng(2)
    scores = curves({f"r{i}": 0.5 + 0.01 * checkpoints(rng, (30,), 0.6) for i in range(20)})
    table = sn.averaging_gain(scores, autocorrelation=0.6, last=30)
    single = table["noise_absolute"][0]
    n = table["window"].to_numpy()
    np.testing.assert_allclose(table["expected_independent"], single / np.sqrt(n))
    factor = [(1 + 2 * sum((1 - k / m) * 0.6**k for k in range(1, m))) / m for m in n.tolist()]
    np.testing.assert_allclose(table["expected_autocorrelated"], single * np.sqrt(factor))
    observed = table["noise_absolute"].to_numpy()
    # What is observed is what autocorrelation promises, and well above what independence does.
    np.testing.assert_allclose(observed, table["expected_autocorrelated"], rtol=0.15)
    assert (observed[2:] > 1.15 * table["expected_independent"].to_numpy()[2:]).all()


def test_only_the_last_checkpoints_make_noise() -> None:
    rng = np.random.default_rng(4)
    values = rng.normal(0.5, 0.01, size=(3, 40))
    whole = curves({f"r{i}": row for i, row in enumerate(values)})
    late = curves({f"r{i}": row[-12:] for i, row in enumerate(values)})
    drop = ["signature"]
    assert_frame_equal(sn.averaging_gain(whole, last=12).drop(drop), sn.averaging_gain(late).drop(drop))


# --- decisions -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("side", "windows"), [("small", (3, 1)), ("target", (1, 3)), ("both", (3, 3))])
def test_decisions_are_those_of_window_means(side: str, windows: tuple[int, int]) -> None:
    scores = sn.example_scores()
    found = sn.averaging_gain(scores, **SIDES, side=side, windows=3)
    options = {"score": "mean", "window_small": windows[0], "window_target": windows[1]}
    expected = sn.decision_accuracy(scores, **SIDES, **options)
    single = sn.decision_accuracy(scores, **SIDES)
    assert found["decision_accuracy"].to_list() == expected["decision_accuracy"].to_list()
    np.testing.assert_allclose(found["gain"], expected["decision_accuracy"] - single["decision_accuracy"])
    assert found["n_members"].to_list() == [6] * 6


def test_exponential_averages_are_those_of_the_scores() -> None:
    scores = sn.example_scores()
    found = sn.averaging_gain(scores, **SIDES, how="ema", windows=4)
    smooth = sn.average_checkpoints(scores, window=4, how="ema")
    expected = sn.decision_accuracy(smooth, **SIDES)
    assert found["decision_accuracy"].to_list() == expected["decision_accuracy"].to_list()


def test_stopping_early_looks_at_nothing_later() -> None:
    scores = sn.example_scores()
    found = sn.averaging_gain(scores, **SIDES, windows=(1, 3), at=(0.5, 1.0))
    half = scores.filter((pl.col("params") > 2e8) | (pl.col("step") <= 6000))
    stopped = sn.averaging_gain(half, **SIDES, windows=(1, 3))
    same = [name for name in stopped.columns if name not in ("signature", "autocorrelation")]
    assert_frame_equal(found.filter(at=0.5).select(same), stopped.select(same))
    assert_frame_equal(
        found.filter(at=1.0).select(same), sn.averaging_gain(scores, **SIDES, windows=(1, 3)).select(same)
    )
    by_step = sn.averaging_gain(scores, **SIDES, windows=(1, 3), at=6000, order="step")
    assert_frame_equal(by_step.select(same), stopped.select(same))


def test_limits_of_a_gain_leave_out_each_member() -> None:
    scores, _ = sn.simulate(tasks=1, recipes=9, params=(1e8, 1e9), checkpoints=8, step_noise=0.03)
    sides = {"small": "params = 100000000", "target": "params = 1000000000"}
    row = sn.averaging_gain(scores, **sides, windows=4).row(0, named=True)
    recipes = scores["recipe"].unique().sort().to_list()
    left_out = [
        sn.averaging_gain(scores.filter(pl.col("recipe") != r), **sides, windows=4)["gain"][0]
        for r in recipes
    ]
    stderr = np.sqrt(8 / 9 * np.sum((np.array(left_out) - np.mean(left_out)) ** 2))
    assert row["gain_high"] - row["gain"] == pytest.approx(2.306004135 * stderr)


def test_sides_and_points_make_rows() -> None:
    table = sn.averaging_gain(
        sn.example_scores(),
        **SIDES,
        side=("small", "both"),
        at=(0.5, 1.0),
        windows=(1, 2),
        where="task = 'sim_arc'",
    )
    assert table.columns[:5] == ["task", "metric", "side", "at", "window"]
    assert table.select("side", "at", "window").rows() == [
        (side, at, window) for side in ("small", "both") for at in (0.5, 1.0) for window in (1, 2)
    ]


# --- choice --------------------------------------------------------------------------------------


def averaged(x: np.ndarray) -> np.ndarray:
    return np.stack([x[:, -window:].mean(axis=1) for window in WINDOWS])


def planted(rng: np.random.Generator, members: int) -> tuple[np.ndarray, np.ndarray]:
    truth = rng.standard_normal(members)
    near = np.sqrt(0.9) * truth + np.sqrt(0.1) * rng.standard_normal(members)
    return tuple(x[:, None] + 0.3 * rng.standard_normal((members, 11)) for x in (near, truth))


def test_the_cross_fitted_gain_is_that_of_the_rule_on_fresh_members() -> None:
    rng = np.random.default_rng(3)
    members, studies = 12, 150
    fresh = []
    for _ in range(1500):
        small, target = planted(rng, members // 2)
        values = agreement_values(averaged(small), averaged(target))(np.ones((1, members // 2), dtype=bool))
        fresh.append(values[:, 0] - values[0, 0])
    by_window = np.mean(fresh, axis=0)
    gains, in_sample, true, covered = [], [], [], []
    for study in range(studies):
        choosing, evaluating = (
            agreement_values(*(averaged(x[:, part]) for x in sides))
            for sides in [planted(rng, members)]
            for part in (slice(0, 5), slice(6, 11))
        )
        fit = cross_fitted(choosing, evaluating, random_halves(members, 10, 0, 1, study))
        gains.append(fit.gain)
        in_sample.append(fit.in_sample)
        true.append(by_window[fit.chosen].mean())
        margin = t_margin(jackknife_stderr(fit.left_out), np.array([members]), 0.95)[0]
        covered.append(abs(fit.gain - np.mean(true)) <= margin)
    error = np.std(np.array(gains) - np.array(true)) / np.sqrt(studies)
    assert abs(np.mean(gains) - np.mean(true)) < 3 * error
    assert np.mean(in_sample) > np.mean(true) + 5 * error
    assert np.mean(covered) > 0.9


def test_no_gain_is_claimed_where_scores_are_nothing_but_noise() -> None:
    rng = np.random.default_rng(2)
    claims, gains = 0, []
    for study in range(150):
        small, target = rng.standard_normal((2, 10, 11))
        choosing, evaluating = (
            agreement_values(averaged(small[:, part]), averaged(target[:, part]))
            for part in (slice(0, 5), slice(6, 11))
        )
        fit = cross_fitted(choosing, evaluating, random_halves(10, 10, 0, 1, study))
        margin = t_margin(jackknife_stderr(fit.left_out), np.array([10]), 0.95)[0]
        claims += fit.gain - margin > 0
        gains.append((fit.gain, fit.in_sample))
    assert claims <= 150 * 0.05
    out_of_sample, in_sample = np.mean(gains, axis=0)
    assert abs(out_of_sample) < 0.03
    assert in_sample > 0.1


def test_choice_with_a_plain_answer() -> None:
    scores, _ = sn.simulate(
        tasks=["noisy", "quiet"], recipes=16, params=(1e8, 1e9), checkpoints=30, step_noise=[0.03, 1e-6]
    )
    sides = {"small": "params = 100000000", "target": "params = 1000000000"}
    table = sn.choose_window(scores, **sides)
    noisy, quiet = table.sort("task").iter_rows(named=True)
    assert noisy["window"] > 1
    assert noisy["gain"] > 0.05
    assert noisy["gain_in_sample"] - noisy["gain"] == pytest.approx(noisy["optimism"])
    assert (quiet["window"], quiet["window_share"], quiet["gain"]) == (1, 1.0, 0.0)
    assert quiet["gain_low"] is None
    by_snr = sn.choose_window(scores, by=("task", "metric", "params"), split="members")
    assert by_snr["measure"].unique().to_list() == ["snr"]
    assert by_snr["candidates"][0].to_list() == [1, 2, 3, 5, 10]
    assert (by_snr["gain"] > 0.7).all()  # log sqrt(10) is 1.15


def test_the_choice_never_sees_the_evaluated_checkpoints() -> None:
    scores, _ = sn.simulate(tasks=1, recipes=12, params=(1e8, 1e9), checkpoints=21, step_noise=0.02)
    sides = {"small": "params = 100000000", "target": "params = 1000000000"}
    # Checkpoint 11 stands between the blocks.
    middle = scores.with_columns(
        pl.when(pl.col("step") == 11_000).then(0.9).otherwise(pl.col("value")).alias("value")
    )
    assert_frame_equal(sn.choose_window(scores, **sides), sn.choose_window(middle, **sides))
    later = scores.with_columns(
        pl.when(pl.col("step") == 12_000)
        .then(pl.col("value") * 0.5)
        .otherwise(pl.col("value"))
        .alias("value")
    )
    # The oldest checkpoint of the evaluated block is part of no window up to 5.
    few = {"windows": (1, 2, 5), **sides}
    assert_frame_equal(sn.choose_window(scores, **few), sn.choose_window(later, **few))


# --- order, undefined cases, wrong calls -----------------------------------------------------------


@pytest.mark.parametrize("verb", ["averaging_gain", "choose_window"])
def test_row_order_and_other_groups_change_nothing(verb: str) -> None:
    scores = sn.example_scores()
    function = getattr(sn, verb)
    found = function(scores, **SIDES)
    shuffled = function(scores.sample(fraction=1.0, shuffle=True, seed=1), **SIDES, threads=2)
    assert found.equals(shuffled)
    one = function(scores, **SIDES, where="task = 'sim_paloma'")
    assert_frame_equal(found.filter(task="sim_paloma"), one)


def test_undefined() -> None:
    short = sn.averaging_gain(curves({"a": [0.1, 0.2, 0.4], "b": [0.3, 0.2, 0.5]}), windows=(1, 2))
    assert short["status"].to_list() == ["ok", "too_few"]
    assert short["noise_absolute"][1] is None
    assert short["snr"][1] is None
    assert short["expected_independent"][1] == pytest.approx(short["noise_absolute"][0] / np.sqrt(2))
    assert "few_checkpoints" in short["flags"][1]
    alone = sn.averaging_gain(curves({"a": [0.1, 0.2, 0.4, 0.2]}), windows=2).row(0, named=True)
    assert (alone["status"], alone["signal"], alone["snr"]) == ("too_few", None, None)
    assert alone["noise_ratio"] is not None
    flat = sn.averaging_gain(curves({"a": [0.1] * 9, "b": [0.3] * 9}), windows=(1, 3))
    assert flat["status"].to_list() == ["zero_noise"] * 2
    assert flat["snr"].null_count() == flat["noise_ratio"].null_count() == 2
    equal = sn.averaging_gain(curves({"a": [0.1, 0.2], "b": [0.1, 0.2]}), windows=1).row(0, named=True)
    assert (equal["status"], equal["signal"], equal["snr"]) == ("constant", 0.0, 0.0)
    zero = sn.averaging_gain(curves({"a": [-0.1, 0.1], "b": [0.1, -0.1]}), windows=1).row(0, named=True)
    assert (zero["status"], zero["noise"], zero["snr"]) == ("zero_mean", None, None)
    few = sn.choose_window(curves({name: [0.1, 0.2, 0.3, 0.2] for name in "abc"})).row(0, named=True)
    assert (few["status"], few["window"], few["gain"], few["optimism"]) == ("too_few", None, None, None)
    assert few["candidates"] == []
    with pytest.raises(sn.InsufficientDataError):
        sn.choose_window(curves({name: [0.1, 0.2, 0.3, 0.2] for name in "abc"}), strict=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"windows": ()}, "windows must be"),
        ({"windows": (0, 1)}, "windows must be a whole number of at least 1"),
        ({"windows": "3"}, "windows must be"),
        ({"how": "median"}, "how must be one of"),
        ({"last": 1}, "last must be"),
        ({"at": 0.0}, "at must be"),
        ({"at": float("nan")}, "at must be"),
        ({"side": "middle"}, "side must be one of"),
        ({"small": "params = 150000000"}, "small and target are both needed"),
        ({"match": "recipe"}, "match joins small and target"),
        ({"confidence_level": 95}, "confidence_level"),
    ],
)
def test_wrong_options(options: dict[str, Any], message: str) -> None:
    for verb in (sn.averaging_gain, sn.choose_window):
        with pytest.raises(sn.OptionError, match=message):
            verb(sn.example_scores(), **{"by": ("task", "metric", "params"), **options})


def test_wrong_options_of_one_verb() -> None:
    scores = sn.example_scores()
    with pytest.raises(sn.OptionError, match="at is empty"):
        sn.averaging_gain(scores, at=())
    with pytest.raises(sn.OptionError, match="one or several of"):
        sn.averaging_gain(scores, **SIDES, side=())
    with pytest.raises(sn.OptionError, match="needs small and target"):
        sn.choose_window(scores, measure="decision_accuracy")
    unknown = scores.with_columns(metric=pl.lit("wobble"))
    with pytest.raises(sn.UnknownMetricError):
        sn.averaging_gain(unknown, **SIDES)
