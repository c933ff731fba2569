"""Large tables that are not Parquet: streamed by way of temporary files, with the answers of the way through memory."""

from __future__ import annotations

import gzip
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

import signoise as sn
from signoise import _aggregate, _readers
from signoise._readers import _convert, _spool

BY = ("run", "step", "task", "metric")


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where temporary files go; nothing may be left there."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert list(folder.iterdir()) == []


def wide(seed: int = 1, *, rows: int = 12) -> pl.DataFrame:
    """Two metrics with odd values over runs x steps x subtasks x instances, rows shuffled."""
    rng = np.random.default_rng(seed)
    frame = pl.DataFrame({"model": [f"a{seed}", 'b, "c"', "ü\nd"]})
    for part in (
        {"step": [1000, 2000]},
        {"task": ["t", "u"], "subtask": ["t_1", None]},
        {"instance_id": [f"{i:03}x" for i in range(rows)]},
    ):
        frame = frame.join(pl.DataFrame(part), how="cross")
    n = frame.height
    bits = rng.normal(1.5, 0.3, n)
    bits[rng.integers(0, n, 3)] = np.nan
    frame = frame.with_columns(
        pl.col("model") + str(seed),
        acc=pl.when(pl.Series(rng.random(n) < 0.9)).then(pl.Series(rng.integers(0, 2, n))),
        bits_per_byte=pl.Series(bits),
        prompt_text=pl.lit("a, text\nof two lines"),
    )
    return frame.sample(fraction=1, shuffle=True, seed=seed)


def long(seed: int = 1) -> pl.DataFrame:
    names = ["acc", "bits_per_byte"]
    index = pl.selectors.exclude(names)
    return wide(seed).unpivot(names, index=index, variable_name="metric", value_name="score")


def write(frame: pl.DataFrame, path: Path) -> Path:
    kind, _, compression = path.name.partition(".")[2].partition(".")
    if kind in ("csv", "tsv"):
        data = frame.write_csv(separator="," if kind == "csv" else "\t").encode()
    elif kind == "jsonl":
        data = frame.with_columns(pl.selectors.float().fill_nan(None)).write_ndjson().encode()
    else:
        {"arrow": frame.write_ipc, "arrows": frame.write_ipc_stream, "parquet": frame.write_parquet}[kind](
            path
        )
        return path
    if compression == "gz":
        path.write_bytes(gzip.compress(data[:1000]) + gzip.compress(data[1000:]))
    elif compression == "zst":
        plain = path.with_name(f"plain.{kind}")
        plain.write_bytes(data)
        if kind == "jsonl":
            pl.scan_ndjson(plain, infer_schema_length=None).sink_ndjson(path, compression="zstd")
        else:
            frame.lazy().sink_csv(path, compression="zstd", separator="," if kind == "csv" else "\t")
        plain.unlink()
    else:
        path.write_bytes(data)
    return path


def told(source: Any, **options: Any) -> tuple[Any, list[str]]:
    """The table or the error, and the warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            found: Any = sn.aggregate(source, **{"by": BY, **options})
        except sn.SignoiseError as error:
            found = f"{type(error).__name__}: {error}"
    return found, sorted(str(warning.message) for warning in caught)


def refused(*_: Any, **__: Any) -> Any:
    raise AssertionError("the way through memory was taken")


def compare(source: Any, monkeypatch: pytest.MonkeyPatch, *, streamed: bool = True, **options: Any) -> Any:
    """Both ways give the same table (or error) and warnings; `streamed` must not take the one through memory."""
    expected, expected_warnings = told(source, **options)
    with monkeypatch.context() as patch:
        patch.setattr(_readers, "LARGE_BYTES", 0)
        if streamed:
            patch.setattr(_aggregate, "load_instances", refused)
        found, warned = told(source, **options)
    assert warned == expected_warnings
    if isinstance(expected, str):
        assert found == expected
    else:
        assert_frame_equal(found, expected, rel_tol=1e-12, abs_tol=1e-14)
    return found


FORMS = ("csv", "csv.gz", "csv.zst", "tsv", "jsonl", "jsonl.gz", "jsonl.zst", "arrow", "arrows")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("make", [wide, long])
def test_formats(
    form: str, make: Any, tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    for seed in (1, 2):
        write(make(seed), folder / f"{seed}.{form}")
    table = compare(folder, monkeypatch)
    assert table.height == 6 * 2 * 2 * 2
    compare(folder, monkeypatch, by=("model", "subtask", "task", "metric"))
    compare(folder, monkeypatch, by=("task", "step"))
    compare(folder, monkeypatch, metrics="acc")
    compare(folder, monkeypatch, where="step > 1000 AND metric = 'acc'")
    compare(folder, monkeypatch, where=pl.col("instance_id") < "006", metrics=["bits_per_byte"])
    compare(folder, monkeypatch, streamed=False, where="step > 5000")
    compare(folder, monkeypatch, streamed=False, where="prompt_text = 'none'")
    compare(folder, monkeypatch, streamed=False, metrics="f1")


def test_formats_together(tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    for seed, form in enumerate(("parquet", "csv", "jsonl.gz", "arrow", "arrows", "tsv")):
        write((wide, long)[seed % 2](seed), folder / f"{seed}.{form}")
    assert compare(folder, monkeypatch).height == 18 * 2 * 2 * 2
    tables, _ = _readers.read(folder)
    monkeypatch.setattr(_readers, "LARGE_BYTES", 0)
    with _spool.Spool() as spool:
        streamed = _readers.open_source(folder, spool=spool).frame().collect()
    expected = tables.collect()
    assert streamed["source"].to_list() == expected["source"].to_list()
    assert streamed["value"].equals(expected["value"])


def test_same_bits_for_any_number_of_threads(
    tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(wide(), tmp_path / "a.csv")
    monkeypatch.setattr(_readers, "LARGE_BYTES", 0)
    monkeypatch.setattr(_spool, "_ROWS", 10)
    first, *others = (told(path, threads=threads)[0] for threads in (1, 2, 8))
    assert all(first.equals(other) for other in others)


@pytest.mark.parametrize("duplicates", ["raise", "first", "last", "mean"])
def test_duplicates(
    duplicates: str, tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = long()
    again = frame.head(7).with_columns(pl.col("score") + 1)
    paths = [
        write(pl.concat([frame, again]), tmp_path / "a.csv"),
        write(frame.head(20), tmp_path / "b.jsonl"),
    ]
    for options in ({}, {"where": "step = 1000"}, {"metrics": "acc"}):
        found, expected = (
            compare(paths, monkeypatch, duplicates=duplicates, **options),
            "keys carry different values",
        )
        assert isinstance(found, pl.DataFrame) or expected in found


def test_results_beside_instances(tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = long()
    result = frame.head(3).with_columns(instance_id=pl.lit(None, dtype=pl.String))
    for form in ("csv", "parquet"):
        path = write(pl.concat([frame, result]), tmp_path / f"a.{form}")
        compare(path, monkeypatch)
        compare(path, monkeypatch, where="task = 't'")
    compare(write(result, tmp_path / "b.csv"), monkeypatch, streamed=False)
    compare(write(result.drop("instance_id"), tmp_path / "c.csv"), monkeypatch, streamed=False)


def test_what_takes_memory(tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = long()
    twice = pl.concat(
        frame.with_columns(epoch=pl.lit(epoch), score=pl.col("score") / epoch) for epoch in (1, 2)
    )
    compare(write(twice, tmp_path / "a.csv"), monkeypatch, streamed=False)
    compare(write(frame.with_columns(weight=pl.lit(2.0)), tmp_path / "b.csv"), monkeypatch, streamed=False)
    compare(tmp_path / "a.csv", monkeypatch, streamed=False, by=("run", "nothing", "metric"))
    compare(tmp_path / "a.csv", monkeypatch, streamed=False, where="nothing = 1")


# --- dtypes that the first rows do not tell

HEADER = "model,step,task,instance_id,acc,f1\n"


def rows(*lines: str) -> str:
    """Many plain lines, then these."""
    return HEADER + "".join(f"m,1,t,{i},1,\n" for i in range(40)) + "".join(f"{line}\n" for line in lines)


DRIFTS = {
    "a score that becomes a float": rows("m,1,t,x,0.25,", "m,1,t,y,nan,", "m,1,t,z,inf,"),
    "a score that is first met late": rows("m,1,t,x,1,0.5", "m,1,t,y,1,1"),
    "a score that is first met late, and is none": rows("m,1,t,x,1,none"),
    "a step that becomes a name": rows("m,step2000,t,x,1,", "m,main,t,x,1,"),
    "an instance that becomes a text": rows("m,1,t,007x,1,"),
    "a score that becomes a text": rows("m,1,t,x,N/A,"),
    "a large number": rows("m,1,t,99999999999999999999,1,"),
    "a truth": rows("m,1,t,x,true,"),
    "quoted": rows('"m ""2"", 3",1,"t","a\nb","1",""'),
    "blank lines": rows("", "m,1,t,x,1,", "", ""),
    "no rows": HEADER,
    "a score in words": "model,step,task,instance_id,score\nm,1,t,a,1\nm,1,t,b,two\nm,1,t,c,three\n",
    "a size": "model,size,step,task,instance_id,score\nm,150M,1,t,a,1\nm,150000000,1,t,b,0\nm,1B,1,t,c,0\n",
    "settings": "model,shots,step,task,instance_id,score\nm,5,1,t,a,1\nm,5,1,t,b,0\nm,0,1,t,c,0\n",
    "a short line": rows("m,1,t,x"),
    "a long line": rows("m,1,t,x,1,1,1"),
    "a long line beside quotes": rows('"m",1,t,x,1,1,1'),
    "quotes that do not end": rows('"m,1,t,x,1,'),
}


@pytest.mark.parametrize(("start", "line_end"), [("", "\n"), ("\ufeff", "\r\n")])
@pytest.mark.parametrize("name", DRIFTS)
def test_dtypes_are_those_of_all_rows(
    name: str, start: str, line_end: str, tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_convert, "_SAMPLE", 10)
    path = tmp_path / "a.csv"
    path.write_bytes((start + DRIFTS[name].replace("\n", line_end)).encode())
    other = write(wide(), tmp_path / "b.csv")
    for by in (BY, ("run", "step", "params", "metric"), ("instance_id", "metric")):
        compare(path, monkeypatch, streamed=False, by=by)
        compare([path, other], monkeypatch, streamed=False, by=by)


def test_fields_that_come_late(tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.jsonl"
    line = '{"model": "m", "step": 1, "task": "t", "instance_id": %d, "acc": 1}\n'
    late = '{"model": "m", "step": "2", "task": "t", "instance_id": "x", "acc": 0.5, "f1": 0.5, "more": {"a": [1]}}\n'
    path.write_text("".join(line % i for i in range(500)) + late)
    assert compare(path, monkeypatch)["metric"].to_list() == ["acc", "acc", "f1"]


@pytest.mark.parametrize("form", ["csv", "csv.gz", "jsonl", "jsonl.gz"])
@pytest.mark.parametrize("damage", [b"\xff\xfe,1\n", b'{"model": 1\n', None])
def test_damage_is_told_as_in_memory(
    form: str, damage: bytes | None, tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = wide().with_columns(pl.col("model").str.replace_all("\\W", "_")).drop("prompt_text")
    frame = frame.with_columns(pl.col("bits_per_byte").fill_nan(None))
    data = frame.write_csv().encode() if form.startswith("csv") else frame.write_ndjson().encode()
    if damage is not None:
        cut = data.index(b"\n", len(data) // 2) + 1
        data = data[:cut] + damage + data[cut:]
    data = gzip.compress(data) if form.endswith("gz") else data
    path = tmp_path / f"a.{form}"
    path.write_bytes(data if damage is not None else data[: len(data) * 2 // 3])
    compare(path, monkeypatch)
    compare(path, monkeypatch, strict=True)
    compare([path, write(wide(2), tmp_path / "b.csv")], monkeypatch)


# --- temporary files


def test_they_are_deleted(tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(wide(), tmp_path / "a.csv")
    monkeypatch.setattr(_readers, "LARGE_BYTES", 0)
    seen: list[list[str]] = []

    def interrupted(*_: Any, **__: Any) -> Any:
        seen.append([file.suffix for folder in temporary.iterdir() for file in folder.iterdir()])
        raise KeyboardInterrupt

    monkeypatch.setattr("signoise._aggregate_tables.stream_parquet", interrupted)
    with pytest.raises(KeyboardInterrupt):
        sn.aggregate(path)
    assert seen == [[".parquet"]]
    assert list(temporary.iterdir()) == []


def test_small_sources_need_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(wide(), tmp_path / "a.csv")
    monkeypatch.setattr(_spool.Spool, "sink", refused)
    assert sn.aggregate(path).height == 24


def test_a_full_disk_is_told(tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(wide(), tmp_path / "a.csv")
    monkeypatch.setattr(_readers, "LARGE_BYTES", 0)

    def full(*_: Any, **__: Any) -> Any:
        raise OSError("No space left on device (os error 28): a.parquet")

    monkeypatch.setattr(pl.LazyFrame, "sink_parquet", full)
    with pytest.raises(sn.ReadError, match=r"disk of .* is full.*TMPDIR"):
        sn.aggregate(path)


def test_no_folder_for_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(wide(), tmp_path / "a.csv")
    monkeypatch.setattr(_readers, "LARGE_BYTES", 0)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nothing"))
    with pytest.raises(sn.ReadError, match="TMPDIR"):
        sn.aggregate(path)


def test_texts_that_nothing_names_are_left_out() -> None:
    schema = {
        "model": pl.String(),
        "prompt": pl.String(),
        "answer": pl.String(),
        "shots": pl.Int64(),
        "choices": pl.List(pl.String()),
        "f1": pl.Float64(),
        "length": pl.Int64(),
    }
    assert _spool.Spool().needed(schema, None) == ["model", "prompt", "shots", "f1"]
    assert "answer" in _spool.Spool(["answer"]).needed(schema, None)
    assert "answer" in _spool.Spool(where="answer = 'A'").needed(schema, None)
    assert _spool.Spool(["nothing"]).needed(schema, None) == list(schema)
