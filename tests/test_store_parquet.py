"""Tables of instances in Parquet on the short way into a store: the same store as on the way through data frames."""

from __future__ import annotations

import hashlib
import random
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import signoise as sn
from killing import run_ingest
from signoise._store import StoreWriter, _dense, _ingest
from signoise._store import _manifest as manifests
from signoise._store._parts import PartFile, key_of, overlaid
from signoise._store._writer import CHECKPOINT_SCHEMA, INSTANCE_SCHEMA, read_pieces, unit_key

METRICS = ["primary_score", "acc_per_char", "logits_per_byte_corr"]


def instances(
    seed: int = 0,
    *,
    models: int = 3,
    steps: int = 3,
    sizes: tuple[int, ...] = (7, 12, 5),
    number_ids: bool = False,
) -> pl.DataFrame:
    """A dump of instances: rows sorted by model, step, task, subtask, instance."""
    rng = np.random.default_rng(seed)
    tasks = [("mmlu", "law"), ("mmlu", "logic"), ("arc", None)]
    rows = [
        (
            f"recipe{m}-150M-5xC",
            f"recipe{m}",
            "150M",
            1000 * (s + 1),
            m % 2,
            task,
            subtask,
            i if number_ids else f"q{i}",
        )
        for m in range(models)
        for s in range(steps)
        for (task, subtask), size in zip(tasks, sizes, strict=True)
        for i in range(size)
    ]
    names = ["model", "mix", "size", "step", "seed", "task", "subtask", "instance_id"]
    n = len(rows)
    return pl.DataFrame(rows, schema=names, orient="row").with_columns(
        primary_score=pl.Series(rng.integers(0, 2, n).astype(float)),
        acc_per_char=pl.Series(rng.integers(0, 2, n)),
        logits_per_byte_corr=pl.Series(rng.normal(1.0, 0.3, n)),
        sum_logits=pl.Series(rng.normal(-30.0, 5.0, n).astype(np.float32)),
        family=pl.lit("demo"),
    )


def write(folder: Path, table: pl.DataFrame, *, by: str | None = "model", **options: Any) -> None:
    """One file a model; options are pyarrow's."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = {("all",): table} if by is None else table.partition_by(by, as_dict=True, maintain_order=True)
    for key, part in parts.items():
        pq.write_table(
            part.to_arrow().cast(plain(part.to_arrow().schema)), folder / f"{key[0]}.parquet", **options
        )


def plain(schema: pa.Schema) -> pa.Schema:
    return pa.schema(
        [pa.field(f.name, pa.string() if pa.types.is_large_string(f.type) else f.type) for f in schema]
    )


@pytest.fixture
def long_way(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Ingest through data frames; the files one by one, if asked."""

    def ingest(source: Path, store: Path, **options: Any) -> sn.Ingested:
        with monkeypatch.context() as patch:
            patch.setattr(_ingest, "DENSE", False)
            return sn.ingest(source, store, **options)

    return ingest


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> list[int | None]:
    """What the short way gave, call by call."""
    calls: list[int | None] = []
    original = _ingest.add_dense

    def spy(*arguments: Any, **options: Any) -> int | None:
        calls.append(original(*arguments, **options))
        return calls[-1]

    monkeypatch.setattr(_ingest, "add_dense", spy)
    return calls


def tree(folder: Path) -> dict[str, str]:
    return {
        file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def content(path: Path) -> dict[str, Any]:
    """Everything in a store but how it is cut into parts."""
    with StoreWriter(path) as writer:
        manifest = writer.manifest
    checkpoints = read_pieces(path, manifest["checkpoints"], CHECKPOINT_SCHEMA)
    found: dict[str, Any] = {
        "checkpoints": checkpoints.rows(),
        "columns": checkpoints.schema,
        "sources": manifest["sources"],
        "units": [],
    }
    for unit in manifest["units"]:
        ids = read_pieces(path, unit["instances"], INSTANCE_SCHEMA)
        files = [PartFile(path / part["file"], part) for part in unit["parts"]]
        slots: dict[Any, Any] = {}
        for key in sorted({key_of(slot) for file in files for slot in file.part["slots"]}, key=str):
            held = [(file, slot) for file in files for slot in file.part["slots"] if key_of(slot) == key]
            cells = overlaid(held, np.arange(checkpoints.height, dtype=np.uint32), ids.height)
            n = sum(slot["n"] for _, slot in held)
            slots[key] = (n, cells.values.tobytes(), cells.there.tobytes(), cells.not_scored.tobytes())
        found["units"].append((unit_key(unit), ids.rows(), slots))
    return found


LAYOUTS = [
    {},
    {"row_group_size": 24},
    {"row_group_size": 10},
    {"use_dictionary": False},
    {"use_dictionary": ["task", "model"], "compression": "zstd", "data_page_size": 64},
    {"data_page_version": "2.0", "compression": "none"},
    {"write_statistics": False},
]


@pytest.mark.parametrize("options", LAYOUTS, ids=str)
@pytest.mark.parametrize("by", ["model", "task", "step", None])
def test_the_same_store_as_through_data_frames(
    options: dict[str, Any], by: str | None, tmp_path: Path, long_way: Any, fast: list[int | None]
) -> None:
    write(tmp_path / "dump", instances(), by=by, **options)
    done = sn.ingest(tmp_path / "dump", tmp_path / "fast")
    other = long_way(tmp_path / "dump", tmp_path / "long")
    assert fast == [instances().height]
    assert content(tmp_path / "fast") == content(tmp_path / "long")
    assert (done.rows, done.added, done.files, done.notes) == (
        other.rows,
        other.added,
        other.files,
        other.notes,
    )
    assert done.report.rows == other.report.rows


@pytest.mark.slow
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 1000),
    missing=st.sampled_from([0.0, 0.1, 0.6]),
    nulls=st.sampled_from([0.0, 0.1, 0.9]),
    repeats=st.sampled_from(["none", "exact", "conflicting"]),
    order=st.sampled_from(["sorted", "reversed", "shuffled"]),
    numbers=st.booleans(),
    options=st.sampled_from(LAYOUTS),
    by=st.sampled_from(["model", "task", None]),
    choice=st.sampled_from([{}, {"metrics": ["acc_per_char"]}, {"dtype": "float32"}]),
)
def test_any_table_gives_the_same_bytes_file_by_file(
    seed: int,
    missing: float,
    nulls: float,
    repeats: str,
    order: str,
    numbers: bool,
    options: dict[str, Any],
    by: str | None,
    choice: dict[str, Any],
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(seed)
    folder = tmp_path_factory.mktemp("any")
    table = instances(seed, number_ids=numbers)
    table = table.filter(pl.Series(rng.random(table.height) >= missing))
    for name in METRICS:
        hit, nan = rng.random(table.height) < nulls, rng.random(table.height) < nulls / 2
        values = pl.when(pl.Series(hit)).then(None).otherwise(pl.col(name))
        if table[name].dtype == pl.Float64:
            values = pl.when(pl.Series(nan)).then(float("nan")).otherwise(values)
        table = table.with_columns(values.alias(name))
    if repeats != "none":
        more = table.sample(3, seed=seed)
        if repeats == "conflicting":
            more = more.with_columns(pl.col("logits_per_byte_corr") + 1.0)
        table = pl.concat([table, more])
        choice = {**choice, "duplicates": "first"}
    if order == "reversed":
        table = table.reverse()
    if order == "shuffled":
        table = table.sample(fraction=1.0, shuffle=True, seed=seed)
    write(folder / "dump", table, by=by, **options)
    with monkeypatch.context() as patch:
        patch.setattr(_ingest, "BATCH_FILES", 1)
        patch.setattr(_ingest, "BATCH_BYTES", 1)
        done = sn.ingest(folder / "dump", folder / "fast", **choice)
        patch.setattr(_ingest, "DENSE", False)
        other = sn.ingest(folder / "dump", folder / "long", **choice)
    assert tree(folder / "fast") == tree(folder / "long")
    assert (done.rows, done.added, done.notes) == (other.rows, other.added, other.notes)


@pytest.mark.parametrize("cells", [1, 1000, 1 << 26])
@pytest.mark.parametrize("options", [{}, {"use_dictionary": False}, {"row_group_size": 620}])
def test_rows_in_no_order_go_the_short_way(
    cells: int,
    options: dict[str, Any],
    tmp_path: Path,
    long_way: Any,
    fast: list[int | None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_dense, "CELLS", cells)
    monkeypatch.setattr(_ingest, "BATCH_ROWS", 1)
    table = instances(6, models=5, steps=4, sizes=(40, 50, 20), number_ids=True)
    # Some instances, and one unit of a checkpoint, are not there.
    table = table.filter(
        pl.Series(np.random.default_rng(0).random(table.height) > 0.1),
        (pl.col("task") != "arc") | (pl.col("step") != 2000),
    ).sample(fraction=1.0, shuffle=True, seed=1)
    file = pl.int_range(pl.len()) % 3
    write(tmp_path / "dump", table.with_columns(file=file), by="file", **options)
    done = sn.ingest(tmp_path / "dump", tmp_path / "fast", metrics=METRICS, threads=2)
    other = long_way(tmp_path / "dump", tmp_path / "long", metrics=METRICS)
    # All files in one commit: each has scores of every checkpoint.
    assert fast == [table.height]
    assert content(tmp_path / "fast") == content(tmp_path / "long")
    assert (done.rows, done.added.scores, done.added.instances) == (
        other.rows,
        other.added.scores,
        other.added.instances,
    )
    parts = [len(unit["parts"]) for unit in manifests.load(tmp_path / "fast")["units"]]
    assert max(parts) == {1: 20, 1000: 7}.get(cells, 1)
    sn.ingest(tmp_path / "dump", tmp_path / "one", metrics=METRICS, threads=1)
    assert tree(tmp_path / "one") == tree(tmp_path / "fast")


@pytest.mark.parametrize("cells", [1, 1 << 26])
def test_a_repeat_among_rows_in_no_order_goes_the_long_way(
    cells: int, tmp_path: Path, long_way: Any, fast: list[int | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_dense, "CELLS", cells)
    table = instances(8, sizes=(40, 50, 20))
    # In the last checkpoint, after others were laid out.
    table = pl.concat([table, table.tail(1)]).sample(fraction=1.0, shuffle=True, seed=1)
    write(tmp_path / "dump", table, by=None)
    done = sn.ingest(tmp_path / "dump", tmp_path / "fast")
    other = long_way(tmp_path / "dump", tmp_path / "long")
    assert fast == [None]
    assert tree(tmp_path / "fast") == tree(tmp_path / "long")
    assert done.added == other.added


@pytest.mark.parametrize("rows", [1, 100, 10_000])
def test_threads_change_nothing(rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_ingest, "BATCH_ROWS", rows)
    write(tmp_path / "dump", instances(1), row_group_size=24)
    for threads in (1, 2, 8):
        sn.ingest(tmp_path / "dump", tmp_path / f"store-{threads}", threads=threads)
    assert tree(tmp_path / "store-1") == tree(tmp_path / "store-2") == tree(tmp_path / "store-8")


def test_a_store_grows_and_the_same_files_change_nothing(
    tmp_path: Path, long_way: Any, fast: list[int | None]
) -> None:
    table = instances(2, models=4)
    first = table.filter(~pl.col("model").str.contains("recipe3"), pl.col("instance_id") != "q3")
    write(tmp_path / "dump", first)
    sn.ingest(tmp_path / "dump", tmp_path / "fast")
    long_way(tmp_path / "dump", tmp_path / "long")
    before = tree(tmp_path / "fast")
    assert sn.ingest(tmp_path / "dump", tmp_path / "fast").known == 3
    assert tree(tmp_path / "fast") == before
    # The others now, with instances that are new and in other places, and scores that are known.
    write(tmp_path / "dump", table)
    done = sn.ingest(tmp_path / "dump", tmp_path / "fast")
    long_way(tmp_path / "dump", tmp_path / "long")
    assert content(tmp_path / "fast") == content(tmp_path / "long")
    assert done.added.duplicates == first.height * len(METRICS)
    assert fast == [first.height, table.height]


def test_a_score_that_differs_is_an_error_and_nothing_is_kept(tmp_path: Path) -> None:
    table = instances(3)
    write(tmp_path / "a", table)
    sn.ingest(tmp_path / "a", tmp_path / "store")
    before = tree(tmp_path / "store")
    write(tmp_path / "b", table.with_columns(pl.col("logits_per_byte_corr") + 1.0))
    with pytest.raises(sn.DuplicateKeyError, match="logits_per_byte_corr"):
        sn.ingest(tmp_path / "b", tmp_path / "store")
    assert tree(tmp_path / "store") == before


def test_a_stopped_ingest_goes_on_to_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_ingest, "BATCH_ROWS", 150)
    table = instances(4, models=7)
    write(tmp_path / "dump", table)
    (tmp_path / "dump" / "recipe3-x.csv").write_text("model,step,task,instance_id,acc\nm,1,t,a,1\n")
    sn.ingest(tmp_path / "dump", tmp_path / "whole")
    original = StoreWriter.commit
    for stop in range(1, 5):
        left = [stop]

        def commit(self: StoreWriter, *sources: Any, left: list[int] = left, **options: Any) -> bool:
            left[0] -= 1
            if left[0] < 0:
                raise KeyboardInterrupt
            return original(self, *sources, **options)

        with monkeypatch.context() as patch:
            patch.setattr(StoreWriter, "commit", commit)
            with pytest.raises(KeyboardInterrupt):
                sn.ingest(tmp_path / "dump", tmp_path / f"stopped-{stop}")
        sn.ingest(tmp_path / "dump", tmp_path / f"stopped-{stop}")
        assert tree(tmp_path / f"stopped-{stop}") == tree(tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this system")
@pytest.mark.parametrize("order", ["sorted", "shuffled"])
def test_kill_9(order: str, tmp_path: Path) -> None:
    table = instances(9, models=12, sizes=(30, 50, 20))
    if order == "shuffled":
        table = table.sample(fraction=1.0, shuffle=True, seed=1)
    write(tmp_path / "dump", table)
    started = time.monotonic()
    assert run_ingest(tmp_path / "dump", tmp_path / "whole", None)
    duration = time.monotonic() - started
    whole = tree(tmp_path / "whole")
    rng = random.Random(3)
    kills, seen = 0, 0
    while kills < 5:
        if run_ingest(tmp_path / "dump", tmp_path / "killed", rng.random() * duration / 3):
            shutil.rmtree(tmp_path / "killed")  # it was too fast for us: begin again
            seen = 0
            continue
        kills += 1
        if not (tmp_path / "killed" / "manifest.json").exists():
            continue
        store = sn.open_store(tmp_path / "killed")
        store.verify()
        files = store.sources.height
        assert files >= seen
        seen = files
        # Each file that is listed is there as a whole, and nothing of another.
        assert store.units["n_scores"].sum() == files * len(METRICS) * table.height // 12
    assert run_ingest(tmp_path / "dump", tmp_path / "killed", None)
    assert tree(tmp_path / "killed") == whole


def test_what_a_matrix_cannot_hold_goes_the_long_way(
    tmp_path: Path, long_way: Any, fast: list[int | None]
) -> None:
    table = instances(5)
    odd = {
        "repeats": table.with_columns(epoch=pl.int_range(pl.len()) % 2),
        "weights": table.with_columns(weight=pl.lit(2.0)),
        "lists": table.with_columns(choices=pl.lit([1.0, 2.0], dtype=pl.List(pl.Float64))),
        "missing": table.with_columns(instance_id=pl.when(pl.col("step") > 1000).then("instance_id")),
        "hollow": table.with_columns(
            pl.when(pl.col("step") > 1000).then(name).alias(name) for name in METRICS
        ),
        "settings": table.with_columns(shots=pl.lit(5)),
        "seeds": table.with_columns(seed=pl.lit("default")),
    }
    for name, rows in odd.items():
        write(tmp_path / name, rows)
        sn.ingest(tmp_path / name, tmp_path / f"{name}-fast", duplicates="first")
        long_way(tmp_path / name, tmp_path / f"{name}-long", duplicates="first")
        assert tree(tmp_path / f"{name}-fast") == tree(tmp_path / f"{name}-long")
    assert set(fast) <= {None}


def test_a_damaged_file_is_left_out_and_named(tmp_path: Path) -> None:
    write(tmp_path / "dump", instances(6))
    victim = sorted((tmp_path / "dump").iterdir())[1]
    data = bytearray(victim.read_bytes())
    data[4:400] = bytes(396)
    victim.write_bytes(data)
    with pytest.raises((sn.ReadError, pl.exceptions.PolarsError)):
        sn.ingest(victim, tmp_path / "store")
