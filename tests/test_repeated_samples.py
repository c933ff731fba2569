"""Samples of instances in every form they come in: rows with repeats, stores, counts, lists of outcomes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import signoise as sn
from signoise._sampling._samples import RepeatedSamples, load_repeated


def loaded(scores: Any, **options: Any) -> RepeatedSamples:
    settings: dict[str, Any] = {
        "who": "pass_at_k",
        "by": ("task", "metric"),
        "where": None,
        "order": "tokens",
        "cluster": None,
        "columns": None,
        "duplicates": "raise",
        "strict": False,
        "threads": None,
    }
    return load_repeated(scores, **settings | options)


def rows(items: int = 6, n: int = 4, **more: Any) -> pl.DataFrame:
    """Samples of two runs: item i of run r has (i + r) % (n + 1) right ones."""
    table = [
        {
            "run": f"m{run}",
            "task": "code",
            "metric": "pass@1",
            "instance_id": f"i{item}",
            "repeat": sample,
            "value": float(sample < (item + run) % (n + 1)),
        }
        for run in range(2)
        for item in range(items)
        for sample in range(n)
    ]
    return pl.DataFrame(table).with_columns(**{name: pl.lit(value) for name, value in more.items()})


def as_counts(frame: pl.DataFrame) -> pl.DataFrame:
    key = [name for name in frame.columns if name not in ("repeat", "value")]
    return frame.group_by(key, maintain_order=True).agg(
        pl.len().alias("n"), pl.col("value").sum().cast(pl.Int64).alias("c")
    )


def as_outcomes(frame: pl.DataFrame) -> pl.DataFrame:
    key = [name for name in frame.columns if name not in ("repeat", "value")]
    return frame.group_by(key, maintain_order=True).agg(pl.col("value").cast(pl.Boolean).alias("outcomes"))


def test_all_forms_are_one(tmp_path: Path) -> None:
    frame = rows()
    expected = loaded(frame)
    assert expected.items["c"].to_list() == [0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1]
    assert expected.starts.tolist() == [0, 6, 12]
    frame.write_parquet(tmp_path / "rows.parquet")
    as_counts(frame).write_csv(tmp_path / "counts.csv")
    as_outcomes(frame).write_parquet(tmp_path / "outcomes.parquet")
    as_outcomes(frame).write_ndjson(tmp_path / "outcomes.jsonl")
    sn.ingest(frame, tmp_path / "store")
    shuffled = frame.sample(fraction=1.0, shuffle=True, seed=3)
    renamed = as_counts(frame).rename({"n": "n_samples", "c": "hits", "instance_id": "item"})
    forms: list[tuple[Any, dict[str, Any]]] = [
        (shuffled, {}),
        (as_counts(shuffled), {}),
        (as_outcomes(frame).reverse(), {}),
        (renamed, {"columns": {"hits": "n_correct"}}),
        (as_outcomes(frame).rename({"outcomes": "tests"}), {"columns": {"tests": "outcomes"}}),
        *((tmp_path / name, {}) for name in ("rows.parquet", "outcomes.parquet", "outcomes.jsonl", "store")),
        (tmp_path / "counts.csv", {}),
    ]
    for scores, options in forms:
        found = loaded(scores, **options)
        assert found.items.equals(expected.items), scores
        assert found.labels.equals(expected.labels)
        assert found.units.tolist() == expected.units.tolist()


def test_single_samples_are_kept_in_their_order() -> None:
    found = loaded(rows().with_columns(tokens_used=pl.int_range(pl.len())), use=["tokens_used"])
    assert found.rows is not None
    assert found.rows.columns == ["item", "repeat", "value", "tokens_used"]
    assert found.rows.filter(pl.col("item") == 7)["value"].to_list() == [1.0, 1.0, 0.0, 0.0]
    assert found.rows["tokens_used"].to_list() == list(range(48))
    assert loaded(as_counts(rows())).rows is None
    assert loaded(as_outcomes(rows())).rows is not None


def test_outcomes_win_over_counts_and_scores_over_both() -> None:
    both = as_outcomes(rows()).with_columns(n=pl.lit(9), c=pl.lit(9))
    assert loaded(both).items["n"].to_list() == [4] * 12
    single = both.with_columns(value=pl.lit(1.0))
    assert loaded(single).items["n"].to_list() == [1] * 12


def test_missing_samples_are_counted_and_left_out() -> None:
    frame = rows().with_columns(
        value=pl.when(pl.col("repeat") == 0)
        .then(None)
        .when(pl.col("repeat") == 1)
        .then(np.nan)
        .otherwise("value")
    )
    found = loaded(frame)
    assert found.items["n"].to_list() == [2] * 12
    assert found.counts.rows() == [(6, 6), (6, 6)]
    nothing = loaded(frame.with_columns(value=pl.when(pl.col("run") == "m1").then("value")))
    assert nothing.starts.tolist() == [0, 0, 6]
    assert loaded(
        as_counts(rows()).with_columns(n=pl.when(pl.col("c") > 0).then("n").otherwise(0))
    ).counts.rows() == [
        (2, 0),
        (1, 0),
    ]


def test_the_last_checkpoint_unless_steps_are_asked_for() -> None:
    frame = pl.concat([rows(step=step) for step in (1, 2)])
    assert loaded(frame).labels["step"].to_list() == [2, 2]
    assert loaded(frame, by=("step", "task")).labels["step"].to_list() == [1, 2, 1, 2]


def test_columns_that_tell_samples_apart() -> None:
    frame = pl.concat([rows(temperature=t) for t in (0.2, 0.8)])
    by = ("task", "temperature")
    assert loaded(frame, by=by).labels["temperature"].to_list() == [0.2, 0.8, 0.2, 0.8]
    assert loaded(as_counts(frame), by=by).items["n"].sum() == 96
    with pytest.warns(sn.MixedKeyWarning, match="config joined the key"):
        mixed = loaded(pl.concat([rows(config=text) for text in ("shots=0", "shots=5")]))
    assert mixed.labels.height == 4
    different = frame.with_columns(value=pl.when(pl.col("temperature") > 0.5).then(0.0).otherwise("value"))
    with pytest.raises(sn.DuplicateKeyError, match="add the column that tells scores apart to by"):
        loaded(different)
    fewer = as_counts(frame).with_columns(n=pl.when(pl.col("temperature") > 0.5).then(8).otherwise("n"))
    with pytest.raises(sn.DuplicateKeyError, match="several counts of samples"):
        loaded(fewer)


def test_samples_without_a_number_are_not_dropped_as_duplicates() -> None:
    with pytest.raises(sn.SchemaError, match="number their samples in a column repeat"):
        loaded(rows().drop("repeat"))
    assert loaded(rows(n=1).drop("repeat")).items["n"].to_list() == [1] * 12


def test_clusters_stand_together() -> None:
    # Every other item has no cluster, and is one of its own.
    frame = rows().with_columns(
        cluster=pl.when(pl.col("instance_id") > "i2").then(
            pl.lit("p") + (pl.col("instance_id") > "i4").cast(pl.String)
        )
    )
    found = loaded(frame)
    assert found.items["__cluster"].head(6).to_list() == [None, None, None, "pfalse", "pfalse", "ptrue"]
    values = found.part(0)["c"].to_numpy().astype(float)
    assert found.sample(0, values).members.tolist() == [0, 1, 2, 3, 5, 6]
    assert found.part(1)["c"].to_list() == [1, 2, 3, 4, 0, 1]
    assert not loaded(frame, cluster="instance_id").sample(0, values).clustered


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (
            rows().with_columns(value=pl.col("value") / 2),
            "right \\(1\\) or wrong \\(0\\), got 0.5 of metric 'pass@1'",
        ),
        (as_counts(rows()).with_columns(c=pl.col("n") + 1), "instance 'i0' has 5 right samples of 4 "),
        (as_counts(rows()).with_columns(c=pl.lit(1.5)), r"instance 'i0' has 1\.5 right samples of 4 "),
        (rows().with_columns(metric=pl.lit("perplexity")), "right \\(1\\) or wrong"),
        (rows().drop("instance_id", "repeat").unique(["run"]), "pass_at_k works on samples of instances"),
    ],
)
def test_what_is_no_sample(frame: pl.DataFrame, message: str) -> None:
    with pytest.raises(sn.SchemaError, match=message):
        loaded(frame)


def test_metrics_that_are_not_right_or_wrong_are_left_out_beside_others() -> None:
    lengths = rows().with_columns(metric=pl.lit("length"), value=pl.col("repeat") + 10.0)
    with pytest.warns(sn.DroppedRowsWarning, match="48 rows of length were left out"):
        found = loaded(pl.concat([rows(), lengths]))
    assert found.labels["metric"].unique().to_list() == ["pass@1"]
    assert loaded(lengths, right_or_wrong=False).labels.height == 2


def test_tables_of_counts_have_scores_for_other_verbs() -> None:
    table = sn.aggregate(as_counts(rows()), by=("run", "task"))
    assert table["mean"].to_list() == pytest.approx([10 / 24, 11 / 24])
    assert table["mean"].to_list() == pytest.approx(
        sn.aggregate(rows(), by=("run", "task"))["mean"].to_list()
    )
    assert sn.aggregate(as_outcomes(rows()), by=("run", "task")).equals(
        sn.aggregate(rows().with_columns(metric=pl.lit("pass@1")), by=("run", "task"))
    )
