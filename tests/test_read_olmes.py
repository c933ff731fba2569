"""OLMES folders: all shared dumps against the tool's own aggregates, and damaged ones made here."""

from __future__ import annotations

import gzip
import json
import math
import shutil
import warnings
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import signoise as sn
from signoise._readers import _olmes, read
from signoise._readers._files import find
from signoise._readers._report import ReadReport


def dump_of(path: Path, report: ReadReport | None = None) -> _olmes.Dump:
    files = [file for file in find(path) if _olmes.claims(file, file.path.read_bytes()[: 1 << 16])]
    return _olmes.Dump(files, report or ReadReport())


def results_of(dump: _olmes.Dump) -> pl.DataFrame:
    results = dump.results()
    assert results is not None
    return results


def write(folder: Path, name: str, content: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    if isinstance(content, list):
        content = "".join(json.dumps(row) + "\n" for row in content)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def metrics(task: str, scores: dict[str, Any], *, alias: str | None = None, **extra: Any) -> dict[str, Any]:
    metadata = {"alias": alias} | ({"num_tasks": extra.pop("num_tasks")} if "num_tasks" in extra else {})
    settings = {"num_shots": 5, "primary_metric": extra.pop("primary", None), "metadata": metadata}
    return {
        "task_name": task,
        "task_hash": "x",
        "model_config": extra.pop("model", {"model": "org/m", "revision": "step10"}),
        "task_config": settings,
        "num_instances": 2,
        "metrics": scores,
    } | extra


def prediction(doc: Any, scores: Any, native: Any = "a") -> dict[str, Any]:
    return {"doc_id": doc, "native_id": native, "metrics": scores, "model_output": []}


def test_shared_dumps_equal_the_tools_own_aggregates(shared: Path) -> None:
    folder = shared / "data/dumps/olmes_handmade"
    report = ReadReport(strict=True)
    dump = dump_of(folder, report)
    results = results_of(dump)
    parts = dump.parts()
    assert len(parts) == 6
    batch = dump.load(parts)
    assert batch.rows.group_by("part").len().sort("part")["len"].to_list() == [60, 80, 60, 80, 60, 80]
    assert batch.rows.select("part", "instance_id").is_duplicated().sum() == 0
    assert batch.weights == {}
    seen = 0
    for at, part in enumerate(parts):
        mine = batch.rows.filter(pl.col("part") == at)
        stored = results.filter(
            pl.col("task") == part.labels["task"],
            pl.col("step") == part.labels["step"],
            pl.col("config") == part.labels["config"],
        )
        assert set(stored["metric"]) == {name for name in batch.metrics if mine[name].count()}
        for metric, value, n in stored.select("metric", "value", "n").iter_rows():
            assert mine[metric].count() == n
            assert math.isclose(math.fsum(mine[metric]) / n, value, rel_tol=0, abs_tol=1e-9)
            seen += 1
    assert seen == results.height == 3 * (10 + 3)
    assert {"bits_per_byte", "primary_score", "acc_per_char"} <= set(batch.metrics)
    assert not {"correct_choice", "bits_per_byte_corr", "predicted_index_raw"} & set(batch.metrics)


def test_shared_labels(shared: Path) -> None:
    results = results_of(dump_of(shared / "data/dumps/olmes_handmade"))
    assert results["run"].unique().to_list() == ["allenai/OLMo-toy-1B"]
    assert sorted(results["step"].unique()) == [1610000, 1620000, 1630000]
    assert sorted(results["tokens"].unique()) == [3377e9, 3398e9, 3419e9]
    assert sorted(results["config"].unique()) == ["shots=5,variant=olmes", "shots=5,variant=rc::olmes:full"]


@pytest.mark.parametrize("left", ["metrics-all.jsonl", "metrics.json"])
def test_scores_of_all_tasks_stand_in_for_those_of_each(shared: Path, tmp_path: Path, left: str) -> None:
    whole = shared / "data/dumps/olmes_handmade/OLMo-toy-1B/stage1-step1610000-tokens3377B"
    folder = tmp_path / "OLMo-toy-1B" / whole.name
    shutil.copytree(whole, folder)
    for path in folder.glob("*metrics*"):
        if path.name != left:
            path.chmod(0o644)
            path.unlink()
    columns = ["run", "step", "tokens", "task", "config", "metric", "value", "n"]
    expected = results_of(dump_of(whole))
    dump = dump_of(folder)
    found = results_of(dump)
    assert found.select(columns).sort(columns).equals(expected.select(columns).sort(columns))
    # Without a metrics file of their own, predictions find their labels there too.
    assert {part.labels["config"] for part in dump.parts()} == set(expected["config"])


def test_other_scores_in_a_file_of_all_tasks_are_told(tmp_path: Path) -> None:
    folder = tmp_path / "m" / "step10"
    write(folder, "task-000-t-metrics.json", metrics("t", {"acc_raw": 0.5}))
    write(folder, "metrics-all.jsonl", [metrics("t", {"acc_raw": 0.75})])
    report = ReadReport()
    results = results_of(dump_of(tmp_path, report))
    assert results["value"].to_list() == [0.5]
    assert any("are not those of" in note for note in report.notes)


def test_aggregates_name_the_task_of_their_members(tmp_path: Path) -> None:
    for step, with_aggregate in ((10, True), (20, False)):
        folder = tmp_path / "m" / f"step{step}"
        model = {"model": "org/m", "revision": f"step{step}"}
        names = ["mmlu_law", "mmlu_art", "mmlu_pro_law", "arc"]
        for at, name in enumerate(names):
            write(
                folder, f"task-{at:03}-{name}-metrics.json", metrics(name, {"acc_raw": at / 10}, model=model)
            )
        if with_aggregate:
            rows = [
                metrics("mmlu", {"acc_raw": 0.05}, model=model, num_tasks=2),
                metrics("mmlu_pro", {"acc_raw": 0.2}, model=model, num_tasks=1),
                metrics("gone", {"acc_raw": 0.9}, model=model, num_tasks=7),
            ]
            write(folder, "metrics-all.jsonl", rows)
    results = results_of(dump_of(tmp_path))
    for step, alone in ((10, [("arc", None), ("gone", None)]), (20, [("arc", None)])):
        got = results.filter(pl.col("step") == step).select("task", "subtask").rows()
        members = [("mmlu", "mmlu_art"), ("mmlu", "mmlu_law"), ("mmlu_pro", "mmlu_pro_law")]
        assert sorted(got, key=str) == sorted(alone + members, key=str)


def test_damaged_predictions_keep_the_sound_rows(tmp_path: Path) -> None:
    folder = tmp_path / "m" / "step10"
    rows = [
        prediction(0, {"acc_raw": True}, None),
        prediction(1, {"acc_raw": 0, "f1": [1, 2]}, 7),
        {"doc_id": 2, "native_id": "x"},
        {"metrics": {"acc_raw": 1}},
        prediction(4, {"acc_raw": None}, "é"),
        prediction(5, {"acc_raw": math.nan}, 12.5),
    ]
    path = write(folder, "task-000-t-predictions.jsonl", rows)
    path.write_bytes(path.read_bytes() + b'{"doc_id": 6, "native_id": "cut", "metr')
    report = ReadReport()
    dump = dump_of(tmp_path, report)
    assert dump.results() is None
    parts = dump.parts()
    assert [(p.labels["run"], p.labels["step"], p.labels["task"]) for p in parts] == [("m", 10, "t")]
    batch = dump.load(parts)
    assert batch.rows["instance_id"].to_list() == [":0", "7:1", "é:4", "12.5:5"]
    assert batch.rows["line"].to_list() == [1, 2, 5, 6]
    values = batch.rows["acc_raw"].to_list()
    assert values[:3] == [1.0, 0.0, None]
    assert math.isnan(values[3])
    assert batch.metrics == ["acc_raw"]
    assert sum(entry.count for entry in report.dropped.values()) == 3
    assert any("f1 is no number" in note for note in report.notes)


@pytest.mark.parametrize("requests", [None, [], [{"native_id": "a", "doc_id": 0, "request": {}}]])
def test_rows_without_scores(tmp_path: Path, requests: list[dict[str, Any]] | None) -> None:
    folder = tmp_path / "m" / "step10"
    write(folder, "task-000-t-predictions.jsonl", [prediction(0, {}), prediction(1, {"sum_logits_corr": -1})])
    write(folder, "task-001-u-predictions.jsonl", [prediction(0, {})])
    write(folder, "task-002-v-predictions.jsonl", "")
    if requests is not None:
        write(folder, "task-000-t-requests.jsonl", requests)
    report = ReadReport()
    dump = dump_of(tmp_path, report)
    batch = dump.load(dump.parts())
    assert batch.rows.select("part", "instance_id", "sum_logits_corr").rows() == [
        (0, "a:0", None),
        (0, "a:1", -1.0),
        (1, "a:0", None),
    ]
    assert len(report.skipped) == 1 + (requests == [])
    assert dump.load(dump.parts()[1:2]).metrics == []


def test_scores_whose_types_drift_are_read_alike(tmp_path: Path) -> None:
    """One row that the quick way refuses must not change what the others say."""
    rows = [prediction(at, {"f1": at / 7, "acc_raw": at % 2, "num_tokens_all": 3}) for at in range(20)]
    write(tmp_path / "m" / "step10", "task-000-t-predictions.jsonl", rows)
    drift = [
        *rows,
        prediction(20, {"f1": True, "acc_raw": None}),
        prediction(21, {"f1": 10**400, "acc_raw": "x"}),
    ]
    write(tmp_path / "m" / "step20", "task-000-t-predictions.jsonl", drift)
    dump = dump_of(tmp_path)
    quick, slow = (dump.load([part]).rows.drop("part") for part in dump.parts())
    assert quick.equals(slow.head(20))
    assert slow.select("f1", "acc_raw").tail(2).rows() == [(1.0, None), (math.inf, None)]


def test_large_whole_numbers_stay_apart(tmp_path: Path) -> None:
    rows = [prediction(2**53 + at, {"acc_raw": 1}, None) for at in range(3)]
    write(tmp_path / "m" / "step10", "task-000-t-predictions.jsonl", rows)
    dump = dump_of(tmp_path)
    assert dump.load(dump.parts()).rows["instance_id"].to_list() == [f":{2**53 + at}" for at in range(3)]


def test_strict_stops_at_the_first_damaged_row(tmp_path: Path) -> None:
    write(tmp_path / "m" / "step10", "task-000-t-predictions.jsonl", [prediction(0, None)])
    dump = dump_of(tmp_path, ReadReport(strict=True))
    with pytest.raises(ValueError, match="object of metrics"):
        dump.load(dump.parts())


def test_damaged_metrics_are_skipped(tmp_path: Path) -> None:
    folder = tmp_path / "m" / "step10"
    write(folder, "task-000-a-metrics.json", '{"task_name": "a", "metr')
    write(folder, "task-001-b-metrics.json", "")
    write(folder, "task-002-c-metrics.json", {"task_name": "c", "metrics": [1]})
    write(folder, "task-003-d-metrics.json", metrics("d", {"acc_raw": 0.5, "per_class": {"x": 1}}))
    report = ReadReport()
    results = results_of(dump_of(tmp_path, report))
    assert results.select("task", "metric", "value").rows() == [("d", "acc_raw", 0.5)]
    assert [file for file, _ in report.skipped] == [
        "m/step10/task-000-a-metrics.json",
        "m/step10/task-001-b-metrics.json",
    ]
    assert sum(entry.count for entry in report.dropped.values()) == 2


def test_compressed_files(tmp_path: Path) -> None:
    folder = tmp_path / "m" / "step10"
    folder.mkdir(parents=True)
    with gzip.open(folder / "task-000-t-metrics.json.gz", "wt") as handle:
        json.dump(metrics("t", {"acc_raw": 0.5}), handle)
    with gzip.open(folder / "task-000-t-predictions.jsonl.gz", "wt") as handle:
        handle.write(json.dumps(prediction(0, {"acc_raw": 1})) + "\n")
    dump = dump_of(tmp_path)
    results = results_of(dump)
    assert results["value"].to_list() == [0.5]
    assert dump.load(dump.parts()).rows["acc_raw"].to_list() == [1.0]


def test_the_newest_evaluation_of_a_task_wins(tmp_path: Path) -> None:
    folder = tmp_path / "m" / "step10"
    for at, (day, value) in enumerate(((2, 0.75), (1, 0.5))):
        date = f"2026-01-0{day} 12:00:00 UTC"
        write(folder, f"task-00{at}-t-metrics.json", metrics("t", {"acc_raw": value}, current_date=date))
    report = ReadReport()
    results = results_of(dump_of(tmp_path, report))
    assert results["value"].to_list() == [0.75]
    assert [rerun.rows for rerun in report.reruns] == [1]


def test_repeated_and_conflicting_rows_and_the_check(tmp_path: Path) -> None:
    folder = tmp_path / "m" / "step10"
    rows = [prediction(0, {"acc_raw": 1}), prediction(1, {"acc_raw": 0}), prediction(0, {"acc_raw": 1})]
    write(folder, "task-000-t-metrics.json", metrics("t", {"acc_raw": 0.5}))
    write(folder, "task-000-t-predictions.jsonl", rows)
    write(folder, "task-001-u-metrics.json", metrics("u", {"acc_raw": 0.5}))
    write(folder, "task-001-u-predictions.jsonl", [rows[0], prediction(0, {"acc_raw": 0.25})])
    frame, report = read(tmp_path)
    assert report.n_dropped == 1
    assert report.conflicts.count == 1
    assert report.checked == 2
    assert [failure.key for failure in report.check_failures] == ["org/m step10 u acc_raw"]
    instances = frame.filter(pl.col("instance_id").is_not_null(), pl.col("task") == "t").collect()
    assert instances.select("instance_id", "value").rows() == [("a:0", 1.0), ("a:1", 0.0)]


def test_lines_of_one_task_are_re_runs(tmp_path: Path) -> None:
    rows = [
        metrics("t", {"acc_raw": value}, current_date=f"2026-01-0{day} 12:00:00 UTC")
        for day, value in ((1, 0.5), (3, 0.25), (2, 0.75))
    ]
    write(tmp_path / "m" / "step10", "metrics-all.jsonl", rows)
    report = ReadReport()
    assert results_of(dump_of(tmp_path, report))["value"].to_list() == [0.25]
    assert sum(rerun.rows for rerun in report.reruns) == 2


def test_bits_per_byte_from_the_requests(tmp_path: Path) -> None:
    folder = tmp_path / "m" / "step10"
    write(folder, "task-000-t-metrics.json", metrics("t", {"acc_raw": 0.5}))
    rows = [prediction(at, {"acc_raw": at, "sum_logits_corr": -3.0 - at}) for at in (0, 1)]
    write(folder, "task-000-t-predictions.jsonl", rows)
    requests = [
        {"native_id": "a", "doc_id": at, "idx": idx, "label": at, "request_type": "loglikelihood"}
        | {"request": {"continuation": [" é", ""][idx]}}
        for at in (0, 1)
        for idx in (0, 1)
    ]
    write(folder, "task-000-t-requests.jsonl", requests)
    batch = dump_of(tmp_path).load(dump_of(tmp_path).parts())
    assert batch.rows["bits_per_byte"].to_list() == pytest.approx([3 / 3 / math.log(2), 4 / math.log(2)])


def test_bits_per_byte_of_a_corpus_carry_their_bytes(tmp_path: Path) -> None:
    """Perplexity tasks pool: the ratio of sums is what the tool stored, so instances carry weights."""
    folder = tmp_path / "m" / "step10"
    sizes, values = [10, 30], [1.0, 2.0]
    pooled = (10 * 1.0 + 30 * 2.0) / 40
    rows = [
        prediction(at, {"bits_per_byte": value, "num_bytes": size})
        for at, (size, value) in enumerate(zip(sizes, values, strict=True))
    ]
    for name, stored in (("pooled", pooled), ("plain", 1.5)):
        write(folder, f"task-000-{name}-metrics.json", metrics(name, {"bits_per_byte": stored}))
        write(folder, f"task-000-{name}-predictions.jsonl", rows)
    dump = dump_of(tmp_path)
    batch = dump.load(dump.parts())
    assert batch.weights == {"bits_per_byte": "_n_bytes"}
    assert batch.rows["_n_bytes"].to_list() == [1.0, 1.0, 10.0, 30.0]
    # A plain mean has the variance of its instances, a ratio of sums has none; so has a store, and a table in memory.
    sn.ingest(tmp_path, tmp_path / "store")
    for source in (folder, sn.open_store(tmp_path / "store"), sn.scan_scores(folder)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", sn.SignoiseWarning)
            rows_of = sn.aggregate(source, by="task").sort("task")
        assert rows_of["mean"].to_list() == pytest.approx([1.5, pooled])
        assert rows_of["variance"].to_list() == [0.5, None]


def test_a_primary_score_that_is_a_loss_is_left_out(tmp_path: Path) -> None:
    folder = tmp_path / "m" / "step10"
    scores = {"bits_per_byte_corr": 0.9, "primary_score": 0.9}
    write(folder, "task-000-t-metrics.json", metrics("t", scores, primary="bits_per_byte_corr"))
    write(folder, "task-000-t-predictions.jsonl", [prediction(0, scores)])
    report = ReadReport()
    dump = dump_of(tmp_path, report)
    results = results_of(dump)
    assert results["metric"].to_list() == ["bits_per_byte"]
    assert dump.load(dump.parts()).metrics == ["bits_per_byte"]
    assert len(report.notes) == 1


LADDER = ("c4-150M-5xC", 8145, None, "c4", 150_000_000)


@pytest.mark.parametrize(
    ("model", "revision", "folder", "expected"),
    [
        ("allenai/OLMo-7B", "step10-tokens4B", "x/y", ("allenai/OLMo-7B", 10, 4e9, None, None)),
        ("step8145-unsharded-hf", None, "c4-150M-5xC/step8145-unsharded-hf", LADDER),
        (None, None, "c4-150M-5xC/step8145-unsharded-hf", LADDER),
        ("meta/Llama-3-8B", None, "Llama-3-8B", ("meta/Llama-3-8B", None, None, None, None)),
    ],
)
def test_names(tmp_path: Path, model, revision, folder, expected) -> None:
    config = {"model": model, "revision": revision}
    write(tmp_path / folder, "task-000-t-metrics.json", metrics("t", {"acc_raw": 0.5}, model=config))
    found = results_of(dump_of(tmp_path))
    assert found.select("run", "step", "tokens", "recipe", "params").row(0) == expected
