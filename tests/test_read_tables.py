"""Tables as people have them: every shared one, plain and compressed, and the signal-and-noise layouts."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from signoise._readers import _signal_and_noise, _wide, read

LONG = ["run", "step", "seed", "task", "instance_id", "repeat", "metric", "value"]


def rows(path: Path) -> pl.DataFrame:
    frame, _ = read(path, strict=True)
    return frame.collect()


@pytest.fixture
def tables(shared: Path) -> Path:
    return shared / "data/dumps/tables"


@pytest.fixture
def long(tables: Path) -> pl.DataFrame:
    return rows(tables / "long.parquet").select(LONG).sort(LONG)


@pytest.mark.parametrize("name", ["long.csv", "long.arrow", "long.parquet"])
def test_shared_long_tables_agree(tables: Path, long: pl.DataFrame, name: str) -> None:
    raw = pl.read_csv(tables / "long.csv")
    frame = rows(tables / name)
    assert frame.height == raw.height == 1260
    assert_frame_equal(frame.select(LONG).sort(LONG), long)
    by = ["run", "step", "task"]
    expected = raw.group_by(pl.col("model").alias("run"), "step", "task").agg(pl.col("value").mean())
    assert_frame_equal(
        frame.group_by(by).agg(pl.col("value").mean()).sort(by), expected.sort(by), abs_tol=1e-12
    )


@pytest.mark.parametrize(
    "ending", ["csv", "csv.gz", "csv.zst", "tsv", "tsv.gz", "jsonl", "jsonl.gz", "jsonl.zst", "ndjson"]
)
def test_forms_of_text_agree(tables: Path, long: pl.DataFrame, tmp_path: Path, ending: str) -> None:
    raw = pl.read_csv(tables / "long.csv")
    kind, _, compression = ending.partition(".")
    path = tmp_path / f"a.{ending}"
    plain = tmp_path / f"plain.{kind}"
    if kind in ("csv", "tsv"):
        raw.write_csv(plain, separator="," if kind == "csv" else "\t")
    else:
        raw.write_ndjson(plain)
    if compression == "gz":
        # Two members one after the other are one file.
        data = plain.read_bytes()
        path.write_bytes(gzip.compress(data[:1000]) + gzip.compress(data[1000:]))
    elif compression == "zst":
        write = raw.lazy().sink_csv if kind == "csv" else raw.lazy().sink_ndjson
        write(path, compression="zstd")
    else:
        shutil.copy(plain, path)
    assert_frame_equal(rows(path).select(LONG).sort(LONG), long)


@pytest.mark.parametrize("ending", ["arrow", "arrows", "parquet", "feather"])
def test_binary_forms_agree(tables: Path, long: pl.DataFrame, tmp_path: Path, ending: str) -> None:
    raw = pl.read_csv(tables / "long.csv")
    path = tmp_path / f"a.{ending}"
    {
        "arrow": raw.write_ipc,
        "feather": raw.write_ipc,
        "arrows": raw.write_ipc_stream,
        "parquet": raw.write_parquet,
    }[ending](path)
    assert_frame_equal(rows(path).select(LONG).sort(LONG), long)


def test_a_list_of_rows_in_json(tables: Path, long: pl.DataFrame, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps(pl.read_csv(tables / "long.csv").to_dicts()))
    assert_frame_equal(rows(path).select(LONG).sort(LONG), long)


# --- damaged text


def dropped(path: Path) -> tuple[pl.DataFrame, dict[str, int]]:
    frame, report = read(path)
    return frame.collect(), {reason: entry.count for reason, entry in report.dropped.items()}


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_a_cut_gzip_keeps_its_whole_lines(tmp_path: Path, kind: str) -> None:
    rows = [{"model": "m", "step": at, "task": "t", "value": (at * 7919 % 1000) / 7} for at in range(20_000)]
    plain = pl.DataFrame(rows)
    data = plain.write_csv().encode() if kind == "csv" else plain.write_ndjson().encode()
    packed = gzip.compress(data)
    path = tmp_path / f"a.{kind}.gz"
    path.write_bytes(packed[: len(packed) // 2])
    frame, reasons = dropped(path)
    assert 1000 < frame.height < 20_000
    assert frame["value"].to_list() == plain["value"].head(frame.height).to_list()
    assert list(reasons.values()) == [1]
    assert "gzip data are damaged" in next(iter(reasons))


def test_a_line_that_is_not_utf8_costs_only_itself(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"model,step,task,value\nm,1,t,0.5\n" + b"m,2,\xff\xfe,0.5\n" + "é,3,t,0.75\n".encode())
    frame, reasons = dropped(path)
    assert frame.select("run", "step", "value").rows() == [("m", 1, 0.5), ("é", 3, 0.75)]
    assert reasons == {"a line must be UTF-8; save the file as UTF-8": 1}


def test_damaged_lines_inside_zstandard(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.zst"
    rows = ['{"model": "m", "step": 1, "task": "t", "value": NaN, "tags": [1]}', '{"model": "m", "step": 2, "ta', "",
            '{"model": "m", "step": 3, "task": "t", "value": 1, "more": {"a": 1}}']  # fmt: skip
    pl.LazyFrame({"line": rows}).sink_csv(path, include_header=False, quote_style="never", compression="zstd")
    frame, reasons = dropped(path)
    assert frame["step"].to_list() == [1, 3]
    assert np.isnan(frame["value"][0])
    assert list(reasons.values()) == [1]


def test_damaged_parquet_is_skipped(tmp_path: Path) -> None:
    path = tmp_path / "damaged.parquet"
    sound = pl.DataFrame({"model": ["a"], "step": [1], "task": ["t"], "acc": [0.5]})
    sound.write_parquet(path)
    data = path.read_bytes()
    footer = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    sound.write_csv(tmp_path / "sound.csv")
    for at in range(footer + 1, len(data), 3):
        path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        _, report = read(tmp_path)  # never a panic
        assert report.files["table"] + len(report.skipped) == 2


# --- a column for each checkpoint


def test_shared_wide_table(tables: Path) -> None:
    raw = pl.read_csv(tables / "wide.csv")
    frame = rows(tables / "wide.csv")
    assert frame.height == raw.height * 9
    assert sorted(frame["run"].unique()) == ["m1", "m2", "m3"]
    for column in raw.columns[2:]:
        run, _, step = column.partition("/")
        mine = frame.filter(pl.col("run") == run, pl.col("step") == int(step))
        assert (
            mine.select("task", "instance_id", "value").rows()
            == raw.select("task", "instance_id", column).rows()
        )


def test_wide_columns_named_by_checkpoints(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("task,item,org/m-step10,org/m-step20-tokens4B,acc\nt,a,1,,0.5\nt,b,0,1,0.5\n")
    frame = rows(path).sort("step", "instance_id")
    assert frame.select("run", "revision", "step", "tokens", "instance_id", "value").rows() == [
        ("org/m", "step10", 10, None, "a", 1.0),
        ("org/m", "step10", 10, None, "b", 0.0),
        ("org/m", "step20-tokens4B", 20, 4e9, "b", 1.0),
    ]


@pytest.mark.parametrize(
    "names", [["task", "m1", "m2"], ["task", "run", "a/1", "a/2"], ["task", "a/1"], ["x", "a/1", "a/2"]]
)
def test_other_tables_are_not_taken_for_wide_ones(names: list[str]) -> None:
    assert _wide.checkpoint_columns(pl.LazyFrame({name: [1] for name in names})) is None


# --- signal and noise


def test_scores_of_signal_and_noise(shared: Path) -> None:
    path = shared / "data/dumps/signal_and_noise_handmade/core-00000-of-00001.parquet"
    raw, frame = pl.read_parquet(path), rows(path)
    assert "instance_id" not in frame.columns
    assert (
        frame.height
        == sum(raw[name].count() for name in ("primary_score", "acc_per_char", "exact_match", "pass_at_1"))
        + 249
    )
    bits = frame.filter(pl.col("metric") == "bits_per_byte")
    both = raw.select(pl.coalesce("bits_per_byte", "logits_per_byte_corr")).to_series()
    assert np.allclose(np.sort(bits["value"].to_numpy()), np.sort(both.to_numpy()), rtol=0, atol=0)
    assert not {"logits_per_byte_corr", "bits_per_byte_corr"} & set(frame["metric"])
    one = (
        frame.filter(pl.col("run") == "c4-4M-5xC", pl.col("metric") == "primary_score")
        .sort("task", "step")
        .row(0, named=True)
    )
    told = {
        "recipe": "c4",
        "params": 4_000_000,
        "step": 4580,
        "seed": 6198,
        "tokens": 2.29e9,
        "flops": 5.496e16,
    }
    told |= {"n": 500, "revision": "step4580-seed-default", "mix": "c4", "size": "4M", "token_ratio": "5xC"}
    assert {name: one[name] for name in told} == told
    released = frame.filter(pl.col("step").is_null())
    assert released["run"].n_unique() == 3


def test_instances_of_signal_and_noise(shared: Path) -> None:
    path = shared / "data/dumps/signal_and_noise_handmade/instances-00000-of-00001.parquet"
    raw, frame = pl.read_parquet(path), rows(path)
    metrics = {"primary_score", "acc_raw", "acc_per_char", "bits_per_byte"}
    assert set(frame["metric"]) == metrics
    assert frame.height == raw.height * len(metrics)
    key = ["run", "step", "task", "metric", "instance_id"]
    assert frame.select(key).is_duplicated().sum() == 0
    by = ["run", "step", "task"]
    for metric, theirs in zip(
        sorted(metrics), ("acc_per_char", "acc_raw", "logits_per_byte_corr", "primary_score"), strict=True
    ):
        expected = raw.group_by(pl.col("model").alias("run"), "step", "task").agg(
            pl.col(theirs).mean().alias("value")
        )
        mine = frame.filter(pl.col("metric") == metric).group_by(by).agg(pl.col("value").mean())
        assert_frame_equal(mine.sort(by), expected.sort(by), abs_tol=1e-9)
    assert frame["instance_id"][0] == "arc_easy_0:0:::task-000-arc_easy"
    assert frame["params"].unique().to_list() == [150_000_000]


def test_signal_and_noise_stays_lazy_and_declared_columns_win(shared: Path) -> None:
    folder = shared / "data/dumps/signal_and_noise_handmade"
    frame, _ = read(folder / "instances-00000-of-00001.parquet")
    assert isinstance(frame, pl.LazyFrame)
    plan = frame.select("run", "task", "metric", "value").explain()
    assert "s3_path" not in plan.split("PROJECT")[-1]
    frame, _ = read(folder / "core-00000-of-00001.parquet", columns={"logits_per_byte_corr": "value"})
    assert frame.select("metric").unique().collect().item() == "logits_per_byte_corr"


def test_one_column_stands_for_all_names_of_bits_per_byte(shared: Path) -> None:
    for name in ("core", "instances"):
        path = shared / f"data/dumps/signal_and_noise_handmade/{name}-00000-of-00001.parquet"
        raw = pl.read_parquet(path)
        ((column, metric),) = _signal_and_noise.metric_columns(raw.columns).items()
        tidy = rows(path).filter(pl.col("metric") == metric)
        assert tidy["value"].to_list() == raw[column].to_list()
    assert _signal_and_noise.metric_columns(["acc"]) == {}


def test_a_mix_of_names_for_bits_per_byte() -> None:
    names = ["task", "model", "step", "mix", "size", "token_ratio"]
    table = pl.LazyFrame({name: ["1", "1"] for name in names}).with_columns(
        bits_per_byte=pl.Series([1.0, None]),
        logits_per_byte_corr=pl.Series([1.0, 2.0]),
        both=pl.Series([[1], [2]]),
    )
    assert _signal_and_noise.is_signal_and_noise(table.collect_schema().names())
    tidy = _signal_and_noise.tidy(table).collect()
    assert tidy["bits_per_byte"].to_list() == [1.0, 2.0]
    assert tidy.columns == [*names, "bits_per_byte"]
