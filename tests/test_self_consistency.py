"""The verb `self_consistency`: votes of all subsets written out, ties, limits, answers as samples and as counts."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

import signoise as sn
from signoise import reference
from signoise._sampling._majority import Votes, majority

ANSWERS = st.lists(st.sampled_from([None, "a", "b", "c", "d"]), min_size=1, max_size=8)


def votes_of(answers: list[str | None], right: set[str]) -> Votes:
    names = sorted({answer for answer in answers if answer is not None})
    counts = np.array([answers.count(name) for name in names], dtype=np.int64)
    return Votes(counts, np.array([name in right for name in names], dtype=bool), len(answers))


def samples(items: dict[str, str], right: str = "x", **extra: Any) -> pl.DataFrame:
    """Rows of samples from texts of one-letter answers by item; ``-`` is none."""
    return pl.DataFrame(
        [
            {
                "run": "m",
                "task": "sums",
                "metric": "acc",
                "instance_id": item,
                "repeat": at,
                "answer": None if letter == "-" else letter,
                "value": float(letter == right),
            }
            for item, text in items.items()
            for at, letter in enumerate(text)
        ],
        schema_overrides={"answer": pl.String},
    ).with_columns(**extra)


def simulated(items: int, n: int, seed: int = 0) -> dict[str, str]:
    rng = np.random.default_rng(seed)
    out = {}
    for item in range(items):
        p = rng.dirichlet(np.ones(4))
        out[f"i{item:03}"] = "".join(rng.choice(list("xyz-"), size=n, p=p))
    return out


# --- the vote of an item -------------------------------------------------------------------------


@given(answers=ANSWERS, right=st.sets(st.sampled_from("abcd")), ties=st.sampled_from(["uniform", "half"]))
@settings(max_examples=60)
def test_votes_of_all_subsets(answers: list[str | None], right: set[str], ties: Any) -> None:
    tries = list(range(1, len(answers) + 2))
    found = majority(votes_of(answers, right), tries, ties, None)
    expected = [reference.majority_vote(answers, right, k, ties) for k in tries[:-1]]
    np.testing.assert_allclose(found[:-1], expected, rtol=1e-11, atol=1e-13)
    assert np.isnan(found[-1])


def test_random_orders_agree_with_all_subsets() -> None:
    votes = votes_of([*list("aaabbbcd"), None, None], {"b", "d"})
    tries = [1, 2, 5, 9, 10]
    u = np.random.default_rng(1).random((20_000, 10))
    for ties in ("uniform", "half"):
        exact, drawn = (majority(votes, tries, ties, orders) for orders in (None, u))  # type: ignore[arg-type]
        np.testing.assert_allclose(drawn, exact, atol=4 * 0.5 / math.sqrt(20_000))


def test_two_answers_are_binomial_voting() -> None:
    """With right and wrong alone an odd vote is hypergeometric: more than half of the sample is right."""
    right, wrong = 60, 40
    votes = Votes(np.array([right, wrong]), np.array([True, False]), 100)
    for k in (1, 7, 31):
        expected = sum(
            math.comb(right, s) * math.comb(wrong, k - s) / math.comb(100, k)
            for s in range(k // 2 + 1, k + 1)
        )
        assert majority(votes, [k], "uniform", None).item() == pytest.approx(expected, rel=1e-12)


def test_unbiased_for_the_vote_of_new_samples() -> None:
    """The mean over tables of n samples is the vote of k samples of the item's own distribution."""
    p, right, k, n = [0.5, 0.3, 0.2], {"a"}, 3, 6
    draws = list(np.ndindex(*(3,) * k))
    truth = sum(
        math.prod(p[i] for i in draw) * reference.majority_vote(["abc"[i] for i in draw], right, k)
        for draw in draws
    )
    total = 0.0
    for table in np.ndindex(*(3,) * n):
        chance = math.prod(p[i] for i in table)
        total += chance * majority(votes_of(["abc"[i] for i in table], right), [k], "uniform", None).item()
    assert total == pytest.approx(truth, rel=1e-10)


def test_rate_is_no_curve_but_its_slope_in_the_end() -> None:
    votes = Votes(np.array([60, 40]), np.array([True, False]), 100)
    rate = votes.rate()
    assert rate == pytest.approx(-math.log(1 - (math.sqrt(0.6) - math.sqrt(0.4)) ** 2))

    def log_error(k: int) -> float:
        wrong = sum(math.comb(k, s) * 0.6**s * 0.4 ** (k - s) for s in range((k + 1) // 2))
        return math.log(wrong)

    assert -log_error(101) / 101 > 1.5 * rate
    assert log_error(801) - log_error(1001) == pytest.approx(200 * rate, rel=0.15)
    assert math.isinf(Votes(np.array([5]), np.array([True]), 5).rate())
    assert math.isnan(Votes(np.array([], dtype=np.int64), np.array([], dtype=bool), 5).rate())


# --- the verb ------------------------------------------------------------------------------------


def test_means_over_items() -> None:
    items = simulated(40, 9)
    table = sn.self_consistency(samples(items), k=(1, 3, 9), n_resamples=100)
    votes = {
        k: [
            reference.majority_vote([None if a == "-" else a for a in text], {"x"}, k)
            for text in items.values()
        ]
        for k in (1, 3, 9)
    }
    for row in table.iter_rows(named=True):
        assert row["majority"] == pytest.approx(np.mean(votes[row["k"]]))
        assert row["low"] < row["majority"] < row["high"]
        assert row["single"] == pytest.approx(np.mean([text.count("x") / 9 for text in items.values()]))
        assert row["limit"] == pytest.approx(np.mean(votes[9]))
        assert (row["n_items"], row["n_samples_min"], row["n_simulated"]) == (40, 9, 0)
    assert table["majority"][0] == pytest.approx(table["single"][0])
    assert sn.self_consistency(samples(items), n_resamples=10)["k"].to_list() == [1, 2, 4, 8, 9]


def test_limits_are_those_of_bootstrap() -> None:
    items = simulated(40, 7, seed=2)
    table = sn.self_consistency(samples(items), k=3, n_resamples=200).row(0, named=True)
    values = pl.DataFrame(
        {
            "run": "m",
            "task": "sums",
            "metric": "acc",
            "instance_id": list(items),
            "value": [
                reference.majority_vote([None if a == "-" else a for a in t], {"x"}, 3)
                for t in items.values()
            ],
        }
    )
    other = sn.bootstrap(values, method="bca", n_resamples=200).row(0, named=True)
    for name in ("stderr", "low", "high"):
        assert table[name] == pytest.approx(other[name], rel=1e-6)


def test_samples_and_counts_agree() -> None:
    rows = samples(simulated(20, 8, seed=3))
    counts = (
        rows.group_by("run", "task", "metric", "instance_id", "answer")
        .agg(pl.len().alias("times"), pl.col("value").first())
        .sample(fraction=1.0, shuffle=True, seed=1)
    )
    expected = sn.self_consistency(rows, n_resamples=50)
    found = sn.self_consistency(counts, count="times", n_resamples=50)
    assert_frame_equal(found.drop("signature"), expected.drop("signature"))
    shuffled = sn.self_consistency(rows.sample(fraction=1.0, shuffle=True, seed=1), n_resamples=50)
    assert_frame_equal(shuffled, expected)
    renamed = sn.self_consistency(rows.rename({"answer": "extracted"}), answer="extracted", n_resamples=50)
    assert_frame_equal(renamed.drop("signature"), expected.drop("signature"))


def test_votes_fall_where_the_mode_is_wrong() -> None:
    table = sn.self_consistency(samples({"a": "xxxxxyyyz", "b": "xxxyyyyyz"}), k=(1, 5, 9), n_resamples=20)
    assert table["majority"].to_list()[-1] == 0.5
    assert table["limit"].to_list() == [0.5] * 3
    one = sn.self_consistency(samples({"b": "xxxyyyyyz"}), k=(1, 5, 9))
    assert one["majority"].is_sorted(descending=True)
    assert one["status"].to_list() == ["too_few"] * 3


def test_ties_and_silence() -> None:
    rows = samples({"tie": "xxyyzz", "none": "------", "one": "x-----"})
    found = {
        ties: sn.self_consistency(rows, k=(1, 6), ties=ties, n_resamples=20) for ties in ("uniform", "half")
    }
    assert found["uniform"]["majority"].to_list() == pytest.approx(
        [(1 / 3 + 0 + 1 / 6) / 3, (1 / 3 + 0 + 1) / 3]
    )
    assert found["half"]["majority"].to_list() == pytest.approx(
        [(1 / 3 + 0 + 1 / 6) / 3, (1 / 2 + 0 + 1) / 3]
    )


def test_a_row_an_item() -> None:
    table = sn.self_consistency(samples({"a": "xxxyyz--", "b": "--------", "c": "yyyyyyyy"}), per="item")
    assert table["instance_id"].to_list() == ["a", "b", "c"]
    assert table["n_answers"].to_list() == [3, 0, 1]
    assert table.select("first_share", "second_share").rows() == [(3 / 8, 2 / 8), (0, 0), (1, 0)]
    assert table["mode_right"].to_list() == [1.0, 0.0, 0.0]
    assert table["single"].to_list() == [3 / 8, 0.0, 0.0]
    rate = -math.log(1 - (math.sqrt(3 / 8) - math.sqrt(2 / 8)) ** 2)
    assert table["rate"].to_list() == [pytest.approx(rate), None, None]


def test_many_samples_are_ordered_at_random() -> None:
    rng = np.random.default_rng(0)
    answers = pl.DataFrame(
        [
            {
                "run": run,
                "task": "t",
                "metric": "acc",
                "instance_id": f"i{i}",
                "answer": a,
                "value": float(a == "x"),
                "times": int(c),
            }
            for run in ("m", "n")
            for i in range(6)
            for a, c in zip("xyz", rng.multinomial(1500, [0.4, 0.35, 0.25]), strict=True)
        ]
    )
    table = sn.self_consistency(answers, count="times", k=(1, 51, 1500), n_resamples=20)
    assert table["n_simulated"].unique().to_list() == [6]
    assert table["majority"][0] == pytest.approx(table["single"][0], abs=4 * 0.5 / math.sqrt(6 * 200))
    assert table["majority"].to_list()[1] > 0.5
    assert table["majority"].to_list()[2] == table["limit"][2]
    assert_frame_equal(
        sn.self_consistency(answers.filter(run="n"), count="times", k=(1, 51, 1500), n_resamples=20),
        table.filter(run="n"),
    )


def test_items_with_fewer_samples() -> None:
    rows = samples({"a": "xxyxx", "b": "xy", "c": "yyyyx"})
    table = sn.self_consistency(rows, k=(2, 3), n_resamples=20)
    assert table["status"].to_list() == ["ok", "too_few_samples"]
    assert table["majority"].null_count() == 1
    assert table["n_samples_min"].to_list() == [2, 2]
    with pytest.raises(sn.InsufficientDataError, match="too_few_samples"):
        sn.self_consistency(rows, k=3, strict=True)


def test_refusals() -> None:
    rows = samples({"a": "xxy", "b": "xyz"})
    with pytest.raises(sn.SchemaError, match=r"no column 'answr'; did you mean 'answer'.*join the answers"):
        sn.self_consistency(rows, answer="answr")
    with pytest.raises(sn.SchemaError, match="1 answers are both right and wrong, first 'x' of instance 'a'"):
        sn.self_consistency(
            rows.with_columns(
                value=pl.when((pl.col("instance_id") == "a") & (pl.col("repeat") == 0))
                .then(0.0)
                .otherwise("value")
            )
        )
    with pytest.raises(sn.SchemaError, match="1 items have right samples without an answer"):
        sn.self_consistency(
            rows.with_columns(
                answer=pl.when(pl.col("instance_id") == "a").then(None).otherwise("answer"),
                value=pl.when(pl.col("instance_id") == "b").then(0.0).otherwise(1.0),
            )
        )
    with pytest.raises(sn.SchemaError, match="must hold whole numbers"):
        sn.self_consistency(rows.with_columns(times=0.5), count="times")
    with pytest.raises(sn.SchemaError, match="add up their times"):
        sn.self_consistency(rows.with_columns(times=1), count="times")
    for options, message in (
        ({"k": 0}, "k must be a whole number of at least 1"),
        ({"ties": "drop"}, "ties must be one of"),
        ({"per": "items"}, "did you mean 'item'"),
        ({"n_orders": 0}, "n_orders must be"),
    ):
        with pytest.raises(sn.OptionError, match=message):
            sn.self_consistency(rows, **options)  # type: ignore[arg-type]
