"""Moments over instances: against DuckDB, and against the definition in plain Python on generated tables."""

from __future__ import annotations

import math
import statistics
import warnings
from collections import defaultdict
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

import signoise as sn

duckdb = pytest.importorskip("duckdb")

COLUMNS = ("run", "step", "task", "subtask", "metric", "instance_id", "repeat", "value", "weight")
BY = ("run", "step", "task", "metric")


def table(rows: list[tuple[Any, ...]], columns: tuple[str, ...] = COLUMNS) -> pl.DataFrame:
    dtypes = {"step": pl.Int64, "repeat": pl.Int32, "value": pl.Float64, "weight": pl.Float64}
    return pl.DataFrame(
        rows, schema={name: dtypes.get(name, pl.String) for name in columns}, orient="row", strict=False
    )


def simple(values: list[Any], **columns: Any) -> pl.DataFrame:
    """One checkpoint of one run: an instance a value, unless the columns say otherwise."""
    frame = {
        "run": ["a"] * len(values),
        "step": [1] * len(values),
        "task": ["t"] * len(values),
        "metric": ["acc"] * len(values),
        "instance_id": [f"i{n}" for n in range(len(values))],
        "value": values,
    }
    for name, given_values in columns.items():
        frame[name] = given_values if isinstance(given_values, list) else [given_values] * len(values)
    return pl.DataFrame(frame, schema_overrides={"value": pl.Float64})


def quiet(verb: Any, *args: Any, **kwargs: Any) -> pl.DataFrame:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", sn.SignoiseWarning)
        return verb(*args, **kwargs)


# --- the definition

SCORES = st.one_of(
    st.sampled_from([0.0, 1.0, 0.5]),
    st.floats(-1e3, 1e3, allow_nan=False),
    st.sampled_from([None, math.nan, math.inf]),
)


@st.composite
def instance_tables(draw: st.DrawFn) -> list[tuple[Any, ...]]:
    """Rows of distinct keys; instance i of a task has one weight, as the bytes of a document are its own."""
    keys = draw(
        st.lists(
            st.tuples(
                st.sampled_from(["a", "b"]),
                st.sampled_from([1, 2]),
                st.sampled_from(["t", "u"]),
                st.sampled_from([None, "x", "y"]),
                st.sampled_from(["acc", "bits_per_byte", "vibes"]),
                st.sampled_from(["0", "1", "2"]),
                st.integers(0, 2),
            ),
            min_size=1,
            max_size=40,
            unique=True,
        )
    )
    return [
        (*key, draw(SCORES), 1.0 + 3.0 * int(key[5]) if key[4] == "bits_per_byte" else 1.0) for key in keys
    ]


def by_definition(rows: list[tuple[Any, ...]]) -> dict[tuple[Any, ...], dict[str, Any]]:
    """Repeats within an instance first, then instances."""
    groups: dict[Any, dict[str, Any]] = defaultdict(
        lambda: {"items": defaultdict(list), "n_missing": 0, "n_nan": 0}
    )
    for run, step, task, subtask, metric, item, _, value, weight in rows:
        group = groups[run, step, task, metric]
        # An accuracy and bits per byte cannot be infinite upwards and downwards; nothing is known about vibes.
        if value is None or (math.isinf(value) and metric == "acc"):
            group["n_missing"] += 1
        elif math.isnan(value):
            group["n_nan"] += 1
        else:
            group["n_missing"] += math.isinf(value)
            group["items"][subtask, item].append((value, weight))
    out = {}
    for key, group in groups.items():
        means = {item: math.fsum(v for v, _ in pairs) / len(pairs) for item, pairs in group["items"].items()}
        weights = {item: pairs[0][1] for item, pairs in group["items"].items()}
        n = len(means)
        row: dict[str, Any] = {"n": n, "n_missing": group["n_missing"], "n_nan": group["n_nan"]}
        row |= dict.fromkeys(("mean", "variance", "min", "max"))
        if n:
            ratio = any(weight != 1.0 for weight in weights.values())
            row["mean"] = sum(means[i] * weights[i] for i in means) / sum(weights.values())
            row["min"], row["max"] = min(means.values()), max(means.values())
            if n > 1 and not ratio:
                row["variance"] = (
                    statistics.variance(means.values())
                    if all(map(math.isfinite, means.values()))
                    else "not finite"
                )
        out[key] = row
    return out


@given(instance_tables(), st.randoms(use_true_random=False))
@settings(max_examples=120, deadline=None, derandomize=True)
def test_moments_by_definition(rows: list[tuple[Any, ...]], random: Any) -> None:
    shuffled = rows[:]
    random.shuffle(shuffled)
    found = sn.aggregate(table(shuffled))
    expected = by_definition(rows)
    assert found.height == len(expected)
    assert found.columns == [*BY, "n", "n_missing", "n_nan", "mean", "variance", "min", "max"]
    for row in found.iter_rows(named=True):
        for name, value in expected[tuple(row[c] for c in BY)].items():
            if value == "not finite":
                assert row[name] is None or not math.isfinite(row[name])
            elif value is None or isinstance(value, int):
                assert row[name] == value, (name, row)
            else:
                # A constant group's variance is a rounding residue in one of the two.
                assert row[name] == pytest.approx(value, rel=1e-9, abs=1e-9), (name, row)


@given(instance_tables())
@settings(max_examples=40, deadline=None, derandomize=True)
def test_row_order_chunks_and_threads_leave_no_trace(rows: list[tuple[Any, ...]]) -> None:
    whole = table(rows)
    expected = sn.aggregate(whole)
    chunked = pl.concat([table([row]) for row in reversed(rows)], rechunk=False)
    assert_frame_equal(sn.aggregate(chunked, threads=2), expected, check_exact=True)
    assert_frame_equal(sn.aggregate(whole, threads=1), expected, check_exact=True)


def test_moments_equal_duckdb() -> None:
    scores, _ = sn.simulate(tasks=3, recipes=3, checkpoints=3, instances=40, metric=["acc", "loss", "acc"])
    frame = pl.concat(
        scores.with_columns(
            pl.lit(k, dtype=pl.Int32).alias("repeat"),
            pl.when(pl.col("value").hash(k) % 7 == 0)
            .then(None)
            .otherwise(pl.col("value") + k)
            .alias("value"),
        )
        # Unequal numbers of repeats: the second covers a part of the instances.
        .filter((k == 0) | (pl.col("instance_id").hash() % 3 > 0))
        for k in range(2)
    )
    found = quiet(sn.aggregate, frame)
    expected = (
        duckdb.sql(
            """
            WITH items AS (
                SELECT run, step, task, metric, instance_id, avg(value) AS value, count(*) - count(value) AS missing
                FROM frame GROUP BY ALL
            )
            SELECT run, step, task, metric, count(value) AS n, sum(missing)::BIGINT AS n_missing, avg(value) AS mean,
                var_samp(value) AS variance, min(value) AS min, max(value) AS max
            FROM items GROUP BY ALL ORDER BY ALL
            """
        )
        .pl()
        .sort(BY)
    )
    assert found["n_missing"].sum() > 0
    assert_frame_equal(found.drop("n_nan"), expected, rel_tol=1e-9, check_dtypes=False)


def test_repeats_first_then_instances() -> None:
    # Instance 0 was asked four times and instance 1 once: each counts once.
    rows = [("a", 1, "t", None, "acc", "0", k, 1.0, 1.0) for k in range(4)]
    row = sn.aggregate(table([*rows, ("a", 1, "t", None, "acc", "1", 0, 0.0, 1.0)])).row(0, named=True)
    assert (row["n"], row["mean"], row["variance"]) == (2, 0.5, 0.5)


@given(st.lists(st.booleans(), min_size=1, max_size=300))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_zero_one_scores_are_exact(right: list[bool]) -> None:
    row = sn.aggregate(simple([float(r) for r in right])).row(0, named=True)
    assert row["mean"] == sum(right) / len(right)


def test_ratio_metrics() -> None:
    frame = simple([2.0, 1.0, 4.0], metric="bits_per_byte", weight=[10.0, 30.0, 20.0])
    row = sn.aggregate(frame).row(0, named=True)
    assert row["mean"] == pytest.approx((20 + 30 + 80) / 60, rel=1e-15)
    assert (row["n"], row["variance"], row["min"], row["max"]) == (3, None, 1.0, 4.0)
    # The scores a ratio lost take their bytes along.
    lost = sn.aggregate(frame.with_columns(value=pl.Series([2.0, None, 4.0]))).row(0, named=True)
    assert lost["mean"] == pytest.approx(100 / 30, rel=1e-15)
    # Where no score that counts has a denominator other than 1, it is a mean like any other.
    plain = [[1.0, 1.0, 1.0], [None, 1.0, None], [None, None, None]]
    for weight in (pl.Series(weights, dtype=pl.Float64) for weights in plain):
        mean = sn.aggregate(frame.with_columns(weight=weight)).row(0, named=True)
        assert (mean["mean"], mean["variance"]) == pytest.approx((7 / 3, 7 / 3))
    assert sn.aggregate(frame.drop("weight"))["variance"].item() == pytest.approx(7 / 3)
    unscored = frame.with_columns(value=pl.Series([2.0, 1.0, None]), weight=pl.Series([1.0, 1.0, 9.0]))
    assert sn.aggregate(unscored)["variance"].item() == 0.5


def test_undefined_moments() -> None:
    nothing = sn.aggregate(simple([None, math.nan, math.inf])).row(0, named=True)
    assert (nothing["n"], nothing["n_missing"], nothing["n_nan"]) == (0, 2, 1)
    assert [nothing[c] for c in ("mean", "variance", "min", "max")] == [None] * 4
    single = sn.aggregate(simple([0.25])).row(0, named=True)
    assert (single["n"], single["mean"], single["variance"]) == (1, 0.25, None)
    with pytest.raises(sn.InsufficientDataError, match="no instance with a score"):
        sn.aggregate(simple([None]), strict=True)


@pytest.mark.parametrize(
    ("metric", "value", "kept"),
    [
        ("acc", math.inf, False),
        ("perplexity", math.inf, True),  # bounded below alone
        ("perplexity", -math.inf, False),
        ("loglikelihood", -math.inf, True),
        ("loglikelihood", math.inf, False),
        ("vibes", math.inf, True),
        ("vibes", -math.inf, True),
    ],
)
def test_infinities_are_judged_by_the_bound_on_their_side(metric: str, value: float, kept: bool) -> None:
    row = sn.aggregate(simple([value, 1.0], metric=metric)).row(0, named=True)
    assert (row["n"], row["n_missing"]) == (1 + kept, 1)


# --- duplicates


def test_exact_duplicates_are_dropped_and_counted() -> None:
    frame = simple([0.0, 1.0, 1.0], instance_id=["0", "1", "1"])
    with pytest.warns(sn.DroppedRowsWarning, match="1 exact duplicate rows were dropped"):
        row = sn.aggregate(frame).row(0, named=True)
    assert (row["n"], row["mean"]) == (2, 0.5)


CONFLICT = [0.0, 1.0, 0.5, 0.25], ["0", "1", "1", "2"]


@pytest.mark.parametrize(("how", "middle"), [("first", 1.0), ("last", 0.5), ("mean", 0.75)])
def test_conflicting_duplicates(how: str, middle: float) -> None:
    values, items = CONFLICT
    frame = simple(values, instance_id=items)
    with pytest.raises(sn.DuplicateKeyError, match=r"instance_id=1 has values 1, 0\.5"):
        sn.aggregate(frame)
    with pytest.warns(sn.DroppedRowsWarning, match=f"1 keys carried different values: took the {how}"):
        row = sn.aggregate(frame, duplicates=how).row(0, named=True)
    assert (row["n"], row["mean"]) == (3, pytest.approx((0.25 + middle) / 3))


def test_the_mean_of_duplicates_leaves_missing_values_out() -> None:
    frame = simple([math.nan, 0.5, None, 1.0], instance_id=["0", "0", "0", "1"])
    row = quiet(sn.aggregate, frame, duplicates="mean").row(0, named=True)
    assert (row["n"], row["mean"]) == (2, 0.75)


def test_unknown_choice_of_duplicates() -> None:
    with pytest.raises(sn.OptionError, match='must be "raise", "first"'):
        sn.aggregate(simple([1.0]), duplicates="newest")


def test_filters_come_before_duplicates() -> None:
    values, items = CONFLICT
    frame = simple(values, instance_id=items, batch=["x", "x", "y", "x"])
    assert sn.aggregate(frame, where="batch = 'x'")["n"].item() == 3


def instance_runs(conflict: bool = False) -> pl.DataFrame:
    scores, _ = sn.simulate(tasks=2, recipes=4, params=(1e9,), checkpoints=6, instances=25)
    if not conflict:
        return scores
    last = scores.tail(1)
    return pl.concat([scores, last.with_columns(value=1.0 - pl.col("value"))])


@pytest.mark.parametrize(
    "verb", [sn.snr, sn.signal, sn.noise, sn.smoothness, sn.average_checkpoints, sn.roll_up]
)
def test_verbs_settle_duplicates_among_instances(verb: Any) -> None:
    frame = instance_runs(conflict=True)
    with pytest.raises(sn.DuplicateKeyError, match="instance_id="):
        verb(frame)
    with pytest.warns(sn.DroppedRowsWarning, match="took the first of each"):
        first = verb(frame, duplicates="first")
    assert_frame_equal(first, verb(instance_runs()), check_exact=True)
    with pytest.warns(sn.DroppedRowsWarning, match="took the mean of each"):
        assert not verb(frame, duplicates="mean").equals(first)


def test_decisions_settle_duplicates_among_instances() -> None:
    sides = {"small": "step <= 3000", "target": "step > 3000", "match": "run"}
    with pytest.raises(sn.DuplicateKeyError, match="instance_id="):
        sn.decision_accuracy(instance_runs(conflict=True), **sides)
    found = quiet(sn.decision_accuracy, instance_runs(conflict=True), duplicates="first", **sides)
    assert_frame_equal(found, quiet(sn.decision_accuracy, instance_runs(), **sides))


# --- the key


def mixed() -> pl.DataFrame:
    return pl.concat(
        simple([float(k), float(k + 1)], config=f"shots={k}", subtask=f"s{k}", filter="none")
        for k in range(2)
    )


def test_config_joins_the_key_and_subtasks_are_pooled() -> None:
    with pytest.warns(sn.MixedKeyWarning, match=r"config joined the key .* \(shots=0, shots=1\)"):
        found = sn.aggregate(mixed())
    assert found.select("config", "n", "mean").rows() == [("shots=0", 2, 0.5), ("shots=1", 2, 1.5)]
    pooled = sn.aggregate(mixed().drop("config"))
    assert pooled.select("n", "mean").rows() == [(4, 1.0)]


def test_filter_joins_the_key() -> None:
    frame = simple([0.0, 1.0], filter=["strict", "flexible"])
    with pytest.warns(sn.MixedKeyWarning, match="filter joined the key"):
        assert sn.aggregate(frame)["filter"].to_list() == ["flexible", "strict"]


def test_nothing_joins_where_nothing_is_mixed(recwarn: pytest.WarningsRecorder) -> None:
    assert sn.aggregate(mixed(), by=("run", "step", "task", "metric", "config"))["n"].to_list() == [2, 2]
    assert not recwarn


def test_by_subsets_and_own_names() -> None:
    frame = pl.concat([simple([0.0, 1.0]), simple([1.0, 1.0, 1.0], run="b"), simple([0.5], task="u")])
    assert sn.aggregate(frame, by="task").select("task", "n").rows() == [("t", 5), ("u", 1)]
    renamed = frame.rename({"run": "model", "task": "benchmark", "step": "ckpt", "instance_id": "doc_id"})
    by = ("model", "ckpt", "benchmark", "metric")
    assert_frame_equal(
        sn.aggregate(renamed, by=by), sn.aggregate(frame).rename(dict(zip(BY, by, strict=True)))
    )
    everything = sn.aggregate(frame.filter(pl.col("task") == "t"), by=())
    assert everything.select("n", "mean").rows() == [(5, 0.8)]
    with pytest.warns(sn.MixedKeyWarning, match="task joined the key"):
        assert sn.aggregate(frame, by="run").columns[:2] == ["run", "task"]
    for absent in ("recipe", "recipee"):
        with pytest.raises(sn.SchemaError, match=f"no column '{absent}'"):
            sn.aggregate(frame, by=absent)


def test_by_a_property_of_the_instances() -> None:
    frame = simple([0.0, 1.0, 1.0, 1.0], level=["hard", "hard", "easy", "easy"])
    found = sn.aggregate(frame, by=("run", "level"))
    assert found.select("level", "n", "mean").rows() == [("easy", 2, 1.0), ("hard", 2, 0.5)]


# --- result rows beside instance rows


def test_result_rows_beside_instance_rows_are_left_out() -> None:
    frame = pl.concat([simple([0.0, 1.0]), simple([0.9], instance_id=None).cast({"instance_id": pl.String})])
    with pytest.warns(sn.DroppedRowsWarning, match="1 result rows beside instance rows were left out"):
        assert sn.aggregate(frame).select("n", "mean").rows() == [(2, 0.5)]


def test_result_rows_alone_count_one_instance_each() -> None:
    frame = simple([0.2, 0.4], step=[1, 2]).drop("instance_id")
    assert sn.aggregate(frame).select("n", "mean").rows() == [(1, 0.2), (1, 0.4)]


def test_scores_of_instances_are_the_scores_of_verbs() -> None:
    instances, _ = sn.simulate(
        tasks=2, recipes=5, checkpoints=4, instances=30, metric=["acc", "bits_per_byte"]
    )
    instances = instances.with_columns(
        weight=pl.when(pl.col("metric") == "bits_per_byte")
        .then(pl.col("instance_id").cast(pl.Categorical).to_physical() + 5.0)
        .otherwise(1.0)
    )
    by = ("run", "recipe", "params", "tokens", "step", "task", "metric")
    results = sn.aggregate(instances, by=by).rename({"mean": "value"})
    for verb in (sn.snr, sn.noise, sn.smoothness):
        assert_frame_equal(verb(instances), verb(results.select(*by, "value")), check_exact=True)


def test_the_tools_own_result_wins() -> None:
    scores, _ = sn.simulate(tasks=1, recipes=3, params=(1e9,), checkpoints=3, instances=20)
    results = quiet(sn.roll_up, scores).select(
        "run", "recipe", "params", "tokens", "step", "task", "metric", "value"
    )
    own = results.head(2).with_columns(pl.col("value") + 100)
    with pytest.warns(
        sn.DroppedRowsWarning, match="2 scores come as result and as instances: the result row"
    ):
        found = sn.roll_up(pl.concat([scores, own], how="diagonal"))
    assert found.height == results.height
    assert (found["value"] > 50).sum() == 2


def test_missing_instances_are_counted_in_verbs() -> None:
    scores, _ = sn.simulate(tasks=1, recipes=3, params=(1e9,), checkpoints=3, instances=5)
    holes = scores.with_columns(
        pl.when(pl.int_range(pl.len()) < 2).then(None).otherwise("value").alias("value")
    )
    with pytest.warns(sn.DroppedRowsWarning, match="2 instance rows have no score"):
        sn.snr(holes)


def test_a_property_of_instances_divides_the_scores_that_name_it() -> None:
    scores, _ = sn.simulate(tasks=1, recipes=4, params=(1e9,), checkpoints=5, instances=20)
    scores = scores.with_columns(
        level=pl.when(pl.col("instance_id").rank("dense") % 2 == 0)
        .then(pl.lit("easy"))
        .otherwise(pl.lit("hard"))
    )
    apart = sn.snr(scores, by=("task", "metric", "level"))
    for level in ("easy", "hard"):
        alone = sn.snr(scores, where=pl.col("level") == level)
        columns = ["n_runs", "mean", "signal", "noise", "snr"]
        assert_frame_equal(apart.filter(level=level).select(columns), alone.select(columns), check_exact=True)
    decided = quiet(
        sn.decision_accuracy, scores, small="level = 'easy'", target="level = 'hard'", match="run"
    )
    assert decided["n_members"].to_list() == [4]
