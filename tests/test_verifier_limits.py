"""The verb `verifier_limits`: every order of the samples, the law of independent tries, roles, a real dump."""

from __future__ import annotations

import itertools
import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

import signoise as sn
from signoise import reference
from signoise._sampling._verifier import correct_share, outcomes

STATISTICS = ("success", "false_positive", "abstention", "expected_tries")


def samples(items: dict[str, list[tuple[int, int]]], **extra: Any) -> pl.DataFrame:
    """Rows of samples ``(correct, passes)``."""
    return pl.DataFrame(
        [
            {
                "run": "m",
                "task": "code",
                "metric": "plus",
                "instance_id": item,
                "repeat": at,
                "value": float(correct),
                "base": float(passes),
            }
            for item, pairs in items.items()
            for at, (correct, passes) in enumerate(pairs)
        ]
    ).with_columns(**extra)


def simulated(items: int, n: int, seed: int = 0) -> pl.DataFrame:
    """Hard items have more false positives."""
    rng = np.random.default_rng(seed)
    ability = rng.random(items)
    correct = rng.random((items, n)) < ability[:, None]
    passes = correct | (rng.random((items, n)) < 0.4 * (1 - ability[:, None]))
    return samples({f"i{i:03}": list(zip(correct[i], passes[i], strict=True)) for i in range(items)})


def tall(rows: pl.DataFrame) -> pl.DataFrame:
    """Truth and verdict as two metrics."""
    base = rows.with_columns(pl.lit("base").alias("metric"), pl.col("base").alias("value"))
    return pl.concat([rows, base]).drop("base")


# --- estimates of an item ------------------------------------------------------------------------

PAIRS = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=6)


@given(pairs=PAIRS, tries=st.integers(1, 6))
@settings(max_examples=40)
def test_unbiased_estimates_are_means_over_all_orders(pairs: list[tuple[bool, bool]], tries: int) -> None:
    right = sum(c and p for c, p in pairs)
    wrong = sum(p and not c for c, p in pairs)
    found = outcomes(np.array([len(pairs)]), np.array([right]), np.array([wrong]), [tries], "unbiased")
    values = [x.item() for x in (found.success, found.false_positive, found.abstention, found.tries)]
    if tries > len(pairs):
        assert np.isnan(values).all()
    else:
        np.testing.assert_allclose(values, reference.verifier_returns(pairs, tries), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(("p", "f"), [(0.3, 0.2), (0.0, 0.4), (0.05, 0.0), (0.7, 0.3)])
def test_unbiased_for_the_law_of_independent_tries(p: float, f: float) -> None:
    """The exact expectation over what six samples of an item may show; that of the plug-in estimate is off."""
    n, tries = 6, [1, 3, 6]
    total = {"unbiased": np.zeros((4, 3)), "plug_in": np.zeros((4, 3))}
    for right, wrong in itertools.product(range(n + 1), repeat=2):
        if right + wrong > n:
            continue
        chance = math.comb(n, right) * math.comb(n - right, wrong)
        chance *= p**right * f**wrong * (1 - p - f) ** (n - right - wrong)
        for name in total:
            found = outcomes(np.array([n]), np.array([right]), np.array([wrong]), tries, name)  # type: ignore[arg-type]
            total[name] += chance * np.concatenate(
                [found.success, found.false_positive, found.abstention, found.tries]
            )
    law = np.transpose([reference.verifier_law(p, f, k) for k in tries])
    np.testing.assert_allclose(total["unbiased"], law, rtol=1e-12, atol=1e-14)
    assert (total["plug_in"][2, 1:] >= law[2, 1:] - 1e-15).all()
    if 0 < p + f < 1:
        assert total["plug_in"][2, 2] > law[2, 2] + 1e-3


@given(
    n=st.integers(1, 400),
    data=st.data(),
    estimator=st.sampled_from(["unbiased", "plug_in"]),
)
def test_identities(n: int, data: st.DataObject, estimator: Any) -> None:
    right = data.draw(st.integers(0, n))
    wrong = data.draw(st.integers(0, n - right))
    tries = list(range(n + 1))
    found = outcomes(np.array([n]), np.array([right]), np.array([wrong]), tries, estimator)
    np.testing.assert_allclose(found.success + found.false_positive + found.abstention, 1.0, rtol=1e-12)
    # One more try is made if all before were rejected.
    np.testing.assert_allclose(np.diff(found.tries[0]), found.abstention[0, :-1], rtol=1e-9, atol=1e-9)
    assert (np.diff(found.success[0]) >= -1e-12).all()
    ceiling = correct_share(np.array([right]), np.array([wrong])).item()
    assert found.success[0, -1] <= ceiling + 1e-12
    if estimator == "unbiased":
        assert found.success[0, -1] == pytest.approx(ceiling)
    assert (found.success[0, 0], found.abstention[0, 0], found.tries[0, 0]) == (0.0, 1.0, pytest.approx(0.0))


# --- the verb ------------------------------------------------------------------------------------


def test_means_over_items_and_utility() -> None:
    rows = simulated(60, 8)
    table = sn.verifier_limits(
        rows, passes="base", k=(1, 3, 8), wrong_cost=0.5, try_cost=0.02, n_resamples=100
    )
    items = [
        [(c == 1, p == 1) for c, p in part.select("value", "base").iter_rows()]
        for part in rows.partition_by("instance_id", maintain_order=True)
    ]
    share = [sum(c and p for c, p in pairs) / max(sum(p for _, p in pairs), 1) for pairs in items]
    for row in table.iter_rows(named=True):
        if row["k"] < 4:
            expected = np.mean([reference.verifier_returns(pairs, row["k"]) for pairs in items], axis=0)
            assert [row[name] for name in STATISTICS] == pytest.approx(expected.tolist())
        else:
            assert row["success"] == pytest.approx(np.mean(share))
        gain = row["success"] - 0.5 * row["false_positive"] - 0.02 * row["expected_tries"]
        assert row["utility"] == pytest.approx(gain)
        assert row["utility_low"] < row["utility"] < row["utility_high"]
        assert (row["n_items"], row["n_samples_min"], row["status"]) == (60, 8, "ok")
    passing = sum(any(p for _, p in pairs) for pairs in items)
    assert table["n_passing"].unique().to_list() == [passing]
    one = table.row(0, named=True)
    assert (one["success"], one["expected_tries"]) == (pytest.approx(rows["value"].mean()), 1.0)


def test_limits_are_those_of_bootstrap() -> None:
    rows = simulated(60, 5, seed=3)
    table = sn.verifier_limits(rows, passes="base", k=1, n_resamples=300)
    wrong = rows.with_columns(value=pl.col("base") * (1 - pl.col("value"))).drop("base")
    other = sn.bootstrap(wrong, method="bca", n_resamples=300)
    for name, theirs in (
        ("false_positive", "value"),
        ("false_positive_low", "low"),
        ("false_positive_high", "high"),
    ):
        assert table[name].item() == pytest.approx(
            other[theirs].item(), abs=2e-3
        )  # BCa counts ties, which rounding breaks


def test_roles_as_metrics_filters_and_columns_agree() -> None:
    rows = simulated(30, 4, seed=1)
    expected = sn.verifier_limits(rows, passes="base", n_resamples=50)
    assert expected["k"].to_list() == [1, 2]
    both = tall(rows)
    options: dict[str, Any] = {"n_resamples": 50}
    found = [
        sn.verifier_limits(both, correct="plus", passes="base", **options),
        sn.verifier_limits(both, correct="metric = 'plus'", passes=pl.col("metric") == "base", **options),
        sn.verifier_limits(
            both.sample(fraction=1.0, shuffle=True, seed=2), correct="plus", passes="base", **options
        ),
        sn.verifier_limits(
            rows.with_columns(pl.col("base").cast(pl.Boolean)), passes="base", correct="plus", **options
        ),
    ]
    for table in found:
        assert_frame_equal(table.drop("signature"), expected.drop("signature"))
    named = both.with_columns(
        task=pl.col("metric").replace({"base": "code", "plus": "code+"}), metric=pl.lit("acc")
    )
    by_task = sn.verifier_limits(named, correct="task = 'code+'", passes="task = 'code'", **options)
    assert by_task["task"].unique().to_list() == ["code+"]
    assert_frame_equal(by_task.select(STATISTICS), expected.select(STATISTICS))


def test_the_optimum() -> None:
    rows = simulated(80, 12, seed=5)
    tables = {
        cost: sn.verifier_limits(
            rows, passes="base", per="optimum", wrong_cost=1.0, try_cost=cost, n_resamples=200
        )
        for cost in (0.0, 0.05, 2.0)
    }
    curve = sn.verifier_limits(
        rows, passes="base", k=list(range(1, 13)), wrong_cost=1.0, try_cost=0.05, n_resamples=2
    )
    best = curve.sort("utility", descending=True).row(0, named=True)
    row = tables[0.05].row(0, named=True)
    assert (row["best_k"], row["utility"]) == (best["k"], pytest.approx(best["utility"]))
    assert row["best_k_low"] <= row["best_k"] <= row["best_k_high"]
    assert row["utility_low"] < row["utility"] < row["utility_high"]
    assert row["ceiling"] == pytest.approx(curve["success"][-1])
    assert row["precision"] == pytest.approx(row["ceiling"] * row["n_items"] / row["n_passing"])
    # A try that costs more than it can gain is better not made; a free one of a good verifier always is.
    dear = tables[2.0].row(0, named=True)
    assert (dear["best_k"], dear["utility"], dear["best_k_high"]) == (0, 0.0, 0)
    free = sn.verifier_limits(rows, passes="base", per="optimum", n_resamples=50).row(0, named=True)
    assert (free["status"], free["best_k_low"]) == ("at_bound", None)
    assert free["utility"] == pytest.approx(free["ceiling"])


def test_more_tries_do_not_beat_the_ceiling() -> None:
    """An item that never passes correctly drags success down for ever, and items without a pass abstain."""
    rows = samples({"good": [(1, 1), (0, 0)] * 4, "bad": [(0, 1), (0, 0)] * 4, "none": [(0, 0)] * 8})
    table = sn.verifier_limits(rows, passes="base", k=(1, 8), n_resamples=50)
    assert table["success"].to_list() == pytest.approx([0.5 / 3, 1 / 3])
    assert table["false_positive"].to_list() == pytest.approx([0.5 / 3, 1 / 3])
    assert table["abstention"].to_list() == pytest.approx([2 / 3, 1 / 3])
    assert table["expected_tries"].to_list() == pytest.approx([1, (9 / 5 + 9 / 5 + 8) / 3])
    best = sn.verifier_limits(rows, passes="base", per="optimum", n_resamples=50).row(0, named=True)
    assert (best["ceiling"], best["precision"], best["n_passing"]) == (
        pytest.approx(1 / 3),
        pytest.approx(1 / 2),
        2,
    )
    assert (best["best_k"], best["status"]) == (5, "at_bound")  # one of any five passes, if one does at all
    silent = sn.verifier_limits(samples({"a": [(0, 0)] * 3, "b": [(1, 0)] * 3}), passes="base", k=3).row(
        0, named=True
    )
    assert [silent[name] for name in STATISTICS] == [0.0, 0.0, 1.0, 3.0]
    assert (silent["status"], silent["success_low"]) == ("constant", None)


def test_beyond_the_samples() -> None:
    rows = simulated(30, 4, seed=1).filter((pl.col("instance_id") != "i003") | (pl.col("repeat") < 2))
    table = sn.verifier_limits(rows, passes="base", k=(2, 3, 50), n_resamples=50)
    assert table["status"].to_list() == ["ok", "too_few_samples", "too_few_samples"]
    assert table["success"].null_count() == 2
    plug = sn.verifier_limits(rows, passes="base", k=(2, 3, 50), estimator="plug_in", n_resamples=50)
    assert plug["status"].to_list() == ["ok"] * 3
    assert plug["success"].is_sorted()
    best = sn.verifier_limits(rows, passes="base", per="optimum", k=5, n_resamples=50)
    assert best.select("best_k", "utility", "status").row(0) == (None, None, "too_few_samples")
    hopeless = rows.with_columns(base=pl.col("base") * (pl.col("instance_id") != "i001"))
    best = sn.verifier_limits(
        hopeless, passes="base", per="optimum", k=500, estimator="plug_in", try_cost=0.01, n_resamples=50
    )
    assert best["status"].item() == "ok"
    assert 2 < best["best_k"].item() < 100


def test_scores_or_verdicts_alone_are_left_out() -> None:
    both = tall(simulated(30, 4, seed=1))
    lost = both.filter(~((pl.col("metric") == "base") & (pl.col("instance_id") == "i000")))
    with pytest.warns(
        sn.DroppedRowsWarning, match="4 scores without a verdict and 0 verdicts without a score"
    ):
        found = sn.verifier_limits(lost, correct="plus", passes="base", n_resamples=50)
    assert found["n_items"].unique().to_list() == [29]
    gaps = simulated(30, 4, seed=1).with_columns(
        base=pl.when((pl.col("instance_id") == "i000") & (pl.col("repeat") == 1)).then(None).otherwise("base")
    )
    with pytest.warns(sn.DroppedRowsWarning, match="1 samples without a verdict"):
        found = sn.verifier_limits(gaps, passes="base", k=4, n_resamples=50)
    assert found.select("n_samples_min", "status").row(0) == (3, "too_few_samples")


def test_refusals() -> None:
    rows = simulated(5, 3)
    both = tall(rows)
    for options, message in (
        ({"passes": "base", "k": 0}, "k must be a whole number of at least 1"),
        ({"passes": "base", "per": "best"}, "per must be one of"),
        ({"passes": "base", "per": "optimum", "k": (1, 2)}, "one number"),
        ({"passes": "base", "wrong_cost": -1.0}, "wrong_cost must be a finite number of at least 0"),
        ({"passes": "bass"}, "correct must say which rows hold the truth"),
        ({"passes": "base", "estimator": "plugin"}, "did you mean 'plug_in'"),
    ):
        with pytest.raises(sn.OptionError, match=message):
            sn.verifier_limits(rows, **options)  # type: ignore[arg-type]
    with pytest.raises(
        sn.SchemaError, match="passes: no row of a sample is bass; look at the values of metric"
    ):
        sn.verifier_limits(both, correct="plus", passes="bass")
    with pytest.raises(sn.OptionError, match="both mean some rows"):
        sn.verifier_limits(both, correct="plus", passes="metric like '%'")
    with pytest.raises(sn.OptionError, match="several verdicts of one sample"):
        sn.verifier_limits(
            pl.concat(
                [
                    both,
                    both.filter(metric="base").with_columns(
                        metric=pl.lit("base2"), value=1 - pl.col("value")
                    ),
                ]
            ),
            correct="plus",
            passes="metric like 'base%'",
        )
    with pytest.raises(sn.SchemaError, match="no sample has a score and a verdict that agree on"):
        sn.verifier_limits(
            both.with_columns(filter=pl.col("metric")), correct="metric = 'plus'", passes="metric = 'base'"
        )
    with pytest.raises(sn.SchemaError, match=r"verdicts are 0 or 1, got 0\.5"):
        sn.verifier_limits(rows.with_columns(base=pl.lit(0.5)), passes="base")
    with pytest.raises(sn.InsufficientDataError, match="too_few_samples"):
        sn.verifier_limits(rows, passes="base", k=9, strict=True)


def test_base_tests_as_verifier_of_a_dump(shared: Path) -> None:
    dump = shared / "data" / "dumps" / "code_handmade" / "evalplus"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", sn.SignoiseWarning)
        rows = sn.scan_scores(dump).filter(pl.col("instance_id").is_not_null()).collect()
        table = sn.verifier_limits(
            dump, correct="task = 'humaneval+'", passes="task = 'humaneval'", n_resamples=50
        )
    rates = dict(rows.group_by("task").agg(pl.col("value").mean()).iter_rows())
    # One sample a problem; the extra tests are run after the base tests passed.
    assert table.select("task", "k").row(0) == ("humaneval+", 1)
    assert table["success"].item() == pytest.approx(rates["humaneval+"])
    assert table["false_positive"].item() == pytest.approx(rates["humaneval"] - rates["humaneval+"])
