"""The score store: what goes in comes out, once each, whole, whoever reads it and whatever happens in between."""

from __future__ import annotations

import hashlib
import json
import mmap
import random
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.ipc
import pytest
from polars.testing import assert_frame_equal

import signoise as sn
from killing import run_ingest
from signoise import _core as core
from signoise._readers import read
from signoise._schema import COLUMNS
from signoise._store import StoreWriter
from signoise._store._manifest import dumped, load

KEY = ["run", "step", "task", "subtask", "config", "metric", "filter"]
ROW = [*KEY, "instance_id", "repeat"]


def long_table(seed: int = 0, *, runs: int = 3, steps: int = 4, instances: int = 23) -> pl.DataFrame:
    """Instance rows with everything: 0/1, real and ratio metrics, filters, repeats, subtasks, gaps, null, NaN."""
    rng = np.random.default_rng(seed)
    scores = pl.DataFrame(
        [
            ("arc", None, "acc", None, None, "bit"),
            ("arc", None, "logprob", None, None, "real"),
            ("arc", None, "bits_per_byte", None, None, "ratio"),
            ("wiki", None, "word_perplexity", None, None, "perplexity"),
            ("mmlu", "law", "acc", None, None, "bit"),
            ("mmlu", "logic", "acc", None, None, "gaps"),
            ("gsm8k", None, "exact_match", "strict", None, "bit"),
            ("gsm8k", None, "exact_match", "flexible", None, "nulls"),
            *(("humaneval", None, "pass", None, repeat, "bit") for repeat in range(3)),
        ],
        schema=["task", "subtask", "metric", "filter", "repeat", "kind"],
        orient="row",
    ).with_columns(pl.col("repeat").cast(pl.Int32))
    checkpoints = pl.DataFrame({"run": [f"run-{i}" for i in range(runs)]}).join(
        pl.DataFrame({"step": [1000 * (i + 1) for i in range(steps)]}), how="cross"
    )
    items = pl.DataFrame({"instance_id": [f"q{i:03}" for i in range(instances)]})
    table = checkpoints.join(scores, how="cross").join(items, how="cross")
    n = table.height
    kind = pl.col("kind")
    return (
        table.with_columns(
            hit=pl.Series(rng.integers(0, 2, n).astype(float)),
            real=pl.Series(rng.normal(-1.0, 0.5, n)),
            u=pl.Series(rng.random(n)),
            length=pl.Series(rng.integers(1, 50, n).astype(float)),
            tokens=pl.col("step") * 1e6,
            family=pl.lit("demo"),
            config=pl.when(pl.col("task") == "gsm8k").then(pl.lit("shots=8")),
            cluster=pl.col("instance_id").str.slice(0, 3),
        )
        .with_columns(
            value=pl.when(kind.is_in(["real", "ratio"]))
            .then("real")
            .when((kind == "nulls") & (pl.col("u") < 0.2))
            .then(None)
            .when((kind == "nulls") & (pl.col("u") < 0.3))
            .then(float("nan"))
            .when(kind == "perplexity")
            .then(pl.col("real").exp())
            .otherwise("hit"),
            weight=pl.when(kind.is_in(["ratio", "perplexity"])).then("length").otherwise(1.0),
        )
        .filter((kind != "gaps") | (pl.col("u") < 0.7))
        .drop("kind", "hit", "real", "u", "length")
    )


def store_of(path: Path, *tables: Any, **options: Any) -> sn.ScoreStore:
    for table in tables:
        sn.ingest(table, path, **options)
    return sn.open_store(path)


def rows_of(store: sn.ScoreStore, like: pl.DataFrame) -> pl.DataFrame:
    return store.scan().collect().select(like.columns).sort(ROW)


def same_rows(found: pl.DataFrame, expected: pl.DataFrame) -> None:
    assert_frame_equal(found, expected.select(found.columns).sort(ROW), check_exact=True)


def tree(folder: Path) -> dict[str, str]:
    """Every file of a store and what is in it."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def table() -> pl.DataFrame:
    return long_table()


@pytest.fixture(scope="module")
def store(table: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> sn.ScoreStore:
    return store_of(tmp_path_factory.mktemp("store") / "s", table)


# --- what comes out ----------------------------------------------------------------------------------


def test_rows_come_back_as_they_went_in(store: sn.ScoreStore, table: pl.DataFrame) -> None:
    same_rows(rows_of(store, table), table)


def test_row_order_does_not_matter(table: pl.DataFrame, store: sn.ScoreStore, tmp_path: Path) -> None:
    other = store_of(tmp_path / "s", table.sample(fraction=1.0, shuffle=True, seed=3))
    assert tree(other.path) == tree(store.path)


def test_what_a_store_says_of_itself(store: sn.ScoreStore, table: pl.DataFrame) -> None:
    assert store.tasks == ["arc", "gsm8k", "humaneval", "mmlu", "wiki"]
    assert store.checkpoints.height == 12
    assert store.checkpoints["family"].to_list() == ["demo"] * 12
    assert store.units["n_scores"].sum() == table["value"].count()
    assert store.instances("mmlu", "law")["cluster"].to_list()[:2] == ["q00", "q00"]
    assert "12 checkpoints of 3 runs, 5 tasks in 6 units" in repr(store)


def test_moments_are_those_of_the_long_table(store: sn.ScoreStore, table: pl.DataFrame) -> None:
    by = [*KEY, "tokens"]
    expected = sn.aggregate(table, by=by)
    found = store.moments().select(expected.columns).sort(by)
    assert_frame_equal(found, expected.sort(by), rel_tol=1e-12, abs_tol=1e-15)
    exact = pl.col("metric").is_in(["acc", "exact_match"])
    columns = ["n", "n_missing", "n_nan", "mean", "min", "max"]
    assert_frame_equal(
        found.filter(exact).select(columns), expected.sort(by).filter(exact).select(columns), check_exact=True
    )
    assert store.moments(metrics=["logprob"])["metric"].unique().to_list() == ["logprob"]


@pytest.mark.parametrize("by", [("run", "step", "task", "metric"), ("task", "metric"), ("metric", "run"), ()])
@pytest.mark.parametrize("where", [None, "step > 1000", "instance_id < 'q010'", "value < 0.5"])
@pytest.mark.filterwarnings("ignore::signoise.SignoiseWarning")
def test_aggregate_takes_a_store(
    store: sn.ScoreStore, table: pl.DataFrame, by: tuple[str, ...], where: str | None
) -> None:
    expected = sn.aggregate(table, by=by, where=where)
    assert_frame_equal(sn.aggregate(store, by=by, where=where), expected, rel_tol=1e-12, abs_tol=1e-15)
    assert_frame_equal(sn.aggregate(store.path, by=by, where=where), expected, rel_tol=1e-12, abs_tol=1e-15)


@pytest.mark.filterwarnings("ignore::signoise.SignoiseWarning")
@pytest.mark.parametrize("verb", ["snr", "noise", "smoothness", "average_checkpoints", "roll_up", "report"])
def test_verbs_take_a_store(verb: str, table: pl.DataFrame, store: sn.ScoreStore) -> None:
    run = getattr(sn, verb)
    options = {"where": "metric = 'acc' OR metric = 'bits_per_byte'"}
    expected = run(table, **options)
    found = run([str(store.path)], **options)
    assert_frame_equal(found.select(expected.columns), expected, rel_tol=1e-9, abs_tol=1e-12)


def test_matrices_are_views_of_the_file(store: sn.ScoreStore, table: pl.DataFrame) -> None:
    values, mask, checkpoints = store.matrix("arc", "logprob")
    assert values.shape == (12, 23)
    assert mask is None
    assert not values.flags.writeable
    assert values.dtype == np.float64
    base: Any = values
    while isinstance(base, np.ndarray):
        base = base.base
    assert isinstance(base.obj, mmap.mmap)
    run, step = store.checkpoints.select("run", "step").row(int(checkpoints[5]))
    row = table.filter(run=run, step=step, metric="logprob").sort("instance_id")["value"]
    assert values[5].tolist() == row.to_list()


def test_matrices_of_bits_gaps_and_weights(store: sn.ScoreStore, table: pl.DataFrame) -> None:
    values, mask, _ = store.matrix("mmlu", "acc", subtask="logic")
    assert mask is not None
    assert mask.sum() == table.filter(subtask="logic").height
    assert values.sum() == table.filter(subtask="logic")["value"].sum()
    weights, _, _ = store.matrix("arc", "bits_per_byte", weights=True)
    assert weights.sum() == table.filter(metric="bits_per_byte")["weight"].sum()
    second, _, _ = store.matrix("humaneval", "pass", repeat=1)
    assert second.sum() == table.filter(task="humaneval", repeat=1)["value"].sum()


def test_names_that_are_not_there_are_told(store: sn.ScoreStore) -> None:
    with pytest.raises(sn.SchemaError, match="no task 'arcc'; did you mean 'arc'"):
        store.matrix("arcc", "acc")
    with pytest.raises(sn.SchemaError, match=r"2 units.*say which one"):
        store.matrix("mmlu", "acc")
    with pytest.raises(sn.SchemaError, match="no metric 'ac'; did you mean"):
        store.matrix("arc", "ac")
    with pytest.raises(sn.SchemaError, match="filter='strict'"):
        store.matrix("gsm8k", "exact_match")
    with pytest.raises(sn.SchemaError, match="repeat=2"):
        store.matrix("humaneval", "pass")


# --- files -------------------------------------------------------------------------------------------


def test_zero_one_scores_take_a_bit_and_nothing_is_rounded(store: sn.ScoreStore) -> None:
    kinds = {
        (unit["task"], slot["metric"], slot["filter"]): slot["scores"]["kind"]
        for unit in load(store.path)["units"]
        for part in unit["parts"]
        for slot in part["slots"]
    }
    assert kinds["arc", "acc", None] == "bit"
    assert kinds["arc", "logprob", None] == "float64"
    assert kinds["gsm8k", "exact_match", "flexible"] == "float32"  # with a NaN a bit is not enough


def test_dtypes(table: pl.DataFrame, tmp_path: Path) -> None:
    real = table.filter(metric="logprob")
    rounded = store_of(tmp_path / "f4", real, dtype="float32")
    values, _, _ = rounded.matrix("arc", "logprob")
    assert values.dtype == np.float32
    same_rows(
        rows_of(rounded, real),
        real.with_columns(pl.col("value").cast(pl.Float32).cast(pl.Float64)),
    )
    assert sn.ingest(real, tmp_path / "f4", dtype="float32").added.scores == 0
    single = real.with_columns(pl.col("value").cast(pl.Float32).cast(pl.Float64))
    assert store_of(tmp_path / "auto", single).matrix("arc", "logprob")[0].dtype == np.float32
    wide = store_of(tmp_path / "f8", single, dtype="float64")
    assert wide.matrix("arc", "logprob")[0].dtype == np.float64
    with pytest.raises(sn.OptionError, match="dtype"):
        sn.ingest(real, tmp_path / "x", dtype="half")  # type: ignore[arg-type]


def test_polars_and_pyarrow_read_the_files(store: sn.ScoreStore, table: pl.DataFrame) -> None:
    unit = next(unit for unit in load(store.path)["units"] if unit["subtask"] == "logic")
    part = store.path / unit["parts"][0]["file"]
    values, mask, checkpoints = store.matrix("mmlu", "acc", subtask="logic")
    frame = pl.read_ipc(part)
    assert frame["checkpoint"].to_list() == checkpoints.tolist()
    with pa.memory_map(str(part)) as source:
        arrow = pyarrow.ipc.open_file(source)
        assert arrow.num_record_batches == 1
        cells = arrow.get_batch(0).column("acc")
    for found in (frame["acc"].to_list(), cells.to_pylist()):
        assert mask is not None
        assert found == [
            [bool(x) if there else None for x, there in zip(row, keep, strict=True)]
            for row, keep in zip(values.tolist(), mask.tolist(), strict=True)
        ]
    ids = pl.read_ipc(store.path / unit["instances"][0]["file"])["instance_id"]
    assert ids.to_list() == sorted(set(table.filter(subtask="logic")["instance_id"]))
    assert pl.read_ipc(store.path / "checkpoints-0000.arrow")["run"].n_unique() == 3


def test_weights_of_ratio_metrics_are_columns_of_their_own(store: sn.ScoreStore) -> None:
    unit = next(unit for unit in load(store.path)["units"] if unit["task"] == "arc")
    frame = pl.read_ipc(store.path / unit["parts"][0]["file"])
    assert frame.columns == ["checkpoint", "acc", "bits_per_byte", "bits_per_byte weight", "logprob"]


def test_write_part_refuses_shapes_that_do_not_fit(tmp_path: Path) -> None:
    ids = np.arange(2, dtype=np.uint32)
    with pytest.raises(sn.ShapeError, match=r"expected \[2, 3\]"):
        core.write_part(str(tmp_path / "x"), ids, 3, [("a", np.zeros((2, 2)), None, "auto")])
    with pytest.raises(sn.OptionError, match="dtype"):
        core.write_part(str(tmp_path / "x"), ids, 2, [("a", np.zeros((2, 2)), None, "half")])
    with pytest.raises(sn.ReadError, match="nowhere"):
        core.write_part(str(tmp_path / "nowhere" / "x"), ids, 2, [("a", np.zeros((2, 2)), None, "auto")])


# --- growing -----------------------------------------------------------------------------------------


def test_a_store_grows(table: pl.DataFrame, tmp_path: Path) -> None:
    pieces = [
        table.filter(
            (pl.col("step") <= 2000) & (pl.col("instance_id") < "q015") & (pl.col("task") != "mmlu")
        ),
        table.filter(
            (pl.col("step") <= 2000) & (pl.col("task") != "mmlu") & (pl.col("instance_id") >= "q015")
        ),
        table.filter((pl.col("step") > 2000) & (pl.col("task") != "mmlu")),
        table.filter(task="mmlu"),
    ]
    store = store_of(tmp_path / "s", *pieces)
    same_rows(rows_of(store, table), table)
    by = KEY
    expected = sn.aggregate(table, by=by)
    assert_frame_equal(
        store.moments().select(expected.columns).sort(by), expected.sort(by), rel_tol=1e-12, abs_tol=1e-15
    )
    widths = [part["width"] for part in load(store.path)["units"][0]["parts"]]
    assert widths == [15, 23, 23]
    values, mask, _ = store.matrix("arc", "acc")
    assert values.shape == (12, 23)
    assert mask is None
    store.verify()


def test_the_same_scores_again_change_nothing(table: pl.DataFrame, tmp_path: Path) -> None:
    store_of(tmp_path / "s", table)
    before = tree(tmp_path / "s")
    again = sn.ingest(table, tmp_path / "s")
    assert (again.added.scores, again.added.duplicates) == (0, table.height)
    assert tree(tmp_path / "s") == before
    overlapping = pl.concat([table, table.head(100)])
    assert sn.ingest(overlapping, tmp_path / "s").added.duplicates == overlapping.height
    assert tree(tmp_path / "s") == before


def test_a_score_that_differs_is_an_error_or_a_choice(table: pl.DataFrame, tmp_path: Path) -> None:
    one = table.filter(run="run-1", step=2000, task="arc", metric="acc", instance_id="q003")
    other = one.with_columns(value=1 - pl.col("value"))
    store_of(tmp_path / "s", table)
    before = tree(tmp_path / "s")
    named = (
        "1 scores differ.*run=run-1, step=2000.*task=arc, metric=acc, instance_id=q003 is .* there and .* now"
    )
    with pytest.raises(sn.DuplicateKeyError, match=named):
        sn.ingest(other, tmp_path / "s")
    assert tree(tmp_path / "s") == before
    assert sn.ingest(other, tmp_path / "s", duplicates="first").added.settled == 1
    assert tree(tmp_path / "s") == before
    sn.ingest(other, tmp_path / "s", duplicates="last")
    store = sn.open_store(tmp_path / "s")
    changed = table.update(other, on=[c for c in ROW if c not in ("subtask", "config", "filter", "repeat")])
    same_rows(rows_of(store, table), changed)
    found = store.moments().filter(run="run-1", step=2000, task="arc", metric="acc")
    assert (
        found["mean"][0]
        == sn.aggregate(changed, where="task = 'arc' AND run = 'run-1' AND step = 2000 AND metric = 'acc'")[
            "mean"
        ][0]
    )


def test_duplicates_within_a_source(table: pl.DataFrame, tmp_path: Path) -> None:
    one = table.filter(metric="acc").head(1)
    doubled = pl.concat([table, one.with_columns(value=1 - pl.col("value"))])
    with pytest.raises(sn.DuplicateKeyError, match="1 keys carry different values"):
        sn.ingest(doubled, tmp_path / "s")
    assert sn.ingest(pl.concat([table, one]), tmp_path / "s").added.duplicates == 1


@pytest.mark.parametrize("seed", range(6))
def test_any_way_of_cutting_the_table_gives_the_same_store_of_scores(
    seed: int, table: pl.DataFrame, tmp_path: Path
) -> None:
    rng = np.random.default_rng(seed)
    piece = pl.Series(rng.integers(0, 4, table.height))
    overlap = table.sample(fraction=0.1, seed=seed)
    pieces = [
        pl.concat([table.filter(piece == i), overlap]).sample(fraction=1, shuffle=True) for i in range(4)
    ]
    store = store_of(tmp_path / "s", *pieces)
    same_rows(rows_of(store, table), table)
    expected = sn.aggregate(table, by=KEY).sort(KEY)
    assert_frame_equal(
        store.moments().select(expected.columns).sort(KEY), expected, rel_tol=1e-12, abs_tol=1e-15
    )
    for task, subtask, metric in (("arc", None, "logprob"), ("mmlu", "logic", "acc")):
        values, mask, _ = store.matrix(task, metric, subtask=subtask)
        whole = table.filter(pl.col("task") == task, pl.col("subtask").eq_missing(subtask), metric=metric)
        assert values.sum() == pytest.approx(whole["value"].sum(), rel=1e-12)
        assert (values.size if mask is None else mask.sum()) == whole.height


def test_null_and_absent_are_apart(tmp_path: Path) -> None:
    rows = pl.DataFrame(
        {
            "run": ["a", "a", "b", "b", "b"],
            "task": ["t"] * 5,
            "metric": ["acc"] * 5,
            "instance_id": ["1", "2", "1", "2", "3"],
            "value": [1.0, None, 0.0, float("nan"), 1.0],
        }
    )
    store = store_of(tmp_path / "s", rows)
    found = store.moments().sort("run").select("run", "n", "n_missing", "n_nan", "mean").rows()
    assert found == [("a", 1, 1, 0, 1.0), ("b", 2, 0, 1, 0.5)]
    assert store.scan().collect().height == 5


def test_infinities_count_as_in_the_long_table(tmp_path: Path) -> None:
    inf = float("inf")
    rows = pl.DataFrame(
        {
            "run": ["a"] * 6,
            "task": ["t"] * 6,
            "metric": ["acc"] * 3 + ["logprob"] * 3,
            "instance_id": ["1", "2", "3"] * 2,
            "value": [1.0, inf, 0.25, -1.0, -inf, -2.0],
        }
    )
    by = ["run", "task", "metric"]
    found = store_of(tmp_path / "s", rows).moments()
    expected = sn.aggregate(rows, by=by)
    assert_frame_equal(found.select(expected.columns).sort(by), expected)


@pytest.mark.filterwarnings("ignore:90 instance rows")
def test_results_are_kept_beside_instances(table: pl.DataFrame, tmp_path: Path) -> None:
    results = pl.DataFrame(
        {"run": ["run-0", "run-9"], "step": [1000, 1000], "task": ["arc", "arc"], "metric": ["acc", "acc"],
         "value": [0.77, 0.5], "stderr": [0.1, None]}
    )  # fmt: skip
    both = pl.concat([table, results], how="diagonal_relaxed")
    store = store_of(tmp_path / "s", both)
    assert store.results.select("run", "value", "stderr").rows() == [
        ("run-0", 0.77, 0.1),
        ("run-9", 0.5, None),
    ]
    assert sn.ingest(results, tmp_path / "s").added.results == 0
    with pytest.raises(sn.DuplicateKeyError):
        sn.ingest(results.with_columns(pl.col("value") + 0.1), tmp_path / "s")
    checked = store.self_check()
    assert checked.select("run", "value", "equal").rows() == [("run-0", 0.77, False)]
    where = "task = 'arc' AND metric = 'acc'"
    with pytest.warns(sn.DroppedRowsWarning, match="1 scores come as result and as instances"):
        found = sn.average_checkpoints(store, where=where, window=1)
    assert found.filter(run="run-0", step=1000)["value"].to_list() == [0.77]
    with pytest.warns(sn.DroppedRowsWarning, match="2 result rows beside instance rows were left out"):
        assert sn.aggregate(store, by=["run", "step"], where=where).filter(run="run-9").height == 0


# --- sources -----------------------------------------------------------------------------------------


def write_sources(folder: Path, table: pl.DataFrame) -> None:
    folder.mkdir()
    for (run, step), rows in table.partition_by("run", "step", as_dict=True).items():
        if step % 2000:
            rows.write_parquet(folder / f"{run}-{step}.parquet")
        else:
            rows.write_ndjson(folder / f"{run}-{step}.jsonl")


def test_files_are_ingested_once(table: pl.DataFrame, tmp_path: Path) -> None:
    plain = table.filter(pl.col("task") != "gsm8k")  # NDJSON has no NaN
    write_sources(tmp_path / "dump", plain)
    seen: list[tuple[int, int]] = []
    done = sn.ingest(tmp_path / "dump", tmp_path / "s", progress=lambda *at: seen.append(at))
    assert (done.files, done.known, done.rows) == (12, 0, plain.height)
    assert seen[-1] == (12, 12)
    before = tree(tmp_path / "s")
    same_rows(rows_of(sn.open_store(tmp_path / "s"), plain), plain)
    again = sn.ingest(tmp_path / "dump", tmp_path / "s")
    assert (again.files, again.known, again.rows) == (0, 12, 0)
    assert "12 files known already" in str(again)
    assert tree(tmp_path / "s") == before
    more = long_table(5, runs=1, steps=1).with_columns(run=pl.lit("new"))
    more.write_parquet(tmp_path / "dump" / "z.parquet")
    third = sn.ingest(tmp_path / "dump", tmp_path / "s")
    assert (third.files, third.known, third.added.checkpoints) == (1, 12, 1)
    assert sn.open_store(tmp_path / "s").sources.height == 13


def test_a_changed_file_is_said(table: pl.DataFrame, tmp_path: Path) -> None:
    (tmp_path / "dump").mkdir()
    file = tmp_path / "dump" / "a.parquet"
    first, second = table.filter(run="run-0"), table.filter(pl.col("run") != "run-2")
    first.write_parquet(file)
    sn.ingest(tmp_path / "dump", tmp_path / "s")
    second.write_parquet(file)
    done = sn.ingest(tmp_path / "dump", tmp_path / "s")
    assert "a.parquet has changed since it was ingested" in str(done)
    assert done.added.duplicates == first.height
    same_rows(rows_of(sn.open_store(tmp_path / "s"), second), second)


def test_a_choice_of_rows_is_part_of_what_was_ingested(table: pl.DataFrame, tmp_path: Path) -> None:
    table.write_parquet(tmp_path / "a.parquet")
    done = sn.ingest(tmp_path / "a.parquet", tmp_path / "s", metrics=["acc"], where="step = 1000")
    assert done.added.scores == table.filter(metric="acc", step=1000).height
    assert sn.ingest(tmp_path / "a.parquet", tmp_path / "s", metrics=["acc"], where="step = 1000").known == 1
    rest = sn.ingest(tmp_path / "a.parquet", tmp_path / "s")
    assert rest.files == 1
    same_rows(rows_of(sn.open_store(tmp_path / "s"), table), table)


def test_what_is_no_score_file_is_left_out_and_named(table: pl.DataFrame, tmp_path: Path) -> None:
    (tmp_path / "dump").mkdir()
    table.write_parquet(tmp_path / "dump" / "a.parquet")
    (tmp_path / "dump" / "README.md").write_text("hello")
    (tmp_path / "dump" / "b.parquet").write_bytes(b"PAR1 cut")
    (tmp_path / "dump" / "c.csv").write_text("x,y\n1,2\n")
    with pytest.warns(sn.DroppedRowsWarning, match="b.parquet"):
        done = sn.ingest(tmp_path / "dump", tmp_path / "s")
    assert (done.files, done.added.scores) == (1, table["value"].count())
    assert any("c.csv" in line for line in done.summary())
    with pytest.raises(sn.SignoiseError):
        sn.ingest(tmp_path / "dump", tmp_path / "strict", strict=True)
    (tmp_path / "dump" / "a.parquet").unlink()
    with pytest.raises(sn.ReadError, match="nothing could be ingested from 3 files"):
        sn.ingest(tmp_path / "dump", tmp_path / "none")


def test_a_store_inside_its_source_is_not_read(table: pl.DataFrame, tmp_path: Path) -> None:
    table.write_parquet(tmp_path / "a.parquet")
    for _ in range(2):
        sn.ingest(tmp_path, tmp_path / "s")
    assert sn.open_store(tmp_path / "s").sources["source"].to_list() == ["a.parquet"]


def test_a_store_can_be_ingested(store: sn.ScoreStore, table: pl.DataFrame, tmp_path: Path) -> None:
    copy = store_of(tmp_path / "s", store)
    same_rows(rows_of(copy, table), table)


@pytest.mark.filterwarnings("ignore::signoise.DroppedRowsWarning")
def test_dumps_of_harnesses_are_ingested(shared: Path, tmp_path: Path) -> None:
    """All rows that the readers give, and the harnesses' own results beside them."""
    source = shared / "data" / "dumps"
    read: pl.DataFrame = sn.scan_scores(source).collect()
    done = sn.ingest(source, tmp_path / "s", duplicates="first")
    assert done.files > 0
    store = sn.open_store(tmp_path / "s")
    columns = [name for name in COLUMNS if name not in ("source", "stderr", "n")]
    key = [name for name in columns if name not in ("cluster", "value", "weight")]
    expected = read.filter(pl.col("instance_id").is_not_null()).unique(
        subset=key, keep="first", maintain_order=True
    )
    found = store.scan().select(columns).collect()
    assert found.height == expected.height
    both = expected.select(columns).join(found, on=key, how="inner", nulls_equal=True, suffix="_stored")
    assert both.height == expected.height
    assert both["value"].equals(both["value_stored"])
    before = tree(tmp_path / "s")
    again = sn.ingest(source, tmp_path / "s", duplicates="first")
    assert (again.files, again.rows, again.added.scores) == (0, 0, 0)
    assert tree(tmp_path / "s") == before
    checked = store.self_check()
    assert checked.height > 0


def test_matrices_can_be_added_directly(tmp_path: Path) -> None:
    with StoreWriter(tmp_path / "s") as writer:
        ids = writer.checkpoint_ids(pl.DataFrame({"run": ["a", "b"], "step": [1, 1], "extra": ["x", "y"]}))
        scores = np.array([[0.5, 1.5, 2.5], [1.0, 2.0, 3.0]], dtype=np.float32)
        writer.add_matrix(("t", None, None), ids, ["i", "j", "k"], {("loss", None, None): scores})
        writer.add_matrix(
            ("t", None, None), ids[1:], ["k", "z"], {("acc", None, 0): np.array([[True, False]])}
        )
        assert writer.commit()
        assert not writer.commit()
        with pytest.raises(sn.ShapeError, match="given twice"):
            writer.add_matrix(("t", None, None), ids[[0, 0]], ["i"], {("x", None, None): np.zeros((2, 1))})
        with pytest.raises(sn.ShapeError, match="once each"):
            writer.add_matrix(("t", None, None), ids, ["i", "i"], {("x", None, None): np.zeros((2, 2))})
        with pytest.raises(sn.ShapeError, match="expected"):
            writer.add_matrix(("t", None, None), ids, ["i"], {("x", None, None): np.zeros((1, 1))})
    store = sn.open_store(tmp_path / "s")
    assert store.instances("t")["instance_id"].to_list() == ["i", "j", "k", "z"]
    values, mask, _ = store.matrix("t", "acc")
    assert mask is not None
    assert (values.tolist(), mask.tolist()) == ([[0.0, 0.0, 1.0, 0.0]], [[False, False, True, True]])
    assert store.moments().select("run", "metric", "n", "mean", "extra").rows() == [
        ("b", "acc", 2, 0.5, "y"),
        ("a", "loss", 3, 1.5, "x"),
        ("b", "loss", 3, 2.0, "y"),
    ]


# --- damage ------------------------------------------------------------------------------------------


def test_verify_names_a_flipped_byte(table: pl.DataFrame, tmp_path: Path) -> None:
    store = store_of(tmp_path / "s", table)
    store.verify()
    files = [file for file in tree(store.path) if file.endswith(".arrow")]
    for name in files[:: len(files) // 4]:
        path = store.path / name
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
        with pytest.raises(sn.StoreError, match=f"1 of {len(files)} files are damaged: {name}"):
            store.verify()
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    (store.path / files[0]).unlink()
    with pytest.raises(sn.StoreError, match=f"{files[0]} is missing"):
        store.verify()


def test_a_cut_part_is_an_error_and_no_crash(table: pl.DataFrame, tmp_path: Path) -> None:
    store = store_of(tmp_path / "s", table)
    part = store.parts(0)[0].path
    part.write_bytes(part.read_bytes()[:100])
    with pytest.raises(sn.StoreError, match="has 100 bytes, and the manifest says"):
        sn.open_store(store.path).moments()


def test_manifests_that_cannot_be_used(table: pl.DataFrame, tmp_path: Path) -> None:
    store = store_of(tmp_path / "s", table)
    manifest = store.path / "manifest.json"
    content = manifest.read_text()
    assert json.loads(content)["version"] == 1
    manifest.write_text(content.replace('"rows": 12', '"rows": 13', 1))
    with pytest.raises(sn.StoreError, match="damaged: its checksum"):
        sn.open_store(store.path)
    manifest.write_text(content[:-30])
    with pytest.raises(sn.StoreError, match="damaged"):
        sn.open_store(store.path)
    newer = load_text(content)
    newer["version"] = 2
    manifest.write_bytes(dumped(newer))
    with pytest.raises(
        sn.StoreError, match="format version 2, and this signoise reads up to 1; install a newer"
    ):
        sn.open_store(store.path)
    with pytest.raises(sn.StoreError, match="no score store"):
        sn.open_store(tmp_path)
    with pytest.raises(sn.StoreError, match="install a newer"):
        sn.snr(store.path)


def load_text(content: str) -> Any:
    found = json.loads(content)
    del found["crc32"]
    return found


def test_a_directory_with_other_files_is_left_alone(table: pl.DataFrame, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("important")
    with pytest.raises(sn.StoreError, match="other files"):
        sn.ingest(table, tmp_path)
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "units").mkdir()
    store_of(tmp_path / "s", table)
    (tmp_path / "s" / "notes.txt").write_text("mine")
    (tmp_path / "s" / "units" / "part-0009.arrow").write_text("mine too: no unit's folder")
    sn.ingest(long_table(9), tmp_path / "s", duplicates="first")
    assert (tmp_path / "s" / "notes.txt").exists()


# --- two at once, and kill -9 ------------------------------------------------------------------------


def test_only_one_writes_at_a_time(table: pl.DataFrame, tmp_path: Path) -> None:
    with StoreWriter(tmp_path / "s"), pytest.raises(sn.StoreError, match="another ingest is writing"):
        sn.ingest(table, tmp_path / "s")
    store_of(tmp_path / "s", table)


def test_an_open_store_does_not_see_what_comes_later(table: pl.DataFrame, tmp_path: Path) -> None:
    first, rest = table.filter(run="run-0"), table.filter(pl.col("run") != "run-0")
    old = store_of(tmp_path / "s", first)
    store_of(tmp_path / "s", rest)
    same_rows(rows_of(old, first), first)
    old.verify()


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this system")
def test_kill_9_twenty_times(tmp_path: Path) -> None:
    table = long_table(1, runs=8, steps=3, instances=12).filter(pl.col("task").is_in(["arc", "mmlu"]))
    (tmp_path / "dump").mkdir()
    for (run, step), rows in table.partition_by("run", "step", as_dict=True).items():
        rows.write_parquet(tmp_path / "dump" / f"{run}-{step:05}.parquet")
    started = time.monotonic()
    assert run_ingest(tmp_path / "dump", tmp_path / "whole", None)
    duration = time.monotonic() - started
    whole = tree(tmp_path / "whole")
    rng = random.Random(11)
    kills = 0
    seen = -1
    while kills < 20:
        if run_ingest(tmp_path / "dump", tmp_path / "killed", rng.random() * duration / 6):
            shutil.rmtree(tmp_path / "killed")  # it was too fast for us: begin again
            seen = -1
            continue
        kills += 1
        if not (tmp_path / "killed" / "manifest.json").exists():
            continue
        # Whatever is visible is whole, and nothing that was visible is lost.
        store = sn.open_store(tmp_path / "killed")
        store.verify()
        files = store.sources.height
        assert files >= seen
        seen = files
        rows = store.scan().collect()
        assert rows.select("run", "step").n_unique() == files
        done = table.join(rows.select("run", "step").unique(), on=["run", "step"], how="semi")
        same_rows(rows.select(table.columns).sort(ROW), done)
    assert run_ingest(tmp_path / "dump", tmp_path / "killed", None)
    assert tree(tmp_path / "killed") == whole


def test_an_ingest_that_fails_leaves_no_folders(table: pl.DataFrame, tmp_path: Path) -> None:
    twice = pl.concat([table.head(1), table.head(1).with_columns(value=pl.col("value") + 1.0)])
    with pytest.raises(sn.DuplicateKeyError):
        sn.ingest(twice, tmp_path / "s")
    assert [path.name for path in (tmp_path / "s").iterdir()] == [".lock"]


@pytest.mark.filterwarnings("ignore::signoise.DroppedRowsWarning")
def test_an_ingest_of_dumps_that_is_stopped_goes_on(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = shared / "data" / "dumps"
    monkeypatch.setattr("signoise._store._ingest.BATCH_BYTES", 1)
    sn.ingest(source, tmp_path / "whole", duplicates="first")
    commit = StoreWriter.commit
    for allowed in (3, 1, 9, 30):
        left = iter(range(allowed))

        def interrupted(writer: StoreWriter, *sources: Any, left: Any = left, **options: Any) -> bool:
            if next(left, None) is None:
                raise KeyboardInterrupt
            return commit(writer, *sources, **options)

        monkeypatch.setattr(StoreWriter, "commit", interrupted)
        with pytest.raises(KeyboardInterrupt):
            sn.ingest(source, tmp_path / "stopped", duplicates="first")
        monkeypatch.setattr(StoreWriter, "commit", commit)
        sn.open_store(tmp_path / "stopped").verify()
    sn.ingest(source, tmp_path / "stopped", duplicates="first")
    assert tree(tmp_path / "stopped") == tree(tmp_path / "whole")


# --- command line ------------------------------------------------------------------------------------


def test_the_command_line(table: pl.DataFrame, tmp_path: Path) -> None:
    from click.testing import CliRunner

    from signoise._cli import main

    table.write_parquet(tmp_path / "a.parquet")
    source, target = str(tmp_path / "a.parquet"), str(tmp_path / "s")
    done = CliRunner().invoke(main, ["ingest", source, target, "--metrics", "acc,bits_per_byte"])
    assert done.exit_code == 0, done.output
    assert "ingested 1 file" in done.stderr
    assert "12 new checkpoints, 3 new units" in done.stderr
    for command in ("report", "scan", "snr", "aggregate"):
        shown = CliRunner().invoke(main, [command, target, "--json"])
        assert shown.exit_code == 0, shown.output
        assert json.loads(shown.stdout)
    assert "score store" in CliRunner().invoke(main, ["scan", target, "--json"]).stderr
    mixed = CliRunner().invoke(main, ["snr", target, source])
    assert mixed.exit_code == 1
    assert "cannot be mixed" in mixed.stderr
    again = CliRunner().invoke(main, ["ingest", source, str(tmp_path)])
    assert again.exit_code == 1
    assert "other files" in again.stderr


def test_a_store_among_dumps_is_passed_over(tmp_path: Path) -> None:
    frame = long_table(3)
    frame.write_parquet(tmp_path / "t.parquet")
    sn.ingest(tmp_path / "t.parquet", tmp_path / "scores.store")
    _, report = read(tmp_path)
    assert report.files == {"table": 1}
    assert report.ignored == {"score store{s}, to be given by their own path": ["scores.store/manifest.json"]}
