"""The benchmarks of dumps run on small ones, and find the answers of all peers equal."""

from __future__ import annotations

import importlib
import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import signoise as sn
from bench_modules import BENCHES, bench_module
from signoise import _core

pytest.importorskip("pyarrow")
pytest.importorskip("duckdb")

ROOT = Path(__file__).resolve().parent.parent
SMALL = ["--models", "2", "--steps", "2", "--tasks", "2", "--subtasks", "2", "--instances", "20"]


@pytest.fixture(scope="module")
def dumps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dumps")
    make_dump = bench_module("make_dump")
    for layout in make_dump.WRITERS:
        make_dump.main([str(folder / layout), "--layout", layout, *SMALL])
    return folder


def answers(jobs: dict[str, Any], options: Any) -> dict[str, pl.DataFrame]:
    return {name: job.answer(job.prepare(options)()) for name, job in jobs.items()}


def test_layouts_hold_the_same_rows(dumps: Path) -> None:
    key = ["model", "step", "subtask", "instance_id"]
    layouts = ("sorted", "tiny", "shuffled")
    first, *others = (pl.read_parquet(dumps / layout / "*.parquet").sort(key) for layout in layouts)
    assert all(first.equals(other) for other in others)
    text = pl.read_csv(dumps / "csv" / "dump.csv").sort(key)
    assert text["logits_per_byte_corr"].to_list() == first["logits_per_byte_corr"].to_list()
    found = sn.aggregate(dumps / "jsonl", by="task", metrics="acc")
    means = dict(first.group_by("subtask").agg(pl.col("primary_score").mean()).iter_rows())
    assert dict(found.select("task", "mean").iter_rows()) == pytest.approx(means, rel=1e-12)


@pytest.mark.parametrize("layout", ["sorted", "tiny", "shuffled", "csv"])
def test_answers_on_tables_are_equal(dumps: Path, layout: str) -> None:
    processes, script = (
        bench_module("processes"),
        bench_module("bench_json" if layout == "csv" else "bench_scan"),
    )
    options = processes.parser_of(None).parse_args([str(dumps / layout)])
    ours, *others = answers(script.CSV if layout == "csv" else script.JOBS, options).items()
    assert ours[1].height == 2 * 2 * 4 * 2
    for name, table in others:
        processes.equal_moments(ours[1], table, name, bench_module("bench_scan").OURS)
    wrong = others[0][1].with_columns(pl.col("mean") * (1 + 1e-8))
    with pytest.raises(SystemExit, match="mean differs"):
        processes.equal_moments(ours[1], wrong, "peer", bench_module("bench_scan").OURS)


def test_answers_on_json_are_equal(dumps: Path) -> None:
    script = bench_module("bench_json")
    options = bench_module("processes").parser_of(None).parse_args([str(dumps / "jsonl")])
    options.every = 2
    jobs = {name: job for name, job in script.JSON.items() if not name.startswith("orjson")}
    if importlib.util.find_spec("orjson"):
        jobs = script.JSON
        assert 1 < script.scale_of(options) < 4
    ours, *others = answers(jobs, options).items()
    assert ours[1].height == 2 * 2 * 4 * 2
    for name, table in others:
        script.compare_json(ours[1], table, name)


def test_answers_of_the_store_are_equal(dumps: Path, tmp_path: Path) -> None:
    script, processes = bench_module("bench_store"), bench_module("processes")
    options = processes.parser_of(None).parse_args([str(dumps / "sorted")])
    options.store = tmp_path / "scores.store"
    script.INGEST.prepare(options)()
    for metric in script.METRICS:
        ours, *others = answers(script.jobs_of(metric), options).values()
        assert ours.height == 2 * 2 * 4
        for table in others:
            processes.equal_moments(ours, table, metric, script.OURS)


@pytest.mark.skipif(_core.BUILD_PROFILE != "release", reason="benchmarks refuse a debug build")
def test_processes_are_measured(dumps: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "python"), *sys.path])}
    command = [sys.executable, str(BENCHES / "bench_scan.py"), str(dumps / "tiny"), "--repeats", "1"]
    command += ["--only", "Polars streaming"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert "| Polars streaming | 2 | 0." in done.stdout
    assert "all answers equal those of Polars streaming" in done.stdout


def test_pass_at_k_of_all_peers_is_equal(capsys: pytest.CaptureFixture[str]) -> None:
    script = bench_module("bench_pass_at_k")
    script.main(["--items", "300", "--loop", "40", "--repeats", "1"])
    assert "| samples | published |" in capsys.readouterr().out
    script.by_table = lambda n, c: script.by_factors(n, c) * (1 + 1e-9)
    script.by_table.__name__ = "by_table"
    with pytest.raises(SystemExit, match="by_table finds"):
        script.check(script.raw_samples(50, 100))
