"""`decision_accuracy`: brute force over pairs, every rule and score, what joins the sides and what is left out."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from itertools import combinations, product
from statistics import fmean
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from scipy import stats

import plain
import signoise as sn
from strategies import score_tables

SMALL, TARGET = 150_000_000, 1_000_000_000
SIDES: dict[str, Any] = {"small": f"params = {SMALL}", "target": f"params = {TARGET}"}
TIES = ("half", "drop", "zero", "compat")


def quiet(verb: Any, *args: Any, **kwargs: Any) -> pl.DataFrame:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", sn.SignoiseWarning)
        return verb(*args, **kwargs)


def only(frame: pl.DataFrame) -> dict[str, Any]:
    assert frame.height == 1, frame
    return frame.row(0, named=True)


def sign(x: float) -> int:
    return (x > 0) - (x < 0)


def brute(a: list[float], b: list[float], ties: str) -> dict[str, Any]:
    """Every pair in turn; members in lexical order of their key."""
    points, tied, concordant, discordant = [], 0, 0, 0
    for i, j in combinations(range(len(a)), 2):
        x, y = sign(a[i] - a[j]), sign(b[i] - b[j])
        tied += x == 0 or y == 0
        concordant += x * y > 0
        discordant += x * y < 0
        if ties == "compat":
            points.append(float((x > 0) == (y > 0)))
        elif x == 0 or y == 0:
            if ties == "half" or (ties == "zero" and x == y):
                points.append(0.5)
            elif ties == "zero":
                points.append(0.0)
        else:
            points.append(float(x == y))
    pairs = math.comb(len(a), 2)
    return {
        "n_members": len(a),
        "n_pairs": pairs,
        "n_ties": tied,
        "decision_accuracy": fmean(points) if points else None,
        "tau_a": (concordant - discordant) / pairs if pairs else None,
    }


def sides_of(
    frame: pl.DataFrame, by: list[str], match: tuple[str, ...], score: str, windows: tuple[int, int]
) -> dict[Any, tuple[list[float], list[float]]]:
    """Scores of the members that stand on both sides, higher is better, in lexical order."""
    rows = plain.distinct(frame)
    found: list[dict[Any, dict[Any, float]]] = []
    for params, window in zip((SMALL, TARGET), windows, strict=True):
        groups = plain.members_of(rows, by, match, window, lambda row, p=params: row["params"] == p)
        found.append(
            {
                group: {
                    member: (1 if group[by.index("metric")] == "acc" else -1)
                    * fmean(fmean(run.values) if score == "mean" else run.values[-1] for run in runs)
                    for member, runs in members.items()
                }
                for group, members in groups.items()
            }
        )
    out = {}
    for group in found[0]:
        both = sorted(found[0][group].keys() & found[1][group].keys())
        out[group] = tuple([side[group][member] for member in both] for side in found)
    return out


def near_ties(scores: list[float]) -> bool:
    return any(0 < abs(x - y) < 1e-9 for x, y in combinations(scores, 2))


scaled = score_tables(scales=True, seeds=False, min_runs=2)


@given(
    scores=scaled,
    score=st.sampled_from(("final", "mean")),
    windows=st.tuples(st.integers(1, 6), st.integers(1, 6)),
)
@pytest.mark.parametrize("ties", TIES)
def test_every_rule_against_brute_force(
    ties: str, scores: pl.DataFrame, score: str, windows: tuple[int, int]
) -> None:
    by = plain.identity(scores)
    found = quiet(
        sn.decision_accuracy,
        scores,
        by=by,
        score=score,
        ties=ties,
        window_small=windows[0],
        window_target=windows[1],
        **SIDES,
    )
    expected = sides_of(scores, by, ("recipe",), score, windows)
    assert found.height == len(expected)
    for row in found.iter_rows(named=True):
        a, b = expected[tuple(row[name] for name in by)]
        if near_ties(a) or near_ties(b):
            continue  # a mean may or may not be rounded into a tie
        want = brute(a, b, ties)
        for name in ("n_members", "n_pairs", "n_ties"):
            assert row[name] == want[name], name
        for name in ("decision_accuracy", "tau_a"):
            assert row[name] == (None if want[name] is None else pytest.approx(want[name], abs=1e-12)), name
        if len(a) >= 2:
            tau = stats.kendalltau(a, b).statistic
            assert row["tau_b"] == (None if math.isnan(tau) else pytest.approx(tau, abs=1e-12))
        if ties == "half" and row["tau_a"] is not None:
            assert row["decision_accuracy"] == pytest.approx((1 + row["tau_a"]) / 2, abs=1e-12)
        if row["low"] is not None:
            assert 0 <= row["low"] <= row["decision_accuracy"] <= row["high"] <= 1


def two(a: list[float], b: list[float], metric: str = "acc", **extra: Any) -> pl.DataFrame:
    """One checkpoint a member and side."""
    return pl.DataFrame(
        [
            {
                "run": f"{name}-{params}",
                "recipe": name,
                "params": params,
                "step": 1,
                "task": "t",
                "metric": metric,
                "value": value,
                **extra,
            }
            for params, side in ((SMALL, a), (TARGET, b))
            for name, value in zip("abcdefghijkl", side, strict=False)
        ],
        schema_overrides={"value": pl.Float64},
    )


# --- golden values -------------------------------------------------------------------------------------


def test_kendall_of_the_methods() -> None:
    row = only(sn.decision_accuracy(two([1, 2, 3, 4], [1, 3, 2, 4]), **SIDES))
    assert row["decision_accuracy"] == pytest.approx(5 / 6)
    assert row["tau_a"] == pytest.approx(2 / 3)


@pytest.mark.parametrize(("target", "compat"), [([0.1, 0.2], 1.0), ([0.2, 0.1], 0.0)])
def test_a_tie_of_the_methods(target: list[float], compat: float) -> None:
    expected = {"half": 0.5, "drop": None, "zero": 0.0, "compat": compat}
    for ties, value in expected.items():
        row = only(sn.decision_accuracy(two([0.5, 0.5], target), ties=ties, **SIDES))
        assert row["decision_accuracy"] == value
        assert row["n_ties"] == 1
        assert row["status"] == "constant"


def test_compat_follows_the_lexical_order_of_the_key_not_of_the_rows() -> None:
    scores = two([0.5, 0.5, 0.2], [0.1, 0.2, 0.3])
    found = [sn.decision_accuracy(rows, ties="compat", **SIDES) for rows in (scores, scores.reverse())]
    assert_frame_equal(*found, check_exact=True)


def test_recipe_interval() -> None:
    a, b = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6], [0.1, 0.3, 0.2, 0.4, 0.6, 0.5]
    row = only(sn.decision_accuracy(two(a, b), confidence_level=0.9, **SIDES))
    u = 13 / 15
    without = [
        brute([x for k, x in enumerate(a) if k != i], [x for k, x in enumerate(b) if k != i], "half")
        for i in range(6)
    ]
    left_out = np.array([w["decision_accuracy"] for w in without])
    stderr = math.sqrt(5 / 6 * ((left_out - left_out.mean()) ** 2).sum())
    centre, margin = math.log(u / (1 - u)), stats.t.ppf(0.95, 5) * stderr / (u * (1 - u))
    assert row["low"] == pytest.approx(1 / (1 + math.exp(-(centre - margin))), rel=1e-9)
    assert row["high"] == pytest.approx(1 / (1 + math.exp(-(centre + margin))), rel=1e-9)
    perfect = only(sn.decision_accuracy(two(a, a), confidence_level=0.9, **SIDES))
    assert (perfect["low"], perfect["high"]) == (pytest.approx(0.05 ** (1 / 3)), 1.0)
    opposite = only(sn.decision_accuracy(two(a, a[::-1]), confidence_level=0.9, **SIDES))
    assert (opposite["low"], opposite["high"]) == (0.0, pytest.approx(1 - 0.05 ** (1 / 3)))
    assert "few_members" in row["flags"]
    many = [k / 10 for k in range(8)]
    # One checkpoint a run says nothing of checkpoint noise.
    assert only(sn.decision_accuracy(two(many, many), **SIDES))["flags"] == ["few_checkpoints"]


# --- direction -----------------------------------------------------------------------------------------------------


def test_two_lower_is_better_sides_need_no_flip() -> None:
    row = only(sn.decision_accuracy(two([1, 2, 3], [1, 2, 3], metric="bits_per_byte"), **SIDES))
    assert row["decision_accuracy"] == 1.0


def test_one_metric_decides_for_another() -> None:
    bpb = two([1.3, 1.2, 1.1], [1.2, 1.1, 1.0], metric="bits_per_byte")
    acc = two([0.5, 0.4, 0.3], [0.5, 0.6, 0.7])
    scores = pl.concat([bpb, acc])
    row = only(
        sn.decision_accuracy(
            scores,
            small=f"metric = 'bits_per_byte' AND params = {SMALL}",
            target=f"metric = 'acc' AND params = {TARGET}",
        )
    )
    assert row["decision_accuracy"] == 1.0
    assert "metric" not in row
    assert "params" not in row
    row = only(
        sn.decision_accuracy(
            scores,
            small="metric = 'acc'",
            target="metric = 'bits_per_byte'",
            where=f"params = {SMALL}",
        )
    )
    assert row["decision_accuracy"] == 0.0


def test_a_side_of_several_metrics_is_refused() -> None:
    scores = pl.concat([two([1, 2, 3], [1, 2, 3]), two([1, 2, 3], [1, 2, 3], metric="bits_per_byte")])
    with pytest.raises(sn.OptionError, match="target selects several values of metric"):
        sn.decision_accuracy(
            scores, small=f"metric = 'acc' AND params = {SMALL}", target=f"params = {TARGET}"
        )


def test_unknown_metrics_need_a_direction() -> None:
    scores = two([1, 2, 3], [1, 2, 3], metric="vibes")
    with pytest.raises(sn.UnknownMetricError, match=r'direction=\{"vibes": "higher"\}'):
        sn.decision_accuracy(scores, **SIDES)
    mixed = pl.concat([scores, two([1, 2, 3], [3, 2, 1])])
    for word in ("higher", "lower"):
        found = sn.decision_accuracy(mixed, direction={"vibes": word}, **SIDES)
        assert found["decision_accuracy"].to_list() == [0.0, 1.0]
    declared = pl.concat([scores, two([1, 2, 3], [1, 2, 3])]).with_columns(
        task=pl.lit("t"), kind=pl.col("metric")
    )
    for word, value in (("higher", 1.0), ("lower", 0.0)):
        row = only(
            sn.decision_accuracy(
                declared,
                small="metric = 'vibes'",
                target="metric = 'acc'",
                where=f"params = {SMALL}",
                direction={"vibes": word},
            )
        )
        assert row["decision_accuracy"] == value
    with pytest.raises(sn.OptionError, match="it must be 'higher' or 'lower'"):
        sn.decision_accuracy(scores, direction={"vibes": "up"}, **SIDES)


# --- filters -------------------------------------------------------------------------------------------------------


def curves(**columns: pl.Expr) -> pl.DataFrame:
    """Three runs of four checkpoints; b overtakes a at the end."""
    values = {"a": [0.3, 0.4, 0.5, 0.5], "b": [0.1, 0.2, 0.4, 0.6], "c": [0.0, 0.1, 0.1, 0.2]}
    return pl.DataFrame(
        [
            {"run": run, "step": step, "tokens": step * 1e9, "task": "t", "metric": "acc", "value": value}
            for run, curve in values.items()
            for step, value in enumerate(curve, start=1)
        ]
    ).with_columns(**columns)


@pytest.mark.parametrize(
    ("small", "target"),
    [
        ("tokens <= 2e9", "tokens > 2e9"),
        ("step = 1", "step = 4"),
        ("step <= 3", pl.lit(True)),
        (pl.col("tokens") < 3.5e9, "tokens >= 3.5e9"),
    ],
)
def test_stages_of_training(small: Any, target: Any) -> None:
    row = only(sn.decision_accuracy(curves(), small=small, target=target))
    assert row["decision_accuracy"] == pytest.approx(2 / 3)
    assert row["n_members"] == 3
    assert list(row)[:2] == ["task", "metric"]


def test_shots_leave_the_key_and_config() -> None:
    scores = pl.concat(
        [
            curves(shots=pl.lit(0), variant=pl.lit("main")),
            curves(value=-pl.col("value"), shots=pl.lit(5), variant=pl.lit("main")),
        ]
    )
    row = only(sn.decision_accuracy(scores, small="shots = 0", target="shots = 5"))
    assert row["decision_accuracy"] == 0.0
    assert row["n_members"] == 3
    two_variants = pl.concat([scores, scores.with_columns(variant=pl.lit("other"))])
    with pytest.warns(sn.MixedKeyWarning, match="config joined"):
        found = sn.decision_accuracy(two_variants, small="shots = 0", target="shots = 5")
    assert found["config"].to_list() == ["variant=main", "variant=other"]


def test_filters_that_select_nothing_or_do_not_fit() -> None:
    with pytest.raises(sn.SchemaError, match="target: no row satisfies step > 9"):
        sn.decision_accuracy(curves(), small="step = 1", target="step > 9")
    with pytest.raises(sn.SchemaError, match=r"no column 'stp'; did you mean 'step'\?"):
        sn.decision_accuracy(curves(), small="stp = 1", target="step > 9")
    with pytest.raises(sn.OptionError, match="small must be true or false"):
        sn.decision_accuracy(curves(), small="step", target="step > 1")
    with pytest.raises(sn.OptionError, match="target must be a Polars expression"):
        sn.decision_accuracy(curves(), small="step = 1", target=4)
    with pytest.raises(sn.OptionError, match="small and target are both needed"):
        sn.decision_accuracy(curves(), small=None, target="step > 1")


def test_where_is_anded_with_both() -> None:
    row = only(sn.decision_accuracy(curves(), small="step = 1", target="step = 4", where="run != 'a'"))
    assert (row["n_members"], row["decision_accuracy"]) == (2, 1.0)


# --- matching ------------------------------------------------------------------------------------------------------


def test_recipe_joins_where_it_is_filled_on_both_sides_else_run() -> None:
    assert "match:recipe|" in only(sn.decision_accuracy(two([1, 2], [1, 2]), **SIDES))["signature"]
    partly = curves(recipe=pl.when(pl.col("step") == 1).then(None).otherwise(pl.lit("r")))
    row = only(sn.decision_accuracy(partly, small="step = 1", target="step = 4"))
    assert "match:run|" in row["signature"]
    assert row["n_members"] == 3


def test_several_runs_of_a_member_score_their_mean() -> None:
    scores = pl.concat(
        [
            two([0.1, 0.5], [0.4, 0.6], seed=1),
            two([0.7, 0.1], [0.4, 0.6], seed=2).with_columns(pl.col("run") + "-s2"),
        ]
    )
    row = only(sn.decision_accuracy(scores, **SIDES))
    assert (row["n_members"], row["decision_accuracy"]) == (2, 0.0)  # .4 and .3 against .4 and .6
    found = sn.decision_accuracy(scores, match=["recipe", "seed"], **SIDES)
    assert only(found)["n_members"] == 4
    with pytest.raises(sn.OptionError, match="needs one run a member"):
        sn.decision_accuracy(scores, score="sample", **SIDES)


def test_unmatched_members_are_left_out_aloud() -> None:
    scores = two([0.1, 0.2, 0.3], [0.1, 0.2, 0.3, 0.4, 0.5])
    with pytest.warns(
        sn.DroppedRowsWarning, match=r"0 scores at small scale and 2 at the target .*\(e\.g\. d; e\)"
    ):
        row = only(sn.decision_accuracy(scores, **SIDES))
    assert (row["n_members"], row["decision_accuracy"]) == (3, 1.0)
    with pytest.raises(sn.InsufficientDataError, match="2 at the target"):
        sn.decision_accuracy(scores, strict=True, **SIDES)


def test_strict_refuses_what_is_undefined() -> None:
    with pytest.raises(sn.InsufficientDataError, match="too_few"):
        sn.decision_accuracy(two([0.1], [0.2]), strict=True, **SIDES)
    assert sn.decision_accuracy(two([0.1, 0.2], [0.2, 0.3]), strict=True, **SIDES).height == 1


def test_a_member_without_a_defined_score_is_left_out() -> None:
    scores = two([1, 2, 3], [1, 2, 3], metric="margin_x")
    odd = pl.concat(
        [
            two([1, 2, 3], [1, 2, 3], metric="vibes"),
            two([math.inf], [4], metric="vibes").with_columns(step=pl.lit(2, pl.Int64)),
            two([-math.inf], [4], metric="vibes").with_columns(step=pl.lit(3, pl.Int64)),
        ]
    )
    with pytest.warns(sn.DroppedRowsWarning, match="1 at the target"):
        found = sn.decision_accuracy(odd, score="mean", direction={"vibes": "higher"}, **SIDES)
    assert only(found)["n_members"] == 2
    assert only(sn.decision_accuracy(scores, **SIDES))["n_members"] == 3


def test_tasks_become_one() -> None:
    a, b = two([0.1, 0.3, 0.2], [0.1, 0.2, 0.3]), two([0.3, 0.2, 0.6], [0.1, 0.3, 0.3])
    scores = pl.concat([a.with_columns(task=pl.lit("x-a")), b.with_columns(task=pl.lit("x-b"))])
    row = only(sn.decision_accuracy(scores, groups={"x": "x-*"}, **SIDES))
    mean = a.with_columns(value=(a["value"] + b["value"]) / 2)
    assert row["task"] == "x"
    expected = only(sn.decision_accuracy(mean, **SIDES))
    assert row | {"task": "t"} == expected


# --- scores --------------------------------------------------------------------------------------------------------


def noisy(members: int = 4, checkpoints: int = 4, seed: int = 5) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    return pl.DataFrame(
        [
            {
                "run": f"{r}-{params}",
                "recipe": f"r{r}",
                "params": params,
                "step": step,
                "task": "t",
                "metric": "acc",
                # Two decimals, so that ties occur.
                "value": round(0.4 + 0.02 * r + rng.normal(0, 0.03), 2),
            }
            for r in range(members)
            for params in (SMALL, TARGET)
            for step in range(checkpoints)
        ]
    )


def values_of(scores: pl.DataFrame, params: int, window: int) -> list[list[float]]:
    side = scores.filter(params=params).sort("step")
    return [side.filter(recipe=r)["value"].to_list()[-window:] for r in side["recipe"].unique().sort()]


def test_sample_estimates_its_exact_expectation() -> None:
    scores = noisy()
    n = 20_000
    row = only(
        sn.decision_accuracy(scores, score="sample", window_small=3, window_target=2, n_resamples=n, **SIDES)
    )
    a, b = values_of(scores, SMALL, 3), values_of(scores, TARGET, 2)
    pairs = []
    for i, j in combinations(range(4), 2):
        x = [sign(p - q) for p, q in product(a[i], a[j])]
        y = [sign(p - q) for p, q in product(b[i], b[j])]
        # The sides are drawn independently, so the product's expectation is the product of expectations.
        pairs.append((1 + fmean(x) * fmean(y)) / 2)
    assert row["decision_accuracy"] == pytest.approx(fmean(pairs), abs=4 * 0.5 / math.sqrt(n))
    assert 0 <= row["low"] <= row["decision_accuracy"] <= row["high"] <= 1
    assert "rng:0|" in row["signature"]


@pytest.mark.parametrize("score", ["final", "mean"])
@pytest.mark.parametrize("rho", [0.0, 0.5])
def test_checkpoint_interval(score: str, rho: float) -> None:
    scores = noisy(members=9, seed=2)
    options: dict[str, Any] = {"score": score, "window": 4, "autocorrelation": rho, "confidence_level": 0.9}
    row = only(sn.decision_accuracy(scores, n_resamples=4000, **options, **SIDES))
    rng = np.random.default_rng(0)
    agreements: list[Any] = []
    for params in (SMALL, TARGET):
        runs = scores.filter(params=params).sort("recipe", "step")["value"].to_numpy().reshape(9, 4)
        # The variance of autocorrelated checkpoints about the run's level, from that about their own mean.
        correlation = rho ** np.abs(np.subtract.outer(range(4), range(4)))
        centring = np.eye(4) - 1 / 4
        variance = runs.var(axis=1, ddof=1).mean() / (np.trace(centring @ correlation) / 3)
        if score == "mean":
            variance /= min(4, max(1.5, 4 * (1 - rho) / (1 + rho)))
        means = runs.mean(axis=1) if score == "mean" else runs[:, -1]
        agreements.append(means + np.sqrt(variance) * rng.normal(size=(20_000, 9)))
    i, j = np.triu_indices(9, 1)
    small, target = (np.sign(side[:, i] - side[:, j]) for side in agreements)
    sd = ((1 + small * target) / 2).mean(axis=1).std()
    half = 1.6448536 * sd
    u = row["decision_accuracy"]
    # 4,000 draws know an sd to 1.1 %.
    assert row["checkpoint_low"] == pytest.approx(max(0, u - half), abs=0.05 * half)
    assert row["checkpoint_high"] == pytest.approx(min(1, u + half), abs=0.05 * half)
    assert row["checkpoint_low"] < u


def test_checkpoint_interval_undefined() -> None:
    scores = noisy()
    last = scores.filter(pl.col("step") == pl.col("step").max())
    row = only(sn.decision_accuracy(last, **SIDES))
    assert (row["checkpoint_low"], row["checkpoint_high"]) == (None, None)
    assert "few_checkpoints" in row["flags"]
    one_side = pl.concat([last.filter(params=SMALL), scores.filter(params=TARGET)])
    assert only(sn.decision_accuracy(one_side, **SIDES))["checkpoint_low"] is None
    for pairs in ("weighted", "decidable"):
        row = only(sn.decision_accuracy(scores, pairs=pairs, **SIDES))
        assert row["checkpoint_low"] is None
        assert "few_checkpoints" not in row["flags"]
    still = scores.with_columns(pl.col("value").last().over("recipe", "params"))
    row = only(sn.decision_accuracy(still, **SIDES))
    assert row["checkpoint_low"] == row["checkpoint_high"] == row["decision_accuracy"]


def test_checkpoint_interval_of_drawn_checkpoints() -> None:
    row = only(sn.decision_accuracy(noisy(), score="sample", window=3, **SIDES))
    assert row["checkpoint_low"] < row["decision_accuracy"] < row["checkpoint_high"]
    again = only(sn.decision_accuracy(noisy(), score="sample", window=3, **SIDES, confidence_level=0.5))
    narrow, wide = again["decision_accuracy"] - again["checkpoint_low"], row["decision_accuracy"]
    assert narrow < wide - row["checkpoint_low"]


def test_sample_of_one_checkpoint_is_the_final_score() -> None:
    scores = noisy(6)
    sample = only(sn.decision_accuracy(scores, score="sample", window=1, n_resamples=7, **SIDES))
    final = only(sn.decision_accuracy(scores, score="final", **SIDES))
    assert sample["low"] == sample["high"] == pytest.approx(sample["decision_accuracy"])
    assert sample["decision_accuracy"] == pytest.approx(final["decision_accuracy"])


def test_draws_are_addressed() -> None:
    scores = noisy()
    found = sn.decision_accuracy(scores, score="sample", n_resamples=50, **SIDES)
    again = sn.decision_accuracy(scores, score="sample", n_resamples=50, **SIDES)
    assert_frame_equal(found, again, check_exact=True)
    other = sn.decision_accuracy(scores, score="sample", n_resamples=50, rng_seed=1, **SIDES)
    assert other["decision_accuracy"].to_list() != found["decision_accuracy"].to_list()
    more = pl.concat([noisy(5, seed=9).with_columns(task=pl.lit("a")), scores])
    beside = sn.decision_accuracy(more, score="sample", n_resamples=50, **SIDES).filter(task="t")
    assert_frame_equal(beside, found, check_exact=True)


def test_mean_takes_each_sides_window() -> None:
    scores = noisy()
    row = only(sn.decision_accuracy(scores, score="mean", window=4, window_small=2, **SIDES))
    a = [fmean(x) for x in values_of(scores, SMALL, 2)]
    b = [fmean(x) for x in values_of(scores, TARGET, 4)]
    assert row["decision_accuracy"] == pytest.approx(brute(a, b, "half")["decision_accuracy"])
    assert "few_checkpoints" not in row["flags"]
    short = only(sn.decision_accuracy(scores, score="mean", window=4, window_target=5, **SIDES))
    assert "few_checkpoints" in short["flags"]
    # A final score needs no window.
    assert "few_checkpoints" not in only(sn.decision_accuracy(scores, window=9, **SIDES))["flags"]


@pytest.mark.parametrize("score", ["final", "mean"])
def test_expected_under_added_noise(score: str) -> None:
    scores = noisy()
    row = only(sn.decision_accuracy(scores, score=score, window=4, **SIDES))
    a, b = (np.array(values_of(scores, params, 4)) for params in (SMALL, TARGET))
    pick: Callable[[Any], Any] = (lambda x: x[:, -1]) if score == "final" else (lambda x: x.mean(axis=1))
    share = 1.0 if score == "final" else 4.0
    terms = []
    for i, j in combinations(range(4), 2):
        p, q = (
            stats.norm.cdf(
                (pick(x)[i] - pick(x)[j]) / math.sqrt((x[i].var(ddof=1) + x[j].var(ddof=1)) / share)
            )
            for x in (a, b)
        )
        terms.append(p * q + (1 - p) * (1 - q))
    assert row["expected"] == pytest.approx(fmean(terms), rel=1e-9)
    assert only(sn.decision_accuracy(two([0.1, 0.2], [0.1, 0.2]), **SIDES))["expected"] is None


# --- pairs ---------------------------------------------------------------------------------------------------------


def test_weighted_pairs() -> None:
    scores = noisy(6)
    row = only(sn.decision_accuracy(scores, pairs="weighted", **SIDES))
    a, b = ([x[-1] for x in values_of(scores, params, 1)] for params in (SMALL, TARGET))
    gaps = [
        (abs(b[i] - b[j]), (1 + sign(a[i] - a[j]) * sign(b[i] - b[j])) / 2)
        for i, j in combinations(range(6), 2)
    ]
    assert row["decision_accuracy"] == pytest.approx(sum(g * s for g, s in gaps) / sum(g for g, _ in gaps))
    assert row["low"] is None
    assert "pairs:weighted|" in row["signature"]


@pytest.mark.parametrize("factor", [0.0, 1.0, 2.0, 50.0])
def test_decidable_pairs(factor: float) -> None:
    scores = noisy(6)
    row = only(sn.decision_accuracy(scores, pairs="decidable", decidable_sd=factor, window=4, **SIDES))
    sd = math.sqrt(fmean(np.var(x, ddof=1) for x in values_of(scores, TARGET, 4)))
    a, b = ([x[-1] for x in values_of(scores, params, 1)] for params in (SMALL, TARGET))
    kept = [
        (1 + sign(a[i] - a[j]) * sign(b[i] - b[j])) / 2
        for i, j in combinations(range(6), 2)
        if abs(b[i] - b[j]) > factor * sd
    ]
    assert row["n_pairs"] == len(kept)
    assert row["decision_accuracy"] == (pytest.approx(fmean(kept)) if kept else None)
    assert row["status"] == ("ok" if kept else "not_finite")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"score": "sample", "ties": "drop"}, "ties one half over all pairs"),
        ({"score": "sample", "pairs": "weighted"}, "ties one half over all pairs"),
        ({"pairs": "weighted", "ties": "zero"}, "leave ties"),
        ({"ties": "haf"}, "did you mean 'half'"),
        ({"score": "last"}, "score must be one of"),
        ({"pairs": "some"}, "pairs must be one of"),
        ({"window_small": 0}, "window_small must be a whole number"),
        ({"n_resamples": 0}, "n_resamples must be a whole number"),
        ({"decidable_sd": -1.0, "pairs": "decidable"}, "decidable_sd"),
        ({"decidable_sd": math.nan, "pairs": "decidable"}, "decidable_sd"),
        ({"confidence_level": 95}, "confidence_level"),
        ({"rng_seed": -1, "score": "sample"}, "rng_seed"),
        ({"rng_seed": 2**64, "score": "sample"}, "rng_seed"),
        ({"rng_seed": 1.5, "score": "sample"}, "rng_seed"),
    ],
)
def test_options_out_of_range(options: dict[str, Any], text: str) -> None:
    with pytest.raises(sn.OptionError, match=text):
        sn.decision_accuracy(noisy(), **SIDES, **options)


def test_match_names_a_column() -> None:
    with pytest.raises(sn.SchemaError, match=r"no column 'recip'; did you mean 'recipe'\?"):
        sn.decision_accuracy(noisy(), match="recip", **SIDES)
    row = only(sn.decision_accuracy(curves(mix=pl.col("run")), small="step=1", target="step=4", match="mix"))
    assert row["n_members"] == 3


def test_null_keys_do_not_match() -> None:
    scores = two([0.1, 0.2, 0.3, 0.4], [0.1, 0.2, 0.3, 0.4])
    scores = scores.with_columns(recipe=pl.when(pl.col("recipe") == "d").then(None).otherwise("recipe"))
    with pytest.warns(sn.DroppedRowsWarning):
        row = only(sn.decision_accuracy(scores, match="recipe", **SIDES))
    assert row["n_members"] == 3
