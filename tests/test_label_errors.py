"""The verb `label_errors`: scores and crossings written out, limits scanned, tables of marks, undefined cases."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from scipy import stats

import signoise as sn
from signoise import reference
from signoise._addresses import group_addresses
from signoise._interventions._part_means import crossing
from test_item_statistics import skilled, table

OPTIONS: dict[str, Any] = {"n_resamples": 50}


def marks(*items: int, task: str = "t") -> pl.DataFrame:
    return pl.DataFrame({"task": task, "instance_id": [f"i{i:02}" for i in items]})


def quiet(*args: Any, **kwargs: Any) -> pl.DataFrame:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", sn.SignoiseWarning)
        return sn.label_errors(*args, **{**OPTIONS, **kwargs})


#: 3 runs x 10 instances, of which the last two have a wrong label.
X = np.array(
    [
        [1, 1, 1, 1, 1, 1, 0, 0, 0, 0],
        [1, 1, 1, 1, 1, 0, 0, 0, 1, 1],
        [1, 0, 1, 0, 1, 0, 1, 0, 1, 0],
    ],
    dtype=float,
)
WRONG = [8, 9]


# --- written out


def test_scores_and_ranks_by_hand() -> None:
    found = quiet(table(X), errors=marks(*WRONG), per="run")
    assert found["score_original"].to_list() == pytest.approx([0.6, 0.7, 0.5])
    assert found["score"].to_list() == pytest.approx([6 / 8, 5 / 8, 4 / 8])
    assert found["difference"].to_list() == pytest.approx([0.15, -0.075, 0.0])
    assert found.select("rank_original", "rank", "rank_change").rows() == [(2, 1, 1), (1, 2, -1), (3, 3, 0)]
    assert found.select("n_members", "n_instances", "n_errors", "n").row(0) == (3, 10, 2, 8)
    assert found["prevalence"].to_list() == pytest.approx([0.2] * 3)
    assert found["ceiling"].to_list() == pytest.approx([0.8] * 3)
    assert found["run"].to_list() == ["r00", "r01", "r02"]


def test_crossings_by_hand() -> None:
    found = quiet(table(X), errors=marks(*WRONG), per="pair")
    assert found.select("run_a", "run_b").rows() == [("r00", "r01"), ("r00", "r02"), ("r01", "r02")]
    # Of the first two: 6/8 - 5/8 on the right labels, 0 - 1 on the wrong ones: (1/8)/(1/8 + 1).
    assert found["flip_prevalence"].to_list()[0] == pytest.approx(1 / 9)
    # 2/8 and -1/2; 1/8 and 1/2, which is the same order.
    assert found["flip_prevalence"].to_list()[1:] == [pytest.approx(1 / 3), None]
    assert found["flip"].to_list() == ["crosses", "crosses", "same_order"]
    assert found["reordered"].to_list() == [True, False, False]
    assert found["difference_original"].to_list() == pytest.approx([-0.1, 0.1, 0.2])
    assert found["difference"].to_list() == pytest.approx([1 / 8, 2 / 8, 1 / 8])
    assert found["change"].to_list() == pytest.approx([0.225, 0.15, -0.075])
    row = quiet(table(X), errors=marks(*WRONG)).row(0, named=True)
    assert row["flip_prevalence"] == pytest.approx(1 / 9)
    assert row["next_flip"] == pytest.approx(1 / 3)
    assert (row["n_pairs"], row["n_reordered"]) == (3, 1)
    assert row["order_kept"] == pytest.approx(2 / 3)
    assert row["tau"] == pytest.approx(stats.kendalltau([0.6, 0.7, 0.5], [6 / 8, 5 / 8, 4 / 8]).statistic)


def test_a_mixture_at_the_crossing_is_a_tie() -> None:
    """The means of instances drawn with this share of wrong labels agree there and change sign around it."""
    x = skilled(7, runs=5, items=40)
    wrong = list(range(10))
    clean, bad = x[:, 10:].mean(axis=1), x[:, :10].mean(axis=1)
    found = quiet(table(x), errors=marks(*wrong), per="pair").filter(flip="crosses")
    assert found.height
    for row in found.iter_rows(named=True):
        a, b = int(row["run_a"][1:]), int(row["run_b"][1:])

        def difference(share: float, a: int = a, b: int = b) -> float:
            mixed = (1 - share) * clean + share * bad
            return float(mixed[a] - mixed[b])

        at = row["flip_prevalence"]
        assert difference(at) == pytest.approx(0, abs=1e-12)
        assert difference(max(at - 0.01, 0)) * difference(min(at + 0.01, 1)) <= 0


def test_errors_of_differences_written_out() -> None:
    """First order: what each instance adds to one score less what it adds to the other."""
    x = skilled(3, runs=4, items=25)
    wrong = np.arange(25) < 6
    n, m = 25, 19
    own = np.where(wrong, 0.0, (x - x[:, ~wrong].mean(axis=1)[:, None]) / m) * np.sqrt(m / (m - 1))
    whole = (x - x.mean(axis=1)[:, None]) / n * np.sqrt(n / (n - 1))
    influence = own - whole
    runs = quiet(table(x), errors=marks(*range(6)), per="run")
    stderr = np.sqrt((influence**2).sum(axis=1))
    np.testing.assert_allclose(runs["stderr"], stderr, rtol=1e-12)
    t = stats.t.ppf(0.975, m - 1)
    np.testing.assert_allclose(runs["high"] - runs["difference"], t * stderr, rtol=1e-9)
    pairs = quiet(table(x), errors=marks(*range(6)), per="pair")
    one = pairs.row(1, named=True)  # r00 and r02
    spread = np.sqrt(((influence[0] - influence[2]) ** 2).sum())
    assert one["change_high"] - one["change"] == pytest.approx(t * spread)
    assert one["p_value"] == pytest.approx(2 * stats.t.sf(abs(one["change"]) / spread, m - 1))
    clean = (x[0] - x[2])[~wrong]
    assert one["high"] - one["difference"] == pytest.approx(t * stats.sem(clean))
    np.testing.assert_allclose(pairs["p_adjusted"], _holm(pairs["p_value"].to_numpy()))


def _holm(p: np.ndarray) -> np.ndarray:
    rank = np.argsort(p)
    out = np.empty(len(p))
    out[rank] = np.minimum(1, np.maximum.accumulate((len(p) - np.arange(len(p))) * p[rank]))
    return out


def test_limits_of_a_crossing_are_where_the_difference_is_not_clear() -> None:
    x = skilled(11, runs=4, items=60)
    wrong = np.arange(60) < 20
    found = quiet(table(x), errors=marks(*range(20)), per="pair")
    t = stats.t.ppf(0.975, 19)
    share = np.linspace(0, 1, 20001)
    for row in found.iter_rows(named=True):
        d = x[int(row["run_a"][1:])] - x[int(row["run_b"][1:])]
        clean, bad = d[~wrong], d[wrong]
        mixed = (1 - share) * clean.mean() + share * bad.mean()
        spread = np.sqrt(((1 - share) * stats.sem(clean)) ** 2 + (share * stats.sem(bad)) ** 2)
        unclear = share[np.abs(mixed) <= t * spread]
        assert (row["flip_low"] is None) == (len(unclear) == 0)
        if len(unclear):
            assert [row["flip_low"], row["flip_high"]] == pytest.approx([unclear[0], unclear[-1]], abs=1e-4)


@given(clean=st.floats(-1, 1), wrong=st.floats(-1, 1), own=st.floats(0, 0.2), other=st.floats(0, 0.2))
def test_a_crossing_lies_within_its_limits(clean: float, wrong: float, own: float, other: float) -> None:
    one = [np.array([value]) for value in (clean, wrong, own**2, other**2, 0.0, 9.0)]
    with np.errstate(all="ignore"):
        found = crossing(one[0], one[1], (one[2], one[3], one[4]), one[5], 0.95)
    share, low, high = (float(part[0]) for part in (found.share, found.low, found.high))
    assert np.isnan(share) == (np.sign(clean) * np.sign(wrong) > 0 or clean == wrong == 0)
    if not np.isnan(share):
        assert 0 <= share <= 1
        assert low <= share <= high
    if not np.isnan(low):
        assert 0 <= low <= high <= 1


# --- other instances


def test_draws_are_those_of_the_bootstrap() -> None:
    x = skilled(5, runs=4, items=30)
    wrong = np.arange(30) < 8
    unit = group_addresses(pl.DataFrame({"task": ["t"]}))
    counts = reference.bootstrap_counts(np.array([0, 30], dtype=np.uintp), unit, 50, 9).reshape(50, 30)
    kept = []
    for weights in counts.astype(float):
        whole = np.round(x @ weights / weights.sum(), 12)
        part = np.round(x[:, ~wrong] @ weights[~wrong] / weights[~wrong].sum(), 12)
        first, second = np.triu_indices(4, 1)
        one, other = np.sign(whole[first] - whole[second]), np.sign(part[first] - part[second])
        kept.append(np.mean((one == other) + 0.5 * ((one == 0) != (other == 0))))
    row = quiet(table(x), errors=marks(*range(8)), rng_seed=9).row(0, named=True)
    margin = stats.norm.ppf(0.975) * np.std(kept, ddof=1)
    assert row["order_kept_low"] == pytest.approx(max(row["order_kept"] - margin, 0))
    assert row["order_kept_high"] == pytest.approx(min(row["order_kept"] + margin, 1))


def test_clusters_of_equal_instances_are_one_instance() -> None:
    x = skilled(6, runs=4, items=20)
    once = quiet(table(x), errors=marks(0, 1, 2, 3), per="pair")
    twice = table(np.repeat(x, 2, axis=1)).with_columns(
        cluster=pl.col("instance_id").str.slice(1).cast(pl.Int64) // 2
    )
    found = quiet(twice, errors=marks(*range(8)), per="pair")
    same = ["difference", "low", "high", "change_low", "p_value", "flip_prevalence", "flip_low", "flip_high"]
    assert_frame_equal(found.select(same), once.select(same), rel_tol=1e-9)
    assert found["flags"][0].to_list() == ["few_instances", "clustered"]


# --- corrected labels, decisions


def corrected(x: np.ndarray, items: list[int]) -> pl.DataFrame:
    names = [f"i{i:02}" for i in items]
    return table(1 - x).filter(pl.col("instance_id").is_in(names))


def test_corrected_labels() -> None:
    x = skilled(8, runs=5, items=20)
    right = x.copy()
    right[:, :4] = 1 - right[:, :4]
    options: dict[str, Any] = {"errors": marks(*range(4)), "corrected": corrected(x, [0, 1, 2, 3])}
    runs = quiet(table(x), **options, per="run").filter(version="corrected")
    np.testing.assert_allclose(runs["score"], right.mean(axis=1))
    np.testing.assert_allclose(runs["stderr"], ((right - x).std(axis=1, ddof=1)) / np.sqrt(20), rtol=1e-12)
    np.testing.assert_array_equal(runs["rank"], stats.rankdata(-np.round(right.mean(axis=1), 12), "min"))
    pairs = quiet(table(x), **options, per="pair").filter(version="corrected")
    for row in pairs.filter(flip="crosses").iter_rows(named=True):
        d = right[int(row["run_a"][1:])] - right[int(row["run_b"][1:])]
        clean, bad = d[4:].mean(), d[:4].mean()
        assert row["flip_prevalence"] == pytest.approx(clean / (clean - bad))
    # What has no corrected score is left out of that version.
    options["corrected"] = corrected(x, [0, 1])
    some = quiet(table(x), **options).filter(version="corrected")
    assert some.select("n_errors", "n").row(0) == (4, 18)
    options["corrected"] = corrected(x, [0, 1, 7])
    with pytest.warns(sn.DroppedRowsWarning, match="1 instances that errors does not call wrong"):
        sn.label_errors(table(x), **options, **OPTIONS)
    options["corrected"] = corrected(x, [9])
    with pytest.raises(sn.SchemaError, match="corrected has no score of a wrong instance"):
        quiet(table(x), **options)


def test_corrected_labels_of_the_last_checkpoint_beside_a_store(tmp_path: Path) -> None:
    x = skilled(8, runs=4, items=20)
    steps = [table(y).with_columns(step=pl.lit(step)) for step, y in ((1, 1 - x), (2, x))]
    sn.ingest(pl.concat(steps), tmp_path / "store")
    fixed = corrected(x, [0, 1, 2]).with_columns(step=pl.lit(2))
    options: dict[str, Any] = {"errors": marks(0, 1, 2), "per": "run"}
    found = quiet(tmp_path / "store", corrected=fixed, **options)
    expected = quiet(table(x), corrected=fixed.drop("step"), **options)
    assert_frame_equal(found.drop("signature"), expected.drop("signature"))
    with pytest.raises(sn.SchemaError, match="its rows need the run, step, task, metric"):
        quiet(tmp_path / "store", corrected=fixed.with_columns(step=pl.lit(1)), **options)


def test_decisions_before_and_after() -> None:
    scores, _ = sn.simulate(
        tasks=["t"],
        recipes=9,
        params=(1e8, 1e9),
        checkpoints=1,
        instances=60,
        signal=0.1,
        scale_agreement=0.7,
    )
    sides: dict[str, Any] = {"small": "params = 100000000", "target": "params = 1000000000"}
    names = scores["instance_id"].unique().sort().head(15)
    errors = pl.DataFrame({"task": "t", "instance_id": names})
    row = quiet(scores, errors=errors, **sides).row(0, named=True)
    left = scores.filter(~pl.col("instance_id").is_in(names.implode()))
    before, after = (sn.decision_accuracy(part, **sides)["decision_accuracy"][0] for part in (scores, left))
    assert (row["decision_accuracy_original"], row["decision_accuracy"]) == (before, after)
    assert row["difference"] == pytest.approx(after - before)
    assert row["low"] <= row["instance_low"] <= row["difference"] <= row["instance_high"] <= row["high"]
    none = quiet(scores, errors=errors.with_columns(wrong=pl.Series([True] + [False] * 14)), **sides)
    assert none["n_errors"].item() == 1
    with pytest.raises(sn.OptionError, match='small and target are for per="task"'):
        quiet(scores, errors=errors, per="run", **sides)


# --- planted wrong labels


def test_a_planted_swap_is_found() -> None:
    rng = np.random.default_rng(4)
    wrong = np.arange(90) < 40
    chances = np.array([0.9, 0.5])[:, None] * np.ones(90)
    chances[:, wrong] = np.array([0.05, 0.95])[:, None]
    x = (rng.random((2, 90)) < chances).astype(float)
    row = quiet(table(x), errors=marks(*range(40))).row(0, named=True)
    assert (row["n_reordered"], row["n_reordered_clearly"]) == (1, 1)
    assert row["flip_low"] < 0.4 / (0.4 + 0.9) < row["flip_high"]
    assert row["flip_high"] < row["prevalence"]


# --- tables of marks


def test_what_was_checked_can_be_all_there_is() -> None:
    x = skilled(9, runs=5, items=20)
    listed = marks(*range(12)).with_columns(wrong=pl.Series([True] * 3 + [False] * 9))
    whole = quiet(table(x), errors=listed)
    assert whole.select("n_instances", "n_errors").row(0) == (20, 3)
    part = quiet(table(x), errors=listed, unchecked="leave_out")
    assert part.select("n_instances", "n_errors").row(0) == (12, 3)
    alone = quiet(table(x[:, :12]), errors=marks(0, 1, 2))
    assert_frame_equal(part.drop("signature"), alone.drop("signature"))
    with pytest.raises(sn.OptionError, match="all that it lists is wrong"):
        quiet(table(x), errors=marks(1), unchecked="leave_out")


@pytest.mark.parametrize("form", ["csv", "parquet", "ndjson"])
def test_marks_from_files(form: str, tmp_path: Path) -> None:
    frame = marks(*WRONG).with_columns(wrong=pl.Series(["yes", "TRUE"]))
    path = tmp_path / f"errors.{form}"
    getattr(frame, f"write_{form}")(path)
    assert_frame_equal(quiet(table(X), errors=path), quiet(table(X), errors=marks(*WRONG)))
    with pytest.raises(sn.ReadError, match=r"errors: .*no_such"):
        quiet(table(X), errors=tmp_path / "no_such.csv")


def test_marks_that_are_wrong_themselves() -> None:
    frame = table(X)

    def fails(errors: Any, message: str) -> None:
        with pytest.raises(sn.SchemaError, match=message):
            quiet(frame, errors=errors)

    one = marks(8, 9)
    fails(one.drop("instance_id"), "errors: the table has no column instance_id")
    fails(one.with_columns(instance_id=pl.Series(["i08", None])), "errors: row 2 has no instance_id")
    maybe = re.escape("errors: row 2, column 'wrong': 'maybe' is no number")
    fails(one.with_columns(wrong=pl.Series(["true", "maybe"])), maybe)
    fails(
        one.with_columns(wrong=pl.Series([1.0, 0.5])), "row 2, column 'wrong': 0.5 is neither true nor false"
    )
    twice = pl.concat([one, one]).with_columns(wrong=pl.Series([True, True, False, True]))
    fails(twice, "errors: rows 1 and 3 say different things of task 't', instance_id 'i08'")
    fails(one.head(0), "errors: the table has no rows")
    other = one.with_columns(bad=pl.Series([True, False]))
    fails(other, "errors: the table has no column wrong, but 'bad' holds true and false; rename it wrong")
    fails(marks(8, task="u"), "errors: none of its 1 instances")
    fails(3, "errors must be a frame or the path of a table")
    two = pl.concat([frame, frame.with_columns(task=pl.lit("u"))])
    with pytest.raises(sn.SchemaError, match="'i08' is an instance of several tasks; add the column task"):
        quiet(two, errors=one.drop("task"))
    parts = frame.with_columns(
        subtask=pl.when(pl.col("instance_id") < "i05").then(pl.lit("a")).otherwise(pl.lit("b"))
    )
    both = pl.concat([parts, parts.with_columns(subtask=pl.lit("b"))]).unique(
        ["run", "subtask", "instance_id"], maintain_order=True
    )
    with pytest.raises(sn.SchemaError, match="is an instance of several subtasks; add the column subtask"):
        quiet(both, errors=marks(1))
    with pytest.warns(sn.DroppedRowsWarning, match="errors: 1 of 2 instances are not among those"):
        sn.label_errors(frame, errors=marks(8, 77), **OPTIONS)
    with pytest.raises(sn.InsufficientDataError, match="call with strict=False"):
        quiet(frame, errors=marks(8, 77), strict=True)


def test_subtasks_have_marks_of_their_own() -> None:
    x = skilled(2, runs=5, items=20)
    parts = pl.concat(
        [table(part).with_columns(subtask=pl.lit(s)) for s, part in (("a", x[:, :8]), ("b", x[:, 8:]))]
    )
    found = quiet(parts, errors=marks(0, 1).with_columns(subtask=pl.Series(["a", "b"])))
    assert found.select("subtask", "n_errors").rows() == [("a", 1), ("b", 1)]
    assert found["n"].to_list() == [7, 11]


# --- invariance, undefined


def test_groups_row_order_stores_and_twins(tmp_path: Path) -> None:
    frame = pl.concat([table(skilled(4)), table(skilled(5)).with_columns(task=pl.lit("u"))])
    errors = pl.concat([marks(1, 2, 3), marks(5, task="u")])
    for per in ("task", "run", "pair"):
        found = quiet(frame, errors=errors, per=per)
        shuffled = [part.sample(fraction=1.0, shuffle=True, seed=2) for part in (frame, errors)]
        assert found.equals(quiet(shuffled[0], errors=shuffled[1], per=per))
        assert found.filter(task="u").equals(quiet(frame.filter(task="u"), errors=errors, per=per))
        assert_frame_equal(reference.label_errors(frame, errors=errors, per=per, **OPTIONS), found)
        store = tmp_path / per
        sn.ingest(frame, store)
        assert_frame_equal(quiet(store, errors=errors, per=per), found)
    other = quiet(frame, errors=errors, rng_seed=1)
    base = quiet(frame, errors=errors)
    assert other["order_kept"].equals(base["order_kept"])
    assert not other["order_kept_low"].equals(base["order_kept_low"])


def test_a_recipe_scores_the_mean_of_its_seeds() -> None:
    scores, _ = sn.simulate(tasks=["t"], recipes=3, params=(1e9,), seeds=2, checkpoints=2, instances=30)
    names = scores["instance_id"].unique().sort().head(5)
    errors = pl.DataFrame({"task": "t", "instance_id": names})
    found = quiet(scores, errors=errors, per="run", across="recipe")
    left = scores.filter(pl.col("step") == 2000, ~pl.col("instance_id").is_in(names.implode()))
    expected = left.group_by("recipe").agg(pl.col("value").mean()).sort("recipe")
    assert found["recipe"].to_list() == expected["recipe"].to_list()
    np.testing.assert_allclose(found["score"], expected["value"], rtol=1e-12)


def test_lower_is_better_ranks_from_below() -> None:
    x = np.array([[1.0, 2, 3, 9], [2, 3, 4, 1], [5, 5, 5, 5]])
    found = quiet(table(x, metric="loss"), errors=marks(3), per="run")
    assert found["rank_original"].to_list() == [2, 1, 3]
    assert found["rank"].to_list() == [1, 2, 3]
    assert found["ceiling"].null_count() == 3
    with pytest.raises(sn.UnknownMetricError):
        quiet(table(x, metric="zorp"), errors=marks(3))
    declared = quiet(table(x, metric="zorp"), errors=marks(3), per="run", direction={"zorp": "lower"})
    assert declared["rank"].to_list() == [1, 2, 3]


def test_undefined_rows() -> None:
    x = skilled(4, runs=5, items=12)
    every = quiet(table(x), errors=marks(*range(12)))
    assert every.select("status", "n", "tau").row(0) == ("too_few", 0, None)
    alone = quiet(table(x[:1]), errors=marks(1, 2))
    assert alone["status"].item() == "too_few"
    assert quiet(table(x[:1]), errors=marks(1, 2), per="pair").height == 0
    one = quiet(table(x[:1]), errors=marks(1, 2), per="run")
    assert one.select("status", "rank").row(0) == ("ok", 1)
    assert one["difference"].item() is not None
    frame = pl.concat([table(x), table(x).with_columns(task=pl.lit("u"))])
    none = quiet(frame, errors=marks(1, task="u")).filter(task="t").row(0, named=True)
    assert (none["order_kept"], none["order_kept_low"], none["n_reordered"]) == (1.0, 1.0, 0)
    assert (none["flip_prevalence"], none["prevalence"]) == (None, 0.0)
    pairs = quiet(frame, errors=marks(1, task="u"), per="pair")
    assert set(pairs.filter(task="t")["flip"]) == {"no_errors"}
    # One wrong instance has no spread of its own.
    assert pairs.filter(task="u")["flip_low"].null_count() == 10
    odd = table(np.exp(x), metric="perplexity")
    lost = quiet(odd, errors=marks(1)).row(0, named=True)
    assert (lost["status"], lost["order_kept"]) == ("not_a_mean", None)
    with pytest.raises(sn.InsufficientDataError, match="version=pruned"):
        quiet(odd, errors=marks(1), strict=True)
    gone = table(x).filter((pl.col("run") != "r00") | (pl.col("instance_id") != "i05"))
    left = quiet(gone, errors=marks(1))
    assert left.select("n_instances", "n_unmatched").row(0) == (11, 1)
    assert "unmatched" in left["flags"][0].to_list()
    with pytest.raises(sn.SchemaError, match="no instance_id"):
        quiet(sn.example_scores(), errors=marks(1))
    with pytest.raises(sn.OptionError, match="per must be one of"):
        quiet(table(x), errors=marks(1), per="model")


def test_weights_are_kept() -> None:
    rng = np.random.default_rng(0)
    x, weights = rng.random((3, 10)) + 0.5, rng.integers(5, 50, 10).astype(float)
    frame = table(x, metric="bits_per_byte").with_columns(weight=pl.Series(np.tile(weights, 3)))
    found = quiet(frame, errors=marks(*WRONG), per="run")
    np.testing.assert_allclose(found["score"], x[:, :8] @ weights[:8] / weights[:8].sum())
    np.testing.assert_allclose(found["score_original"], x @ weights / weights.sum())
