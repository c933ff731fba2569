"""From dumps to rows: batches, repeats, re-runs, the self-check, and moments that do not depend on batches."""

from __future__ import annotations

import json
import math
import threading
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import signoise as sn
from signoise._aggregate_dumps import usable_scores
from signoise._errors import DroppedRowsWarning, DuplicateKeyError, ReadError, SchemaError
from signoise._moments import with_usable
from signoise._readers import Batch, Opened, Part, ReadReport, lengthen, open_source, read
from signoise._readers._batches import batches
from signoise._readers._files import Found
from signoise._readers._plan import plan
from signoise._readers._selfcheck import SelfCheck

FULL = {"run": "m", "step": 10, "task": "t"}


class Fake:
    """A dump whose parts are frames."""

    def __init__(
        self, *parts: tuple[dict[str, Any], pl.DataFrame], stamps: Sequence[float | None] = ()
    ) -> None:
        self.frames = [frame for _, frame in parts]
        self.loads: list[list[str]] = []
        self._parts = [
            Part(Found(Path(f"{at}.x"), f"{at}.x", explicit=False), FULL | labels, 100, stamp, at)
            for at, ((labels, _), stamp) in enumerate(zip(parts, stamps or [None] * len(parts), strict=True))
        ]
        self.weights: dict[str, str] = {}

    def results(self) -> pl.DataFrame | None:
        return None

    def parts(self) -> list[Part]:
        return self._parts

    def load(self, parts: Sequence[Part]) -> Batch:
        self.loads.append([part.file.label for part in parts])
        rows = pl.concat(
            [
                self.frames[part.note].with_columns(pl.lit(at, dtype=pl.UInt32).alias("part"))
                for at, part in enumerate(parts)
            ],
            how="diagonal",
        )
        own = ("part", "line", "instance_id", "filter", "repeat", "cluster", *self.weights.values())
        return Batch(parts, rows, [name for name in rows.columns if name not in own], self.weights)


def items(
    values: Sequence[Any], metric: str = "acc", ids: Sequence[str] | None = None, **more: Any
) -> pl.DataFrame:
    ids = [str(k) for k in range(len(values))] if ids is None else list(ids)
    columns = {"instance_id": ids, "line": list(range(1, len(ids) + 1)), metric: values, **more}
    return pl.DataFrame(columns, schema_overrides={"line": pl.UInt32, metric: pl.Float64}, strict=False)


def run(dump: Fake, **options: Any) -> tuple[list[Batch], ReadReport]:
    report = ReadReport()
    return list(batches(plan([dump], report), report, **options)), report


# --- batches


def test_parts_with_equal_labels_come_together_however_large() -> None:
    dump = Fake(*[({"step": step}, items([1.0], ids=[str(k)])) for k in range(3) for step in (1, 2)])
    run(dump, target_bytes=1)
    assert dump.loads == [["0.x", "2.x", "4.x"], ["1.x", "3.x", "5.x"]]
    dump.loads.clear()
    run(dump, target_bytes=301)
    assert dump.loads == [["0.x", "2.x", "4.x", "1.x", "3.x", "5.x"]]
    dump.loads.clear()
    run(dump, target_bytes=1, together=("task",))
    assert len(dump.loads) == 1


class Fetching(Fake):
    """One that reads ahead."""

    def __init__(self, *parts: tuple[dict[str, Any], pl.DataFrame], damaged: int = -1) -> None:
        super().__init__(*parts)
        self.fetched: list[tuple[list[str], int | None, str]] = []
        self.stops: list[Callable[[], bool] | None] = []
        self.damaged = damaged

    def fetch(
        self, parts: Sequence[Part], *, threads: int | None = None, stop: Callable[[], bool] | None = None
    ) -> list[str]:
        names = [part.file.label for part in parts]
        if parts[0].note == self.damaged:
            raise OSError("gone")
        self.fetched.append((names, threads, threading.current_thread().name))
        self.stops.append(stop)
        return names

    def load(self, parts: Sequence[Part], fetched: Any = None) -> Batch:
        assert fetched == [part.file.label for part in parts]
        return super().load(parts)


def steps(count: int) -> list[tuple[dict[str, Any], pl.DataFrame]]:
    return [({"step": step}, items([float(step)])) for step in range(count)]


@pytest.mark.parametrize("threads", [None, 1, 2])
def test_reading_ahead_keeps_the_order(threads: int | None) -> None:
    dump = Fetching(*steps(5))
    found, _ = run(dump, target_bytes=1, threads=threads)
    assert [batch.rows["acc"].to_list() for batch in found] == [[float(step)] for step in range(5)]
    assert [names for names, *_ in dump.fetched] == dump.loads == [[f"{at}.x"] for at in range(5)]
    assert {given for _, given, _ in dump.fetched} == {threads}
    here = {name == threading.current_thread().name for *_, name in dump.fetched}
    assert here == {threads == 1}


def test_whoever_stops_taking_batches_stops_the_reading() -> None:
    dump = Fetching(*steps(9))
    found = batches(plan([dump], ReadReport()), ReadReport(), target_bytes=1)
    next(found)
    found.close()
    assert len(dump.fetched) <= 2
    assert all(stop is not None and stop() for stop in dump.stops)


def test_what_goes_wrong_while_reading_ahead_is_raised_where_it_belongs() -> None:
    dump = Fetching(*steps(5), damaged=2)
    found = batches(plan([dump], ReadReport()), ReadReport(), target_bytes=1)
    assert [next(found).rows["acc"].item() for _ in range(2)] == [0.0, 1.0]
    with pytest.raises(OSError, match="gone"):
        next(found)


def test_exact_repeats_are_dropped_and_named() -> None:
    rows = items([1.0, 0.0, 1.0, 1.0, math.nan, math.nan], ids=["a", "b", "a", "a", "c", "c"])
    [batch], report = run(Fake(({}, rows)))
    assert batch.rows["instance_id"].to_list() == ["a", "b", "c"]
    [(reason, entry)] = report.dropped.items()
    assert "repeat another one exactly" in reason
    assert entry.count == 3
    assert [(place.file, place.row) for place in entry.examples] == [("0.x", 3), ("0.x", 4), ("0.x", 6)]
    assert not report.conflicts.count
    with pytest.warns(DroppedRowsWarning, match="dropped 3 rows: rows that repeat"):
        report.warn()


def test_many_repeats_are_counted_not_listed() -> None:
    _, report = run(Fake(({}, items([1.0] * 1000, ids=["a"] * 1000))))
    [entry] = report.dropped.values()
    assert (entry.count, len(entry.examples)) == (999, 3)


def test_repeats_across_the_files_of_a_resumed_run() -> None:
    dump = Fake(
        ({}, items([1.0, 0.0])), ({}, items([0.0, 1.0], ids=["1", "2"])), ({"step": 11}, items([1.0]))
    )
    [batch], report = run(dump)
    assert lengthen(batch).select("step", "instance_id", "value").rows() == [
        (10, "0", 1.0),
        (10, "1", 0.0),
        (10, "2", 1.0),
        (11, "0", 1.0),
    ]
    assert report.n_dropped == 1


def test_conflicts_are_kept_and_said() -> None:
    [batch], report = run(Fake(({}, items([1.0, 0.0, 0.5], ids=["a", "a", "b"]))))
    assert batch.rows.height == 3
    assert not batch.distinct
    assert report.conflicts.count == 1
    assert str(report.conflicts.examples[0]) == "0.x, line 2: instance a"
    assert "conflicts: 1 instances come again with other scores" in "\n".join(report.summary())
    strict = ReadReport(strict=True)
    with pytest.raises(ReadError, match=r"0\.x, line 2: instance a: instances come again with other scores"):
        list(batches(plan([Fake(({}, items([1.0, 0.0], ids=["a", "a"])))], strict), strict))


def test_other_filters_repeats_and_clusters_are_no_repeats() -> None:
    rows = items(
        [1.0] * 4,
        ids=["a"] * 4,
        filter=["x", "y", "x", "x"],
        repeat=[0, 0, 1, 0],
        cluster=["p", "p", "p", "q"],
    )
    [batch], report = run(Fake(({}, rows)))
    assert batch.distinct
    assert not report.n_dropped


def test_two_files_with_different_metrics_do_not_conflict() -> None:
    [batch], report = run(Fake(({}, items([1.0, 0.0])), ({}, items([0.5, 0.25], metric="f1"))))
    assert batch.distinct
    assert not report.n_dropped
    assert not report.conflicts.count
    assert sorted(lengthen(batch).select("metric", "instance_id", "value").rows()) == [
        ("acc", "0", 1.0),
        ("acc", "1", 0.0),
        ("f1", "0", 0.5),
        ("f1", "1", 0.25),
    ]


def test_rows_of_the_score_table() -> None:
    rows = items([1.0, None], repeat=[0, 1], filter=[None, "x"]).with_columns(pl.lit(2.0).alias("w"))
    dump = Fake(({"revision": "step10", "config": "shots=5"}, rows))
    dump.weights = {"acc": "w"}
    [batch], _ = run(dump)
    long = lengthen(batch)
    assert long.columns == [
        *("run", "revision", "step", "task", "config", "metric", "filter", "instance_id", "repeat"),
        *("value", "weight", "source"),
    ]
    assert long.row(1) == ("m", "step10", 10, "t", "shots=5", "acc", "x", "1", 1, None, 2.0, "0.x")


# --- re-runs


def test_the_newest_of_equal_evaluations_is_loaded() -> None:
    dump = Fake(({}, items([0.0])), ({}, items([1.0])), ({"seed": 1}, items([0.5])), stamps=[1.0, 2.0, 1.0])
    [batch], report = run(dump)
    assert batch.rows["acc"].to_list() == [1.0, 0.5]
    [rerun] = report.reruns
    assert (rerun.run, rerun.kept, rerun.superseded, rerun.rows) == ("m", "1.x", "0.x", 0)
    assert "re-runs: 1 older file of instances left out, the newest time stamp wins" in "\n".join(
        report.summary()
    )


def test_another_harness_is_no_newer_evaluation() -> None:
    report = ReadReport()
    dumps = [Fake(({}, items([0.0])), stamps=[1.0]), Fake(({}, items([1.0])), stamps=[2.0])]
    assert len(plan(dumps, report)) == 2
    assert not report.reruns


@pytest.mark.parametrize("stamps", [[1.0, 1.0], [None, None], [None, 2.0], [2.0, None]])
def test_nothing_tells_which_is_newer(stamps: list[float | None]) -> None:
    [batch], report = run(Fake(({}, items([0.0])), ({}, items([1.0])), stamps=stamps))
    assert batch.rows["acc"].to_list() == [0.0, 1.0]
    assert not report.reruns
    assert report.conflicts.count == 1


# --- self-check


def check(
    frame: pl.DataFrame, value: Any, metric: str = "acc", weights: Any = None, **columns: Any
) -> ReadReport:
    dump = Fake(({}, frame))
    dump.weights = weights or {}
    report = ReadReport()
    theirs = {**FULL, "metric": metric, "value": value, "source": "results.json"} | columns
    checked = SelfCheck(pl.DataFrame([theirs]), report)
    for batch in batches(plan([dump], report), report):
        checked.add(batch)
    checked.finish()
    return report


def test_equal_to_nine_digits_or_not() -> None:
    rows = items([1.0, 0.0, 1.0])
    assert not check(rows, 2 / 3).check_failures
    assert not check(rows, 2 / 3 * (1 + 5e-10)).check_failures
    report = check(rows, 2 / 3 * (1 + 5e-9), n=4)
    [failure] = report.check_failures
    assert (failure.file, failure.key, failure.n_ours, failure.n_theirs) == ("0.x", "m t acc", 3, 4)
    lines = report.summary()
    assert "self-check: 0 of 1 task means equal the tool's own" in lines
    assert lines[-1].startswith("self-check failed: m t acc in 0.x: 0.66")
    with pytest.warns(DroppedRowsWarning, match="self-check failed"):
        report.warn()


def test_repeats_are_averaged_within_instances_first() -> None:
    rows = items([1.0, 0.0, 0.5], ids=["a", "a", "b"], repeat=[0, 1, 0])
    assert not check(rows, 0.5).check_failures
    rows = items([1.0, 0.0, 1.0], ids=["a", "a", "b"], repeat=[0, 1, 0])
    assert not check(rows, 0.75).check_failures


def test_ratios_and_perplexities() -> None:
    rows = items([2.0, 4.0], metric="bits_per_byte", w=[1.0, 3.0])
    assert not check(rows, 3.5, "bits_per_byte", {"bits_per_byte": "w"}).check_failures
    rows = items([2.0, 4.0], metric="word_perplexity", w=[1.0, 3.0])
    expected = math.exp((math.log(2) + 3 * math.log(4)) / 4)
    assert not check(rows, expected, "word_perplexity", {"word_perplexity": "w"}).check_failures
    assert not check(items([2.0, 8.0], metric="perplexity"), 4.0, "perplexity").check_failures


def test_missing_scores_and_nan() -> None:
    assert not check(items([1.0, None, 0.0]), 0.5).check_failures
    assert not check(items([1.0, math.nan]), math.nan).check_failures
    assert check(items([1.0, 0.0]), math.nan).check_failures


def test_what_cannot_be_compared_is_counted() -> None:
    report = check(items([1.0]), 1.0, step=11)
    assert (report.checked, report.unchecked) == (0, 1)
    report = check(items([1.0], metric="mcc"), 0.3, "mcc")
    assert (report.checked, report.unchecked) == (0, 1)
    assert "1 have no such number to compare with" in "\n".join(report.summary())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        report.warn()


# --- the whole way, on lm-eval dumps


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        "".join(json.dumps({"doc": {}, "resps": [], "filter": "none"} | row) + "\n" for row in rows)
    )


def document(path: Path, scores: dict[str, Any], revision: str = "step10", **extra: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    config = {"model_args": {"pretrained": "org/m", "revision": revision}}
    base = {
        "results": {"t": scores},
        "versions": {"t": 1},
        "configs": {},
        "config": config,
        "n-shot": {"t": 0},
    }
    path.write_text(json.dumps(base | extra))


def test_a_mean_that_is_not_the_tools_own_is_said(tmp_path: Path) -> None:
    document(tmp_path / "m/results.json", {"acc,none": 0.5, "f1,none": 0.5})
    write(tmp_path / "m/samples_t.jsonl", [{"doc_id": k, "acc": 1, "f1": k} for k in range(2)])
    frame, report = read(tmp_path)
    assert frame.collect().height == 6
    assert (report.checked, len(report.check_failures)) == (2, 1)
    with pytest.raises(
        ReadError, match=r"self-check: org/m step10 t acc in m/samples_t\.jsonl: 1\.0 from instances"
    ):
        read(tmp_path, strict=True)


def test_re_runs_of_results_and_samples(tmp_path: Path) -> None:
    for day, value in ((1, 0.0), (2, 1.0)):
        stamp = f"2026-01-0{day}T10-00-00.000000"
        document(tmp_path / f"m/results_{stamp}.json", {"acc,none": value})
        write(tmp_path / f"m/samples_t_{stamp}.jsonl", [{"doc_id": 0, "acc": value}])
    frame, report = read(tmp_path)
    assert frame.select("value").collect()["value"].to_list() == [1.0, 1.0]
    assert (report.checked, len(report.check_failures)) == (1, 0)
    assert sorted(rerun.rows for rerun in report.reruns) == [0, 1]


def test_result_rows_win_in_the_verbs(tmp_path: Path) -> None:
    for step in range(1, 4):
        document(tmp_path / f"{step}/results.json", {"acc,none": 0.5}, f"step{step}")
        write(tmp_path / f"{step}/samples_t.jsonl", [{"doc_id": k, "acc": k} for k in range(2)])
        write(tmp_path / f"{step}/samples_u.jsonl", [{"doc_id": k, "acc": 1} for k in range(2)])
    with pytest.warns(
        DroppedRowsWarning, match="3 scores come as result and as instances: the result row was taken"
    ):
        table = sn.average_checkpoints(tmp_path, window=1)
    assert table.group_by("task").len().sort("task").rows() == [("t", 3), ("u", 3)]


def instances_of(source: Any) -> pl.DataFrame:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return sn.scan_scores(source).collect()


def both(source: Any, table: pl.DataFrame | None = None, **options: Any) -> None:
    """Moments from batches and from the whole table."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        whole = sn.aggregate(instances_of(source) if table is None else table, **options)
        assert_frame_equal(sn.aggregate(source, **options), whole, check_exact=True)


KEYS: list[tuple[str, ...]] = [
    ("run", "step", "task", "metric"),
    ("run", "revision", "step", "seed", "task", "subtask", "config", "metric", "filter"),
    ("metric", "step"),
    ("task",),
    ("source",),
    (),
]


@pytest.fixture(scope="module")
def table(shared: Path) -> pl.DataFrame:
    return instances_of(shared / "data/dumps/lm_eval")


@pytest.mark.parametrize("by", KEYS)
def test_moments_of_dumps_are_those_of_the_table(
    shared: Path, table: pl.DataFrame, by: tuple[str, ...]
) -> None:
    source = shared / "data/dumps/lm_eval"
    both(source, table, by=by)
    both(source, table, by=by, metrics=["acc", "bits_per_byte"])
    both(source, table, by=by, where="step > 1000 AND (task = 'toy_mc' OR metric = 'word_perplexity')")
    both(source, table, by=by, where=pl.col("instance_id").str.ends_with("1"), metrics="acc")


def test_small_batches_give_the_same_moments(
    shared: Path, table: pl.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(Opened.batches.__kwdefaults__, "target_bytes", 1)
    both(shared / "data/dumps/lm_eval", table)


def test_batches_of_one_file_give_the_same(shared: Path) -> None:
    opened = open_source(shared / "data/dumps/lm_eval")
    whole = pl.concat([lengthen(batch) for batch in opened.batches()], how="diagonal")
    small = pl.concat([lengthen(batch) for batch in opened.batches(target_bytes=1)], how="diagonal")
    assert_frame_equal(whole.sort(pl.all()), small.select(whole.columns).sort(pl.all()), check_exact=True)


def test_odd_scores_and_repeated_keys(tmp_path: Path) -> None:
    odd = [0.1, 0.2, 0.7, None, math.nan, math.inf, -math.inf, 1e300]
    rows = [{"doc_id": k, "acc": v, "vibes": v, "loss": v, "perplexity": v} for k, v in enumerate(odd)]
    write(tmp_path / "a/step1/samples_t.jsonl", rows)
    write(tmp_path / "a/step2/samples_t.jsonl", [*rows, *rows[:3]])
    write(tmp_path / "b/step1/samples_t.jsonl", [{"doc_id": 0, "acc": 0.5, "filter": "x"}, *rows])
    for by in KEYS:
        both(tmp_path, by=[name for name in by if name not in ("revision", "seed", "subtask", "config")])
    write(tmp_path / "b/step3/samples_t.jsonl", [{"doc_id": 0, "acc": 1.0}, {"doc_id": 0, "acc": 0.5}])
    for duplicates in ("first", "last", "mean"):
        both(tmp_path, duplicates=duplicates)
    for source in (instances_of(tmp_path), tmp_path):
        with pytest.raises(DuplicateKeyError, match="run=b"):
            sn.aggregate(source)


def opened(dump: Fake) -> Opened:
    report = ReadReport()
    return Opened("fake", [], [dump], [], [], None, plan([dump], report), report)


def test_any_dump_gives_the_moments_of_its_table() -> None:
    rows = items([1.0, 0.5, None, 0.0, 0.25, 1.0], ids=[*"aabbcc"], repeat=[0, 1, 0, 1, 1, 0])
    clusters = rows.with_columns(pl.Series("cluster", ["p", "p", "q", "q", None, None]))
    odd = items([2.0, 4.0, 8.0], metric="word_perplexity", w=[1.0, None, 3.0])
    other = items([0.5, 0.25], metric="f1", ids=["a", "b"])
    again = items([1.0, 0.0], metric="acc", ids=["z", "z"])
    labels = {"subtask": None, "seed": 1, "config": "shots=5"}
    cases = [
        Fake(({}, rows), ({"step": 11}, rows.reverse())),
        Fake(({}, rows), ({}, other), ({"subtask": "x"}, clusters), (labels, rows)),
        Fake(({}, rows.with_columns(pl.Series("filter", [None, None, "f", "f", "f", "f"]))), (labels, other)),
        Fake(({}, odd), ({"run": "n"}, odd)),
        Fake(({}, odd.drop("w")), ({}, again)),
    ]
    cases[3].weights = {"word_perplexity": "w"}
    for dump in cases:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for options in (
                {},
                {"by": ()},
                {"by": ("run", "metric")},
                {"where": "value > 0.3"},
                {"metrics": ["f1", "acc", "word_perplexity"]},
            ):
                for duplicates in ("first", "mean"):
                    table = sn.aggregate(opened(dump).frame(), duplicates=duplicates, **options)
                    found = sn.aggregate(opened(dump), duplicates=duplicates, **options)
                    assert_frame_equal(found, table, check_exact=True)


def test_usable_scores_are_those_of_the_table() -> None:
    odd = [0.1, None, math.nan, math.inf, -math.inf, 5.0]
    for metric in ("acc", "perplexity", "vibes", "logprob", "margin"):
        frame = with_usable(pl.DataFrame({"metric": [metric] * 6, "value": odd}))
        values = frame["value"].to_numpy()
        found = usable_scores(metric, values, frame["value"].is_null().to_numpy())
        for ours, name in zip(found, ("__usable", "__missing", "__nan"), strict=True):
            assert ours.tolist() == frame[name].to_list(), (metric, name)


def test_results_alone_and_nothing_left(shared: Path, tmp_path: Path) -> None:
    document(tmp_path / "m/results.json", {"acc,none": 0.5})
    both(tmp_path)
    write(tmp_path / "m/samples_t.jsonl", [{"doc_id": k, "acc": k} for k in range(2)])
    both(tmp_path)
    both(tmp_path, where="instance_id IS NULL")
    for options in ({"where": "step > 99"}, {"metrics": "vibes"}):
        with pytest.raises(SchemaError, match="no rows are left"):
            sn.aggregate(tmp_path, **options)
    with pytest.raises(SchemaError, match="no column 'stepp'"):
        sn.aggregate(tmp_path, where="stepp > 1")
    with pytest.raises(SchemaError, match="no column 'nonsense'"):
        sn.aggregate(tmp_path, by="nonsense")


def test_dumps_beside_tables(tmp_path: Path) -> None:
    write(tmp_path / "m/step10/samples_t.jsonl", [{"doc_id": k, "acc": k} for k in range(2)])
    table = pl.DataFrame(
        {"run": "m", "step": 10, "task": "t", "metric": "acc", "instance_id": "9", "value": 1.0}
    )
    table.write_parquet(tmp_path / "more.parquet")
    both(tmp_path)
    assert sn.aggregate(tmp_path)["n"].to_list() == [3]


def test_progress_counts_files(tmp_path: Path) -> None:
    for step in range(4):
        write(tmp_path / f"m/step{step}/samples_t.jsonl", [{"doc_id": 0, "acc": 1}])
    document(tmp_path / "m/step1/results.json", {"acc,none": 1.0}, "step1")
    (tmp_path / "notes.txt").write_text("hello")
    seen: list[tuple[int, int]] = []
    opened = open_source(tmp_path, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (2, 6)
    list(opened.batches(target_bytes=1))
    assert seen[-1] == (6, 6)
    assert seen == sorted(seen)


def test_mixed_versions_in_one_folder(shared: Path, tmp_path: Path) -> None:
    for version in ("v0.4.2/alpha-step3000", "v0.4.8/org__alpha", "v0.4.13/org__alpha"):
        for path in (shared / "data/dumps/lm_eval" / version).iterdir():
            (tmp_path / path.name).write_bytes(path.read_bytes())
    frame, report = read(tmp_path, strict=True)
    rows = frame.filter(pl.col("instance_id").is_not_null()).collect()
    counts = rows.group_by("step", "seed", "task", "metric").len()
    assert counts.filter(step=3000, seed=5, task="toy_know", metric="acc")["len"].to_list() == [140]
    assert counts.filter(pl.col("seed").is_null(), task="toy_mc", metric="acc").height == 5
    assert not report.check_failures
    assert report.checked > 20
