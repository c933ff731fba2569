"""Samples of lm-eval: every mean of the real dumps against the tool's own, names, filters, ratios, damaged files."""

from __future__ import annotations

import gzip
import json
import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from signoise._errors import DroppedRowsWarning, ReadError
from signoise._readers import ReadReport, lengthen, open_source, read
from signoise._readers._files import Found, find, head_of
from signoise._readers._lm_eval_samples import Dump, claims

STAMP = "2026-01-01T10-00-00.000000"


def found(path: Path) -> Found:
    return Found(path, path.name, explicit=True)


def load(*paths: Path, strict: bool = False) -> tuple[pl.DataFrame, ReadReport]:
    """Instance rows of the files of some folders, straight from the dump."""
    report = ReadReport(strict=strict)
    dump = Dump(find(list(paths) if len(paths) > 1 else paths[0]), report)
    parts = dump.parts()
    return lengthen(dump.load(parts)), report


def write(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, list):
        content = "".join(json.dumps(row) + "\n" for row in content)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def row(doc_id: Any, filter_name: str | None = "none", **scores: Any) -> dict[str, Any]:
    """A row as recent versions write it; without a filter as 0.4.2 does."""
    base = {
        "doc_id": doc_id,
        "doc": {"q": "?"},
        "target": "0",
        "arguments": {},
        "resps": [[]],
        "filtered_resps": [],
    }
    labels = {} if filter_name is None else {"filter": filter_name, "metrics": list(scores)}
    return base | labels | scores


def results(
    scores: dict[str, Any], *, args: Any = "pretrained=org/m,revision=step10,seed=3", **extra: Any
) -> str:
    document = {
        "results": scores,
        "configs": {},
        "versions": dict.fromkeys(scores, 1.0),
        "n-shot": dict.fromkeys(scores, 5),
        "config": {"model": "hf", "model_args": args, "limit": None},
        "group_subtasks": {},
    }
    return json.dumps(document | extra)


def zstd(data: bytes) -> bytes:
    return pytest.importorskip("pyarrow").Codec("zstd").compress(data, asbytes=True)


# --- real dumps


VERSIONS = ["v0.4.2", "v0.4.8", "v0.4.13", "v0.4.13_hf"]


@pytest.mark.parametrize("version", VERSIONS)
def test_every_mean_equals_the_tools_own(shared: Path, version: str) -> None:
    frame, report = read(shared / "data/dumps/lm_eval" / version, strict=True)
    table = frame.collect()
    rows = table.filter(pl.col("instance_id").is_not_null())
    key = ["run", "revision", "step", "seed", "task", "subtask", "config", "metric", "filter"]

    def score(metric: str, value: pl.Series, weight: pl.Series) -> float:
        if metric.endswith("perplexity"):
            return math.exp((value.log() * weight).sum() / weight.sum())
        return (value * weight).sum() / weight.sum()

    ours = {
        group: (score(group[7], part["value"], part["weight"]), part.height)
        for group, part in rows.group_by(key)
    }
    theirs = table.filter(pl.col("instance_id").is_null())
    theirs = {tuple(line[:-2]): tuple(line[-2:]) for line in theirs.select(*key, "value", "n").rows()}
    assert set(ours) <= set(theirs)
    # All that was evaluated with samples: only the aggregate-only run has none.
    assert {group[0] for group in set(theirs) - set(ours)} <= {"org/delta"}
    for group, (value, n) in ours.items():
        assert value == pytest.approx(theirs[group][0], rel=1e-9), group
        assert theirs[group][1] in (None, n)
    assert report.checked == len(ours)
    assert not report.check_failures
    assert not report.unchecked
    assert f"self-check: {len(ours)} of {len(ours)} task means equal the tool's own" in report.summary()


def test_revisions_of_one_folder_are_told_apart_by_their_stamps(shared: Path) -> None:
    frame, _ = load(shared / "data/dumps/lm_eval/v0.4.13/org__alpha")
    counts = frame.group_by("revision", "step", "task").agg(pl.col("instance_id").n_unique().alias("n"))
    expected = {
        (f"step{k}000", k * 1000, task, n)
        for k in range(1, 6)
        for task, n in (("toy_mc", 120), ("toy_ppl", 40))
    }
    assert set(counts.rows()) == expected
    stamps = frame.select("step", pl.col("source").str.extract(r"_(2026[^/]*)\.jsonl$")).unique()
    assert stamps.height == 5


def test_groups_filters_and_seeds_are_those_of_the_results(shared: Path) -> None:
    frame, _ = load(shared / "data/dumps/lm_eval/v0.4.13/org__gamma")
    places = set(frame.filter(pl.col("seed") == 1).select("task", "subtask").unique().rows())
    assert ("toy_suite", "toy_know_a") in places
    assert ("toy_suite", "toy_mc") in places
    assert ("toy_gen", None) in places
    assert set(frame.filter(pl.col("seed") == 2)["task"]) == {"toy_know"}
    assert set(frame.filter(task="toy_gen")["filter"]) == {"strict-match", "flexible-extract"}
    # k repeats, of which the harness scores the first.
    repeated = frame.filter(task="toy_gen_rep")
    assert "repeat" not in frame.columns
    assert repeated.height == 200
    assert repeated["instance_id"].n_unique() == 100


def test_unlabelled_rows_of_several_filters_are_labelled_from_the_configuration(shared: Path) -> None:
    folder = shared / "data/dumps/lm_eval/v0.4.2/alpha-step3000"
    frame, report = load(folder, strict=True)
    gen = frame.filter(task="toy_gen")
    rows = json.loads(next(folder.glob("*_toy_gen.jsonl")).read_text())
    # The file has all rows of the first filter, then all of the second.
    assert gen.filter(filter="strict-match")["value"].to_list() == [r["exact_match"] for r in rows[:100]]
    assert gen.filter(filter="flexible-extract")["value"].to_list() == [r["exact_match"] for r in rows[100:]]
    assert set(frame["run"]) == {"org/alpha"}
    assert set(frame["step"]) == {3000}
    assert set(frame["seed"]) == {5}
    assert report.instances == 60 + 40 + 25 + 15 + 40 + 200


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_compressed_samples(shared: Path, tmp_path: Path, suffix: str) -> None:
    folder = shared / "data/dumps/lm_eval/v0.4.13/org__beta-step1000"
    for path in folder.iterdir():
        shutil.copy(path, tmp_path / path.name)
    plain, _ = read(tmp_path, strict=True)
    expected = plain.drop("source").collect()
    for path in tmp_path.glob("samples_*"):
        data = path.read_bytes()
        path.unlink()
        if suffix == ".gz":  # several members, as appending leaves
            half = len(data) // 2
            packed = gzip.compress(data[:half], mtime=0) + gzip.compress(data[half:], mtime=0)
        else:
            packed = zstd(data)
        (tmp_path / (path.name + suffix)).write_bytes(packed)
    again, report = read(tmp_path, strict=True)
    assert again.drop("source").collect().equals(expected)
    assert report.checked == 5


# --- names without a results file


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("my-model/step2500/samples_arc_easy.jsonl", ("my-model", "step2500", 2500, "arc_easy")),
        ("org__m-1b/samples_arc_easy.jsonl", ("org/m-1b", None, None, "arc_easy")),
        ("org__m-step7/samples_t.jsonl", ("org/m", "step7", 7, "t")),
        (f"org__m/samples_arc_easy_{STAMP}.jsonl", ("org/m", None, None, "arc_easy")),
        ("out/pretrained__org__m-step3,seed__5_toy_gen.jsonl", ("org/m", "step3", 3, "toy_gen")),
    ],
)
def test_names_come_from_folder_and_file(tmp_path: Path, file: str, expected: tuple[Any, ...]) -> None:
    write(tmp_path / file, [row(0, acc=1.0), row(1, acc=0.0)])
    frame, _ = read(tmp_path, strict=True)
    table = frame.collect()
    assert table.height == 2
    names = [name if name in table.columns else None for name in ("run", "revision", "step", "task")]
    assert tuple(None if name is None else table[name][0] for name in names) == expected
    assert table["source"][0] == file


def test_a_checkpoint_folder_means_the_same_from_inside(tmp_path: Path) -> None:
    write(tmp_path / "org__m/step2500/samples_t.jsonl", [row(0, acc=1.0)])
    for source in (tmp_path, tmp_path / "org__m", tmp_path / "org__m/step2500"):
        table = read(source)[0].collect()
        assert (table["run"][0], table["step"][0]) == ("org/m", 2500)


def test_samples_without_a_stamp_belong_to_the_results_beside_them(tmp_path: Path) -> None:
    write(tmp_path / "m/results.json", results({"t": {"acc,none": 0.5}}))
    write(tmp_path / "m/samples_t.jsonl", [row(0, acc=1.0), row(1, acc=0.0)])
    frame, report = read(tmp_path, strict=True)
    table = frame.filter(pl.col("instance_id").is_not_null()).collect()
    assert set(table.select("run", "step", "seed", "config").rows()) == {("org/m", 10, 3, "shots=5")}
    assert report.checked == 1


def test_of_several_results_in_a_folder_the_model_arguments_choose(tmp_path: Path) -> None:
    for seed in (1, 2):
        args = f"pretrained=org/my_m,seed={seed}"
        write(tmp_path / f"{seed}.json", results({"my_task": {"acc,none": seed - 1.0}}, args=args))
        rows = [row(0, None, acc=seed - 1.0)]
        write(tmp_path / f"pretrained__org__my_m,seed__{seed}_my_task.jsonl", json.dumps(rows, indent=2))
    frame, report = read(tmp_path, strict=True)
    table = frame.filter(pl.col("instance_id").is_not_null()).sort("seed").collect()
    assert table.select("run", "seed", "task", "value").rows() == [
        ("org/my_m", 1, "my_task", 0.0),
        ("org/my_m", 2, "my_task", 1.0),
    ]
    assert report.checked == 2


def test_samples_of_another_stamp_do_not_take_the_names_of_the_results(tmp_path: Path) -> None:
    write(tmp_path / f"org__m/results_{STAMP}.json", results({"t": {"acc,none": 0.5}}))
    write(tmp_path / "org__m/samples_t_2026-02-02T10-00-00.000000.jsonl", [row(0, acc=1.0)])
    frame, report = read(tmp_path)
    table = frame.filter(pl.col("instance_id").is_not_null()).collect()
    assert (table["run"][0], table["step"][0]) == ("org/m", None)
    assert not report.checked
    assert report.unchecked == 1


# --- values


def test_ratio_metrics_keep_numerator_and_denominator(tmp_path: Path) -> None:
    pairs = [(-10.0, 4), (-3.0, 12), (-7.5, 20)]
    names = ("bits_per_byte", "byte_perplexity", "word_perplexity")
    rows = [row(k, **{name: list(pair) for name in names}) for k, pair in enumerate(pairs)]
    write(tmp_path / "m/samples_t.jsonl", [*rows, row(3, **{name: [0.0, 0] for name in names})])
    frame, _ = load(tmp_path)
    bits = frame.filter(metric="bits_per_byte")
    assert bits["weight"].to_list()[:3] == [4.0, 12.0, 20.0]
    assert bits["value"].to_list()[:3] == pytest.approx([-ll / n / math.log(2) for ll, n in pairs])
    assert bits["value"][3] is None  # an empty document has no ratio, and no weight
    words = frame.filter(metric="word_perplexity")
    assert words["value"].to_list()[:3] == pytest.approx([math.exp(-ll / n) for ll, n in pairs])


def test_moments_of_ratios_and_perplexities_are_the_tools(tmp_path: Path) -> None:
    import signoise as sn

    pairs = [(-10.0, 4), (-3.0, 12), (-7.5, 20)]
    rows = [
        row(k, bits_per_byte=[*pair], word_perplexity=[*pair], perplexity=pair[0])
        for k, pair in enumerate(pairs)
    ]
    write(tmp_path / "m/samples_t.jsonl", rows)
    found_rows = {line["metric"]: line for line in sn.aggregate(tmp_path).iter_rows(named=True)}
    total, size = sum(ll for ll, _ in pairs), sum(n for _, n in pairs)
    assert found_rows["bits_per_byte"]["mean"] == pytest.approx(-total / size / math.log(2), rel=1e-12)
    assert found_rows["word_perplexity"]["mean"] == pytest.approx(math.exp(-total / size), rel=1e-12)
    assert found_rows["perplexity"]["mean"] == pytest.approx(math.exp(-total / 3), rel=1e-12)
    assert found_rows["perplexity"]["max"] == pytest.approx(math.exp(10.0), rel=1e-12)
    assert [found_rows[name]["variance"] for name in sorted(found_rows)] == [None] * 3


def test_one_score_that_is_no_number_costs_itself_alone(tmp_path: Path) -> None:
    scores = [1.0, "0.5", True, [1, 2], None, {"a": 1}]
    write(tmp_path / "m/samples_t.jsonl", [row(k, acc=score) for k, score in enumerate(scores)])
    write(tmp_path / "m/samples_u.jsonl", [row(k, acc=[1, 2]) for k in range(2)])
    frame, report = load(tmp_path)
    assert frame.filter(task="t")["value"].to_list() == [1.0, None, 1.0, None, None, None]
    assert frame.filter(task="u").is_empty()  # what a statistic of the whole corpus needs
    ((reason, told),) = report.doubtful.items()
    assert reason.startswith("a score that is no number")
    assert (told.count, str(told.examples[0])) == (3, "m/samples_t.jsonl, line 2: metric acc")
    assert report.notes[0].startswith("metric acc: its values are no numbers")


def test_log_likelihoods_that_are_no_numbers_are_told_of(tmp_path: Path) -> None:
    bare = [[math.nan, False], [-1.5, True]]
    quoted = [["-1.5", "True"], ["-inf", "False"]]
    sound = [["-1.5", "True"], ["-150.25", "False"]]
    texts = [
        ["nan"],
        ["inf"],
        ['[nan, true] ["-inf", "False"]'],
    ]  # what models wrote, and one rolling likelihood
    responses = [sound, bare, quoted, *texts, [], None, [bare[1]]]
    rows = [row(k, acc=1.0) | {"filtered_resps": found_there} for k, found_there in enumerate(responses)]
    write(tmp_path / "m/samples_t.jsonl", rows)
    write(
        tmp_path / "m/samples_u.jsonl",
        [row(0, acc=0.0), row(1, acc=1.0) | {"filtered_resps": [["nan", False]]}],
    )
    frame, report = load(tmp_path)
    assert frame.height == len(rows) + 2
    assert frame["value"].null_count() == 0
    ((reason, told),) = report.doubtful.items()
    assert told.count == 3
    assert [str(place) for place in told.examples] == [
        "m/samples_t.jsonl, line 2: [[NaN, false], [-1.5, true]]",
        'm/samples_u.jsonl, line 2: [["nan", false]]',
    ]
    line = next(line for line in report.summary() if line.startswith("doubtful"))
    assert line.startswith(f"doubtful: 3 rows: {reason} (m/samples_t.jsonl, line 2")
    with pytest.warns(DroppedRowsWarning, match="doubtful: 3 rows: a log-likelihood is nan or infinite"):
        report.warn()
    with pytest.raises(ReadError, match=r"line 2.*log-likelihood is nan"):
        load(tmp_path, strict=True)


def test_numbers_bools_null_and_not_a_number(tmp_path: Path) -> None:
    text = "".join(
        json.dumps(row(k)).replace('"metrics": []', f'"metrics": ["acc"], "acc": {value}') + "\n"
        for k, value in enumerate(["1", "0.5", "true", "null", "NaN", "-Infinity"])
    )
    write(tmp_path / "m/samples_t.jsonl", text)
    values = load(tmp_path)[0]["value"].to_list()
    assert values[:4] == [1.0, 0.5, 1.0, None]
    assert math.isnan(values[4])
    assert values[5] == -math.inf


def test_metrics_of_the_whole_corpus_are_left_out_and_said_once(tmp_path: Path) -> None:
    write(tmp_path / "m/samples_t.jsonl", [row(k, acc=1.0, f1=[0, 1], bleu=["a", "b"]) for k in range(3)])
    write(tmp_path / "m/samples_u.jsonl", [row(0, acc=1.0, f1=[0, 1])])
    frame, report = read(tmp_path, strict=True)
    assert set(frame.collect()["metric"]) == {"acc"}
    assert len(report.notes) == 2
    assert all("its values are no numbers" in note for note in report.notes)


def test_older_rows_list_no_metrics(tmp_path: Path) -> None:
    write(tmp_path / "m/samples_t.jsonl", [row(0, None, acc=1.0, brier=0.25), row(1, None, acc=0)])
    frame, _ = load(tmp_path)
    assert frame.select("instance_id", "metric", "value").sort("metric", "instance_id").rows() == [
        ("0", "acc", 1.0),
        ("1", "acc", 0.0),
        ("0", "brier", 0.25),
        ("1", "brier", None),
    ]


def test_a_run_that_only_predicts_has_no_score(tmp_path: Path) -> None:
    write(tmp_path / "m/samples_t.jsonl", [row(k) for k in range(3)])
    with pytest.raises(ReadError, match=r"samples without a metric \(a run that only predicts\)"):
        read(tmp_path)
    write(tmp_path / "m/samples_u.jsonl", [row(0, acc=1.0)])
    frame, report = read(tmp_path)
    assert frame.collect()["task"].to_list() == ["u"]
    assert "samples without a metric" in report.notes[0]


def test_ids_are_texts(tmp_path: Path) -> None:
    ids = [0, 7, "1", "x/é", 9007199254740993, 2.5]
    write(tmp_path / "m/samples_t.jsonl", [row(one, acc=1.0) for one in ids])
    expected = ["0", "7", "1", "x/é", "9007199254740993", "2.5"]
    assert load(tmp_path)[0]["instance_id"].to_list() == expected


@pytest.mark.parametrize("ids", [range(30), [3, 200, 20, 3, 100000, 0], [1e6, 5, 1e12]])
def test_places_of_numbered_ids_are_those_of_their_texts(tmp_path: Path, ids: Sequence[float]) -> None:
    write(tmp_path / "m/samples_t.jsonl", [row(one, acc=1.0) for one in ids])
    dump = Dump(find(tmp_path), ReadReport())
    batch = dump.load(dump.parts())
    texts = [str(int(one)) for one in ids]
    assert batch.rows["instance_id"].to_list() == texts
    codes = batch.codes("instance_id")
    assert codes.min() >= 1  # 0 is null
    places = {text: place for place, text in enumerate(sorted(set(texts)))}
    assert np.unique(codes, return_inverse=True)[1].tolist() == [places[text] for text in texts]


@pytest.mark.parametrize("damaged", [False, True])
def test_reports_do_not_depend_on_threads(tmp_path: Path, damaged: bool) -> None:
    for step in range(6):
        lines = [json.dumps(row(at, acc=1.0)) for at in range(4)]
        lines[step % 4] = "{" if damaged else lines[step % 4]
        lines.append(json.dumps(row(0, acc=1.0)))
        write(tmp_path / f"m/step{step}/samples_t.jsonl", "\n".join(lines))
    reports = []
    for threads in (1, 2, None):
        opened = open_source(tmp_path)
        rows = [lengthen(batch) for batch in opened.batches(target_bytes=1, threads=threads)]
        reports.append((pl.concat(rows).rows(), opened.report.summary()))
    assert len(reports[0][0]) == (18 + 2 if damaged else 24)
    assert reports[0] == reports[1] == reports[2]


def test_unlabelled_filters_that_do_not_fit_are_dropped(tmp_path: Path) -> None:
    filters = [{"name": "a", "filter": []}, {"name": "b", "filter": []}]
    scores = {"t": {"acc,a": 0.5, "acc,b": 0.5}}
    write(tmp_path / "m/results.json", results(scores, configs={"t": {"filter_list": filters}}))
    rows = [
        row(0, None, acc=0),
        row(1, None, acc=1),
        row(0, None, acc=1),
        row(1, None, acc=0),
        row(2, None, acc=1),
    ]
    write(tmp_path / "m/samples_t.jsonl", rows)
    frame, report = read(tmp_path)
    table = frame.filter(pl.col("instance_id").is_not_null()).collect()
    assert table.select("instance_id", "filter", "value").sort("filter", "instance_id").rows() == [
        ("0", "a", 0.0),
        ("1", "a", 1.0),
        ("0", "b", 1.0),
        ("1", "b", 0.0),
    ]
    assert report.n_dropped == 1
    with pytest.raises(ReadError, match=r"samples_t\.jsonl, line 5: doc_id 2: rows of several filters"):
        read(tmp_path, strict=True)


# --- detection


@pytest.mark.parametrize(
    ("name", "head", "expected"),
    [
        ("samples_t.jsonl", b'{"doc_id": 0, "doc": ', True),
        ("samples_t.jsonl.zst", b"", True),
        ("other.jsonl.zst", b"", False),
        ("anything.jsonl", b'\xef\xbb\xbf{"doc_id": "a", "doc": {}, "resps": []', True),
        ("x.jsonl", b'[\n  {\n    "doc_id": 0,\n    "doc": {', True),
        (
            "task-000-t-predictions.jsonl",
            b'{"doc_id": 0, "native_id": 5, "metrics": {}, "model_output": []',
            False,
        ),
        ("scores.jsonl", b'{"run": "a", "doc_id": 0, "acc": 1}', False),
        ("results_x.json", b'{\n "results": {"t": {"acc,none": 1}}, "versions"', True),
        ("results_x.json", b'{"config_general": {}, "results": {"all": {}}}', False),
        ("a.parquet", b"PAR1", False),
        ("a.csv", b"doc_id,acc\n", False),
    ],
)
def test_claims(name: str, head: bytes, expected: bool) -> None:
    assert claims(Found(Path(name), name, explicit=False), head) is expected


def test_samples_that_hold_the_keys_of_other_harnesses(tmp_path: Path) -> None:
    doc = {"eval": 1, "base_status": 2, "config": 3, "passed": 4, "all_primary_scores": 5}
    write(tmp_path / "m/samples_t.jsonl", [row(at, acc=1.0) | {"doc": doc} for at in range(3)])
    frame, report = read(tmp_path)
    assert frame.collect().height == 3
    assert report.files == {"lm_eval_samples": 1}


def test_the_head_of_a_compressed_file(tmp_path: Path) -> None:
    data = b'{"doc_id": 0, "doc": {}, "resps": []}\n' * 5000
    path = write(tmp_path / "x.gz", gzip.compress(data, mtime=0))
    assert head_of(found(path)).startswith(data[:1000])
    path = write(tmp_path / "x.zst", zstd(data))
    assert head_of(found(path), decompress_zstd=True).startswith(data[:30])
    assert open_source(path).dumps


# --- damage


GOOD = [row(k, acc=float(k % 2)) for k in range(4)]
LINES = [json.dumps(one) for one in GOOD]


@pytest.mark.parametrize(
    ("content", "kept", "line"),
    [
        ("\n".join(LINES)[:-30], 3, 4),  # killed while writing
        ("\n".join([LINES[0], "{oops}", *LINES[1:]]), 4, 2),
        ("\n".join([LINES[0], '"text"', *LINES[1:]]), 4, 2),
        ("\n".join(LINES).encode().replace(b'"q"', b'"\xff"', 1), 3, 1),
        ("\n".join([json.dumps({k: v for k, v in GOOD[0].items() if k != "doc_id"}), *LINES]), 4, 1),
        ("\n".join([LINES[0].replace('"doc_id": 0', '"doc_id": null'), *LINES]), 4, 1),
        ("[\n" + ",\n".join(LINES)[:-30], 3, 5),
    ],
)
def test_damaged_rows_are_dropped_with_their_line(tmp_path: Path, content: Any, kept: int, line: int) -> None:
    write(tmp_path / "m/samples_t.jsonl", content)
    frame, report = read(tmp_path)
    assert frame.collect().height == kept
    [(_, entry)] = report.dropped.items()
    assert entry.count == 1
    assert (entry.examples[0].file, entry.examples[0].row) == ("m/samples_t.jsonl", line)
    with pytest.raises(ReadError, match=rf"m/samples_t\.jsonl, line {line}"):
        read(tmp_path, strict=True)


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbf" + "\n".join(LINES).encode(),
        "\r\n".join(LINES) + "\r\n",
        "\n\n" + "\n\n".join(LINES) + "\n\n",
        json.dumps(GOOD),
        json.dumps(GOOD, indent=4),
    ],
)
def test_marks_line_ends_and_blank_lines_do_no_harm(tmp_path: Path, content: Any) -> None:
    write(tmp_path / "m/samples_t.jsonl", content)
    frame, _ = read(tmp_path, strict=True)
    assert frame.collect()["value"].to_list() == [0.0, 1.0, 0.0, 1.0]


@pytest.mark.parametrize(
    "content",
    [b"", b"\n \n", b"[]", b"{", gzip.compress(b"\n".join(s.encode() for s in LINES), mtime=0)[:40]],
)
def test_files_without_a_sound_row_are_skipped(tmp_path: Path, content: bytes) -> None:
    write(tmp_path / "m/samples_t.jsonl", content)
    with pytest.raises(ReadError, match="nothing could be read"):
        read(tmp_path)
    write(tmp_path / "m/samples_u.jsonl", LINES[0])
    frame, report = read(tmp_path)
    assert frame.collect()["task"].to_list() == ["u"]
    told = [file for file, _ in report.skipped]
    told += [place.file for entry in report.dropped.values() for place in entry.examples]
    told += [file for files in report.ignored.values() for file in files]
    assert set(told) == {"m/samples_t.jsonl"}
    if content == b"[]":  # an empty list is no damage
        return
    with pytest.raises(ReadError, match=r"samples_t\.jsonl"):
        read(tmp_path, strict=True)


@pytest.mark.parametrize("name", ["samples_t.jsonl.gz", "samples_t.jsonl.zst"])
def test_damaged_compression_is_told_by_name(tmp_path: Path, name: str) -> None:
    magic = b"\x1f\x8b" if name.endswith("gz") else b"\x28\xb5\x2f\xfd"
    write(tmp_path / "m" / name, magic + b"nothing of the kind")
    write(tmp_path / "m/samples_u.jsonl", LINES[0])
    _, report = read(tmp_path)
    [(file, reason)] = report.skipped
    assert file == f"m/{name}"
    assert "damaged" in reason
