"""Streaming over Parquet tables: equal to the way through memory whatever the layout of the files."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from polars.testing import assert_frame_equal

import signoise as sn
from signoise import _core, reference
from signoise._aggregate import instance_moments
from signoise._duplicates import settle_duplicates
from signoise._stream import Streamed, stream_parquet

pq = pytest.importorskip("pyarrow.parquet")

ITEMS = 30


def table(rng: np.random.Generator, *, shuffled: bool = False, odd: bool = False) -> pl.DataFrame:
    """Two metrics side by side over runs x steps x subtasks x instances."""
    frame = pl.DataFrame({"model": ["a", "b", "ü-c"]}).join(pl.DataFrame({"step": [1000, 2000]}), how="cross")
    tasks = pl.DataFrame({"task": ["t", "t", "u"], "subtask": ["t_1", "t_2", "u"]})
    frame = frame.join(tasks, how="cross").join(pl.DataFrame({"instance_id": range(ITEMS)}), how="cross")
    n = frame.height
    real = rng.normal(1.5, 0.3, n).round(3)
    accuracy = rng.integers(0, 2, n).astype(float)
    if odd:
        real[rng.integers(0, n, 20)] = np.nan
        real[rng.integers(0, n, 5)] = np.inf
        accuracy[rng.integers(0, n, 5)] = -np.inf
    frame = frame.with_columns(
        pl.col("instance_id").cast(pl.String),
        seed=pl.lit(3),
        acc=pl.Series(accuracy),
        bits_per_byte=pl.Series(real),
    )
    if odd:
        frame = frame.with_columns(acc=pl.when(pl.Series(rng.random(n) < 0.9)).then("acc"))
    return frame.sample(fraction=1, shuffle=True, seed=1) if shuffled else frame


def settle(rows: pl.DataFrame, by: Any) -> pl.DataFrame:
    rows, _ = settle_duplicates(rows, "raise")
    return instance_moments(rows, by).drop("weight")


def stream(paths: list[Path], by: str = "run,step,task,metric", **options: Any) -> Streamed:
    found = stream_parquet(paths, by.split(","), settle, **options)
    assert found is not None
    return found


def in_memory(frame: pl.DataFrame, by: str = "run,step,task,metric") -> pl.DataFrame:
    return sn.aggregate(frame, by=by.split(","))


def assert_equal(found: Streamed, expected: pl.DataFrame) -> None:
    assert_frame_equal(found.frame, expected, rel_tol=1e-11, abs_tol=1e-13)


LAYOUTS: dict[str, dict[str, Any]] = {
    "row groups of 100": {"row_group_size": 100},
    "one row group": {},
    "no dictionaries": {"use_dictionary": False},
    "small pages": {"data_page_size": 64, "write_batch_size": 16},
    "pages of version 2": {"data_page_version": "2.0", "data_page_size": 256, "write_batch_size": 32},
    "delta and byte-stream encodings": {
        "use_dictionary": False,
        "column_encoding": {
            "step": "DELTA_BINARY_PACKED",
            "model": "DELTA_BYTE_ARRAY",
            "bits_per_byte": "BYTE_STREAM_SPLIT",
        },
    },
    "dictionaries that overflow": {
        "dictionary_pagesize_limit": 16,
        "data_page_size": 64,
        "write_batch_size": 16,
    },
    "no statistics": {"write_statistics": False},
    **{codec: {"compression": codec} for codec in ("none", "snappy", "gzip", "zstd", "brotli", "lz4")},
}


@pytest.mark.parametrize("odd", [False, True])
@pytest.mark.parametrize("shuffled", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout(layout: str, shuffled: bool, odd: bool, tmp_path: Path) -> None:
    frame = table(np.random.default_rng(5), shuffled=shuffled, odd=odd)
    pq.write_table(frame.to_arrow(), tmp_path / "t.parquet", **LAYOUTS[layout])
    for by in (
        "run,step,task,metric",
        "metric,task",
        "run,step,task,subtask,metric,seed",
        "run,subtask,metric,task",
    ):
        found = stream([tmp_path / "t.parquet"], by)
        assert_equal(found, in_memory(frame, by))
        assert found.rows == frame.height


@pytest.mark.parametrize("layout", ["row groups of 100", "small pages"])
def test_same_bits_for_any_number_of_threads(layout: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    for at in range(3):
        arrow = table(rng, shuffled=at == 1).with_columns(pl.col("model") + str(at)).to_arrow()
        pq.write_table(arrow, tmp_path / f"{at}.parquet", **LAYOUTS[layout])
    first, *others = (stream(sorted(tmp_path.iterdir()), threads=threads).frame for threads in (1, 2, 8))
    for other in others:
        assert first.equals(other)


@settings(max_examples=40)
@given(st.data())
def test_kernel_equals_twin(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = tmp_path_factory.mktemp("tables")
    rows = st.integers(0, 40)
    label = st.one_of(st.none(), st.sampled_from(["a", "b", "ü", ""]))
    number = st.one_of(st.none(), st.integers(-3, 3))
    score = st.one_of(st.none(), st.sampled_from([0.0, 1.0]), st.floats(width=32))
    paths = []
    for at in range(data.draw(st.integers(1, 3))):
        n = data.draw(rows)
        columns = {
            "x": pl.Series(data.draw(st.lists(label, min_size=n, max_size=n)), dtype=pl.String),
            "y": pl.Series(data.draw(st.lists(number, min_size=n, max_size=n)), dtype=pl.Int32),
            "z": pl.Series(data.draw(st.lists(score, min_size=n, max_size=n)), dtype=pl.Float64),
            "id": pl.Series(data.draw(st.lists(st.integers(0, 50), min_size=n, max_size=n)), dtype=pl.Int64),
        }
        path = folder / f"{at}.parquet"
        pq.write_table(
            pl.DataFrame(columns).to_arrow(),
            path,
            row_group_size=data.draw(st.integers(1, 50)),
            use_dictionary=data.draw(st.booleans()),
        )
        paths.append(str(path))
    options: dict[str, Any] = {"by": data.draw(st.integers(0, 2)), "inner": [False, True], "identity": "id"}
    found = _core.aggregate_parquet(paths, ["x", "y"], ["z"], **options)
    expected = reference.aggregate_parquet(paths, ["x", "y"], ["z"], **options)
    assert found["labels"] == expected["labels"]
    assert found["rows"] == expected["rows"]
    for ours, theirs in zip(found["codes"], expected["codes"], strict=True):
        np.testing.assert_array_equal(ours, theirs)
    # What the kernel cannot prove is doubtful too; what is doubtful it must not miss.
    assert (found["doubtful"] | ~expected["doubtful"]).all()
    for name, values in expected["moments"].items():
        tolerance = 1e-9 if name == "mean" else 1e-6
        scale = np.nan_to_num(np.abs(values)).max(initial=1) if name in ("mean", "m2") else 0.0
        compare(found["moments"][name], values, tolerance * scale if np.isfinite(scale) else np.inf)


def compare(found: NDArray[Any], expected: NDArray[Any], tolerance: float) -> None:
    with np.errstate(all="ignore"):
        near = (
            (np.abs(found - expected) <= tolerance)
            | (found == expected)
            | (np.isnan(found) & np.isnan(expected))
        )
    # Squares of the largest floats overflow either way.
    assert (near | ~np.isfinite(expected) | ~np.isfinite(found)).all()


def test_instances_that_occur_twice_are_settled(tmp_path: Path) -> None:
    frame = table(np.random.default_rng(7))
    frame.write_parquet(tmp_path / "a.parquet")
    frame.filter(model="b").write_parquet(tmp_path / "copy.parquet")
    with pytest.warns(sn.DroppedRowsWarning):
        expected = in_memory(pl.concat([frame, frame.filter(model="b")]))
    found = stream(sorted(tmp_path.iterdir()))
    assert_equal(found, expected)
    assert found.reread == 4
    assert_equal(found, in_memory(frame))


def test_scattered_duplicates_are_found(tmp_path: Path) -> None:
    frame = table(np.random.default_rng(8))
    twice = pl.concat([frame, frame.filter(model="b", step=1000, task="u").head(1)])
    twice.sample(fraction=1, shuffle=True, seed=3).write_parquet(tmp_path / "t.parquet")
    found = stream([tmp_path / "t.parquet"])
    assert_equal(found, in_memory(frame))
    assert found.reread == 1
    clean = frame.sample(fraction=1, shuffle=True, seed=3)
    clean.write_parquet(tmp_path / "clean.parquet")
    assert stream([tmp_path / "clean.parquet"]).reread == 0


def test_conflicting_duplicates_raise(tmp_path: Path) -> None:
    frame = table(np.random.default_rng(9))
    other = frame.filter(model="b").head(1).with_columns(bits_per_byte=pl.lit(9.0))
    pl.concat([frame, other]).write_parquet(tmp_path / "t.parquet")
    with pytest.raises(sn.DuplicateKeyError):
        stream([tmp_path / "t.parquet"])


def test_long_tables_and_theirs_names(tmp_path: Path) -> None:
    frame = table(np.random.default_rng(10), odd=True)
    index = [name for name in frame.columns if name not in ("acc", "bits_per_byte")]
    long = frame.unpivot(on=["acc", "bits_per_byte"], index=index, variable_name="metric", value_name="score")
    long = long.with_columns(
        ckpt=pl.format("step{}", "step"), model=pl.col("model").cast(pl.Categorical)
    ).drop("step")
    long.write_parquet(tmp_path / "t.parquet")
    by = "model,ckpt,task,metric"
    assert_equal(stream([tmp_path / "t.parquet"], by), in_memory(long, by).rename({}))


def test_metrics_are_chosen(tmp_path: Path) -> None:
    frame = table(np.random.default_rng(11))
    frame.write_parquet(tmp_path / "t.parquet")
    found = stream([tmp_path / "t.parquet"], metrics=["acc"])
    assert_equal(found, in_memory(frame.drop("bits_per_byte")))


def test_damage_is_named(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(table(np.random.default_rng(12)).to_arrow(), path, compression="zstd")
    whole = path.read_bytes()
    for at in range(40, len(whole) - 12, 37):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
        # Damage that no checksum guards may pass; what is found is an error of ours or of Polars, never a panic.
        with contextlib.suppress(sn.ReadError, sn.SchemaError, pl.exceptions.PolarsError, OSError):
            stream([path])
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises((sn.ReadError, pl.exceptions.PolarsError)):
        stream([path])


def tables_that_differ(folder: Path, change: Callable[[pl.DataFrame], pl.DataFrame], *, first: bool) -> Path:
    frame = pl.DataFrame(
        {
            "run": ["r"] * 6,
            "step": [1, 1, 1, 2, 2, 2],
            "task": ["t"] * 6,
            "instance_id": ["x", "y", "z"] * 2,
            "acc": [0.0, 1, 1, 0, 0, 1],
            "loss": [0.5, 0.25, 1.5, 2.0, 0.125, 3.0],
        }
    )
    tables = [frame, change(frame.with_columns(run=pl.lit("s")))]
    for at, table in enumerate(reversed(tables) if first else tables):
        table.write_parquet(folder / f"{at}.parquet")
    return folder


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize(
    ("change", "metrics"),
    [
        (lambda table: table.with_columns(pl.col("step").cast(pl.Float64)), ["acc", "loss"]),
        (lambda table: table.with_columns(pl.col("acc").cast(pl.Int32)), ["acc", "loss"]),
        (lambda table: table.with_columns(instance_id=pl.Series([0, 1, 2, 0, 1, 2])), ["acc", "loss"]),
        (lambda table: table.select(*reversed(table.columns)), ["acc", "loss"]),
        (lambda table: table.drop("loss"), ["acc"]),
    ],
)
def test_files_that_differ_in_their_columns(tmp_path, change, metrics, first):
    found = sn.aggregate(
        tables_that_differ(tmp_path, change, first=first), by=["run", "step", "task", "metric"]
    )
    assert found.filter(pl.col("run") == "r").height == 4
    other = found.filter(pl.col("run") == "s")
    assert other.select("step", "metric").rows() == [(step, metric) for step in (1, 2) for metric in metrics]
    same = found.filter((pl.col("run") == "r") & pl.col("metric").is_in(metrics))
    assert same.drop("run").equals(other.drop("run"))
