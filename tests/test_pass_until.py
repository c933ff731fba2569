"""The verb `pass_until`: the rule and its estimator against every order of trials, laws on planted truth, refusals."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from scipy import optimize

import signoise as sn
from signoise import reference
from signoise._addresses import uniforms
from signoise._sampling._scale_laws import (
    acceleration_score,
    bends,
    curvatures,
    fit_mixture,
    item_laws,
    lines,
    rate_at,
)
from signoise._sampling._stopped import pass_rates, replayed, simulated

N = np.array([1e8, 2e8, 4e8, 8e8, 1.6e9])
X = np.log(N)
QUICK: dict[str, Any] = {"n_resamples": 100, "n_refits": 9}


def planted(
    items: int, *, seed: int, spread: float, bend: float = 0.0, budget: int = 300, alpha: float = 0.5
) -> tuple[Any, Any, Any]:
    """Successes, trials and rates of items that follow ``exp(-c N^-alpha)``, c lognormal, tried until 2 successes."""
    rng = np.random.default_rng(seed)
    f = rng.normal(0.8, spread, items)[:, None] - alpha * (X - X.mean()) - bend * bends(X)
    rates = rate_at(f)
    return *simulated(rates, np.full(rates.shape, budget), rng.random((*rates.shape, 2))), rates


def table(successes: Any, trials: Any, **extra: Any) -> pl.DataFrame:
    return pl.concat(
        pl.DataFrame(
            {
                "run": f"r{at}",
                "params": int(scale),
                "task": "code",
                "instance_id": [f"i{i:03}" for i in range(len(trials))],
                "trials": trials[:, at],
                "successes": successes[:, at],
            }
        )
        for at, scale in enumerate(N[: trials.shape[1]])
    ).with_columns(**extra)


def samples(outcomes: dict[str, str], **extra: Any) -> pl.DataFrame:
    """Rows of samples from texts of 0 and 1 by item."""
    return pl.DataFrame(
        [
            {
                "run": "a",
                "task": "t",
                "metric": "acc",
                "instance_id": item,
                "repeat": at,
                "value": float(mark),
            }
            for item, text in outcomes.items()
            for at, mark in enumerate(text)
        ]
    ).with_columns(**extra)


# --- the estimator -------------------------------------------------------------------------------


@given(
    items=st.lists(st.lists(st.booleans(), max_size=8), min_size=1, max_size=6),
    required=st.integers(1, 4),
    budget=st.none() | st.integers(1, 8),
)
def test_rule_and_estimators_equal_their_definitions(
    items: list[list[bool]], required: int, budget: int | None
) -> None:
    right = np.array([x for item in items for x in item], dtype=bool)
    offsets = np.concatenate([[0], np.cumsum([len(item) for item in items])]).astype(np.intp)
    successes, trials = replayed(right, offsets, required, budget)
    expected = [reference.pass_until_replay(item, required, budget) for item in items]
    assert list(zip(successes.tolist(), trials.tolist(), strict=True)) == expected
    for estimator in ("unbiased", "mle"):
        np.testing.assert_allclose(
            pass_rates(successes, trials, required, estimator),  # type: ignore[arg-type]
            [reference.pass_until_rate(s, n, required, estimator) for s, n in expected],
            rtol=1e-12,
        )


@pytest.mark.parametrize("required", [1, 2, 3])
@pytest.mark.parametrize("rate", [0.07, 0.5, 0.9])
def test_unbiased_over_all_orders_of_trials(required: int, rate: float) -> None:
    """The exact expectation over every sequence of seven trials is the pass rate; that of the mle is higher."""
    total = {"unbiased": 0.0, "mle": 0.0}
    for order in itertools.product([False, True], repeat=7):
        chance = np.prod([rate if right else 1 - rate for right in order])
        s, n = reference.pass_until_replay(list(order), required, 7)
        for name in total:
            total[name] += chance * reference.pass_until_rate(s, n, required, name)
    assert total["unbiased"] == pytest.approx(rate, abs=1e-12)
    assert total["mle"] > rate + 5e-4


@pytest.mark.parametrize("rate", [0.3, 0.05, 0.005])
@pytest.mark.parametrize("required", [1, 2, 5])
def test_unbiased_in_simulation(rate: float, required: int) -> None:
    n = 40_000
    u = uniforms(0, 1, required, n * required).reshape(n, required)
    successes, trials = simulated(np.full(n, rate), np.full(n, 400), u)
    found = pass_rates(successes, trials, required, "unbiased")
    assert abs(found.mean() - rate) < 3 * found.std() / np.sqrt(n)
    assert (successes < required).any() == (rate == 0.005)  # the budget takes part


def test_simulated_trials_follow_their_law() -> None:
    u = np.random.default_rng(0).random((20_000, 2))
    successes, trials = simulated(np.full(20_000, 0.2), np.full(20_000, 4), u)
    found = dict.fromkeys(itertools.product(range(3), range(5)), 0)
    for key in zip(successes.tolist(), trials.tolist(), strict=True):
        found[key] += 1
    for (s, n), count in found.items():
        orders = [
            o
            for o in itertools.product([0, 1], repeat=4)
            if reference.pass_until_replay(list(map(bool, o)), 2, 4) == (s, n)
        ]
        chance = sum(0.2 ** sum(o) * 0.8 ** (4 - sum(o)) for o in orders)
        assert count / 20_000 == pytest.approx(
            chance, abs=4 * np.sqrt(chance * (1 - chance) / 20_000) + 1e-12
        )
    assert simulated(np.array([0.0, 1.0]), np.array([9, 9]), np.full((2, 2), 0.5))[1].tolist() == [9, 2]


# --- a row a run ---------------------------------------------------------------------------------


def test_a_run_by_hand() -> None:
    found = sn.pass_until(samples({"x": "01001111", "y": "11", "z": "0001000000"}), n_resamples=50)
    row = found.row(0, named=True)
    assert row["pass_until"] == pytest.approx((1 / 4 + 1 / 1 + 1 / 10) / 3)
    assert (row["n_items"], row["n_stopped"], row["n_trials"]) == (3, 2, 5 + 2 + 10)
    assert row["log_log"] == pytest.approx(np.log(-np.log(0.45)))
    assert row["status"] == "ok"
    assert row["log_log_low"] == pytest.approx(np.log(-np.log(row["high"])))
    mle = sn.pass_until(samples({"x": "01001111", "y": "11", "z": "0001000000"}), estimator="mle", budget=4)
    assert mle["pass_until"].item() == pytest.approx((1 / 4 + 1 + 1 / 4) / 3)
    first = sn.pass_until(samples({"x": "01001111", "y": "11", "z": "0001000000"}), required=1)
    assert first["pass_until"].item() == pytest.approx(1 / 3)


def test_rows_lists_and_tables_agree() -> None:
    rng = np.random.default_rng(5)
    outcomes = {f"i{i:02}": "".join(map(str, (rng.random(12) < 0.3).astype(int))) for i in range(30)}
    rows = samples(outcomes, params=pl.lit(10))
    lists = pl.DataFrame(
        {
            "run": "a",
            "task": "t",
            "metric": "acc",
            "params": 10,
            "instance_id": list(outcomes),
            "outcomes": [[int(mark) for mark in text] for text in outcomes.values()],
        }
    )
    stopped = [reference.pass_until_replay([m == "1" for m in text], 2, 9) for text in outcomes.values()]
    counts = lists.drop("outcomes").with_columns(
        successes=pl.Series([s for s, _ in stopped]),
        trials=pl.Series([n for _, n in stopped]),
        censored=pl.Series([s < 2 for s, _ in stopped]),
    )
    expected = sn.pass_until(rows, budget=9)
    assert_frame_equal(sn.pass_until(rows.sample(fraction=1.0, shuffle=True, seed=1), budget=9), expected)
    assert_frame_equal(sn.pass_until(lists, budget=9), expected)
    assert_frame_equal(sn.pass_until(counts, budget=9), expected)
    assert expected["params"].item() == 10
    renamed = counts.rename({"trials": "K", "successes": "r"})
    declared = sn.pass_until(renamed, budget=9, columns={"K": "n_samples", "r": "n_correct"})
    assert_frame_equal(declared, expected)


def test_limits_are_those_of_bootstrap() -> None:
    successes, trials, _ = planted(80, seed=1, spread=1.0)
    scores = table(successes, trials)
    found = sn.pass_until(scores, n_resamples=300)
    values = scores.select(
        "run",
        "task",
        "instance_id",
        value=pl.when(pl.col("successes") == 2)
        .then(1 / (pl.col("trials") - 1))
        .otherwise(pl.col("successes") / pl.col("trials")),
    )
    other = sn.bootstrap(values, method="bca", n_resamples=300)
    for name, theirs in (("pass_until", "value"), ("stderr", "stderr"), ("low", "low"), ("high", "high")):
        np.testing.assert_allclose(found[name], other[theirs], rtol=1e-12)


def test_bounds_are_said() -> None:
    found = sn.pass_until(samples({"x": "000", "y": "0000"})).row(0, named=True)
    assert (found["pass_until"], found["log_log"], found["low"], found["status"]) == (
        0.0,
        None,
        None,
        "at_bound",
    )
    found = sn.pass_until(samples({"x": "111", "y": "11"})).row(0, named=True)
    assert (found["pass_until"], found["log_log"], found["high"], found["status"]) == (
        1.0,
        None,
        None,
        "at_bound",
    )
    found = sn.pass_until(samples({"x": "0101"})).row(0, named=True)
    assert (found["pass_until"], found["stderr"], found["status"]) == (1 / 3, None, "too_few")
    with pytest.raises(sn.InsufficientDataError, match="at_bound"):
        sn.pass_until(samples({"x": "000", "y": "0000"}), strict=True)


def test_missing_samples_are_left_out_and_counted() -> None:
    rows = samples({"x": "0101", "y": "110"}).with_columns(
        value=pl.when((pl.col("instance_id") == "x") & (pl.col("repeat") == 0)).then(None).otherwise("value")
    )
    found = sn.pass_until(rows).row(0, named=True)
    assert found["pass_until"] == pytest.approx((1 / 2 + 1) / 2)
    assert (found["n_missing"], "missing_values" in found["flags"]) == (1, True)


# --- laws ----------------------------------------------------------------------------------------


def test_lines_and_curvature_are_least_squares() -> None:
    f = np.random.default_rng(0).normal(size=(3, 5))
    for at, row in enumerate(f):
        slope, intercept = np.polyfit(X, row, 1)
        assert lines(X, f)[0][at] == pytest.approx(intercept)
        assert lines(X, f)[1][at] == pytest.approx(slope)
        assert curvatures(X, f)[at] == pytest.approx(2 * np.polyfit(X - X.mean(), row, 2)[0])


def test_item_laws_maximise_the_likelihood() -> None:
    successes, trials, _ = planted(12, seed=4, spread=0.7, budget=60)
    level, alpha = item_laws(successes, trials, X)

    def height(law: Any, item: int) -> float:
        f = law[0] - law[1] * (X - X.mean())
        return reference.pass_until_likelihood(
            successes[item].tolist(), trials[item].tolist(), np.clip(rate_at(f), 1e-300, 1 - 1e-12).tolist()
        )

    for item in range(12):
        own = level[item] - alpha[item] * X.mean(), alpha[item]
        best = optimize.minimize(lambda law, i=item: -height(law, i), own, method="Nelder-Mead")
        # The penalty that holds items without an optimum costs others next to nothing.
        assert height(own, item) > -best.fun - 0.02


def test_items_that_never_or_always_succeed_have_a_law() -> None:
    trials = np.array([[50, 50, 50, 50, 50], [2, 2, 2, 2, 2], [50, 50, 50, 50, 2]])
    successes = np.array([[0, 0, 0, 0, 0], [2, 2, 2, 2, 2], [0, 0, 0, 0, 2]])
    level, alpha = item_laws(successes, trials, X)
    rates = rate_at(level[:, None] - alpha[:, None] * X)
    assert (rates[0] < 0.01).all()
    assert (rates[1] > 0.99).all()
    assert rates[2, 0] < 1e-6
    assert np.isfinite(level).all()


def test_score_is_the_slope_of_the_likelihood() -> None:
    """By differences: the mixture's likelihood with a bend that all items share."""
    successes, trials, _ = planted(40, seed=2, spread=1.0)
    mixture = fit_mixture(successes, trials, X)

    def height(bend: float) -> float:
        f = mixture.level[:, None] - mixture.alpha * (X - X.mean()) - bend * bends(X)
        rates = np.clip(rate_at(f), 1e-250, 1 - 1e-13)
        total = 0.0
        for s, n in zip(successes.tolist(), trials.tolist(), strict=True):
            logs = [reference.pass_until_likelihood(s, n, row.tolist()) for row in rates]
            total += float(np.log(mixture.shares @ np.exp(np.array(logs) - max(logs))) + max(logs))
        return total

    slope = (height(1e-5) - height(-1e-5)) / 2e-5
    assert acceleration_score(successes, trials, mixture) == pytest.approx(slope, rel=1e-3)


def test_mixture_finds_the_instance_law_that_the_task_law_misses() -> None:
    successes, trials, rates = planted(300, seed=8, spread=1.5)
    scores = table(successes, trials)
    row = sn.pass_until(scores, per="law", n_resamples=200, n_refits=20).row(0, named=True)
    assert row["status"] == "ok"
    assert row["instance_alpha_low"] < 0.5 < row["instance_alpha_high"]
    assert row["alpha_high"] < 0.4  # the mean over items is flatter than each of them
    assert row["curvature_mixture"] < 0  # and concave without any acceleration
    assert row["p_value"] > 0.05
    np.testing.assert_allclose(fit_mixture(successes, trials, X).mean_rates(X), rates.mean(axis=0), atol=0.04)


def test_emergence_is_seen_where_all_items_accelerate() -> None:
    straight, bent = (planted(150, seed=3, spread=1.0, bend=bend)[:2] for bend in (0.0, 0.15))
    none = sn.pass_until(table(*straight), per="law", n_resamples=50, n_refits=19).row(0, named=True)
    some = sn.pass_until(table(*bent), per="law", n_resamples=50, n_refits=19).row(0, named=True)
    assert none["p_value"] > 0.05
    assert some["p_value"] == pytest.approx(1 / 20)
    assert some["z"] > 3 > abs(none["z"])


def test_predictions() -> None:
    successes, trials, _ = planted(200, seed=9, spread=1.0)
    _, _, further = planted(200, seed=9, spread=1.0)
    scores = table(successes[:, :4], trials[:, :4])
    found = sn.pass_until(scores, per="prediction", predict=(N[4], N[0]), n_resamples=200, n_refits=20)
    assert found["params"].to_list() == [N[0], N[4]]
    assert found["scale_ratio"].to_list() == pytest.approx([1 / 8, 2.0])
    truth = further[:, [0, 4]].mean(axis=0)
    for law in ("task_law", "mixture"):
        assert (found[f"{law}_low"].to_numpy() < truth).all(), law
        assert (found[f"{law}_high"].to_numpy() > truth).all(), law
    level, alpha = item_laws(successes[:, :4], trials[:, :4], X[:4])
    own = rate_at(level[:, None] - alpha[:, None] * X[[0, 4]])
    np.testing.assert_allclose(found["ipu"], own.mean(axis=0), rtol=1e-9)
    f = sn.pass_until(scores)["log_log"].to_numpy()
    slope, intercept = np.polyfit(X[:4], f, 1)
    np.testing.assert_allclose(found["task_law"], rate_at(intercept + slope * X[[0, 4]]), rtol=1e-9)


def test_runs_at_a_bound_leave_the_task_law_but_not_the_instance_law() -> None:
    successes, trials, _ = planted(60, seed=11, spread=0.5)
    successes[:, 0], trials[:, 0] = 0, 300
    scores = table(successes, trials)
    row = sn.pass_until(scores, per="law", **QUICK).row(0, named=True)
    assert (row["n_runs"], row["n_at_bound"], row["status"]) == (5, 1, "ok")
    f = sn.pass_until(scores)["log_log"].to_numpy()[1:]
    assert row["alpha"] == pytest.approx(-np.polyfit(X[1:], f, 1)[0])
    never = sn.pass_until(table(np.zeros((9, 3), int), np.full((9, 3), 50)), per="law", **QUICK)
    assert never.select("alpha", "instance_alpha", "p_value", "status").row(0) == (
        None,
        None,
        None,
        "at_bound",
    )
    two = sn.pass_until(table(successes[:, 1:3], trials[:, 1:3]), per="law", **QUICK).row(0, named=True)
    assert two["status"] == "too_few"
    assert (two["curvature"], two["p_value"]) == (None, None)
    assert two["alpha"] is not None


def test_groups_items_and_clusters() -> None:
    successes, trials, _ = planted(40, seed=12, spread=0.7)
    one = table(successes, trials)
    other = one.filter(~((pl.col("run") == "r0") & (pl.col("instance_id") < "i005"))).with_columns(
        task=pl.lit("b")
    )
    found = sn.pass_until(pl.concat([other, one]), per="law", **QUICK)
    assert found["task"].to_list() == ["b", "code"]
    assert found.select("n_items", "n_unmatched").rows() == [(35, 5), (40, 0)]
    assert "unmatched" in found["flags"][0]
    alone = sn.pass_until(one, per="law", **QUICK)
    assert_frame_equal(found.filter(task="code"), alone)
    pairs = one.with_columns(cluster=pl.col("instance_id").str.slice(0, 3))
    clustered = sn.pass_until(pairs, per="law", **QUICK)
    assert clustered["alpha"].item() == pytest.approx(alone["alpha"].item())
    assert clustered["alpha_low"].item() != alone["alpha_low"].item()


# --- refusals ------------------------------------------------------------------------------------


def test_samples_stopped_by_another_rule_are_refused() -> None:
    early = samples({f"i{i}": "0" * i + "1" for i in range(8)})
    with pytest.raises(sn.SchemaError, match="sampled until 1; say so with required=1"):
        sn.pass_until(early)
    assert sn.pass_until(early, required=1)["pass_until"].item() == pytest.approx(1 / 8)
    counts = table(np.array([[3], [2]]), np.array([[10], [5]]))
    with pytest.raises(sn.SchemaError, match=r"1 items, first 'i000', have more than 2 successes.*pass_at_k"):
        sn.pass_until(counts)
    with pytest.raises(
        sn.SchemaError, match="first 'i001', have fewer than 3 successes and were not censored"
    ):
        sn.pass_until(counts.with_columns(censored=False), required=3)
    with pytest.raises(sn.SchemaError, match="more trials than the budget of 6"):
        sn.pass_until(counts, required=3, budget=6)


def test_options_and_scales_are_checked() -> None:
    rows = samples({"x": "0101", "y": "0110"})
    for options, message in (
        ({"required": 0}, "required must be a whole number of at least 1"),
        ({"budget": 0}, "budget must be"),
        ({"estimator": "unbaised"}, "did you mean 'unbiased'"),
        ({"per": "laws"}, "did you mean 'law'"),
        ({"predict": (1e9,)}, 'predict is for per="prediction"'),
        ({"per": "prediction"}, "which needs it"),
        ({"per": "prediction", "predict": (0,)}, "finite scales above 0"),
        ({"n_refits": 1}, "n_refits must be"),
    ):
        with pytest.raises(sn.OptionError, match=message):
            sn.pass_until(rows, **options)  # type: ignore[arg-type]
    with pytest.raises(
        sn.SchemaError, match="laws need the scale of each run, and the table has no column 'params'"
    ):
        sn.pass_until(rows, per="law")
    with pytest.raises(sn.SchemaError, match="1 runs, first 'a', have no flops above 0"):
        sn.pass_until(rows.with_columns(flops=0.0), per="law", scale="flops")
    with pytest.raises(sn.SchemaError, match="right \\(1\\) or wrong \\(0\\)"):
        sn.pass_until(rows.with_columns(value=pl.lit(0.5)))


def test_sorted_samples_are_no_sampling_order() -> None:
    rng = np.random.default_rng(3)
    right = (rng.random((60, 12)) < rng.random((60, 1))).astype(int)
    drawn = {f"i{i:02}": "".join(map(str, row)) for i, row in enumerate(right)}
    ordered = {item: "".join(sorted(text, reverse=True)) for item, text in drawn.items()}
    assert sn.pass_until(samples(drawn), n_resamples=50)["status"].item() == "ok"
    row = sn.pass_until(samples(ordered), n_resamples=50).row(0, named=True)
    assert (row["status"], row["pass_until"] > right.mean() + 0.1) == ("order_not_random", True)
    # Samples that the rule itself stopped say nothing of their order.
    stopped = {
        item: text[: sum(reference.pass_until_replay([m == "1" for m in text], 2)[1:])]
        for item, text in drawn.items()
    }
    assert sn.pass_until(samples(stopped), n_resamples=50)["status"].item() == "ok"
