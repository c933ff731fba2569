"""The command line: every command, every form of output, every way to fail."""

from __future__ import annotations

import csv
import inspect
import io
import json
import os
import re
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import polars as pl
import pytest
from click.testing import CliRunner, Result

import signoise as sn
from signoise import _measure
from signoise._cli import COMMANDS, main
from signoise._cli import _options as options
from signoise._cli._output import number, write
from signoise._cli._run import in_options

SIDES = ["--small", "params = 150000000", "--target", "params = 1000000000"]
#: Command -> verb, the options it needs, and the call that gives the same frame.
VERBS: dict[str, tuple[str, list[str], dict[str, Any]]] = {
    "report": ("report", [], {}),
    "snr": ("snr", ["--where", "params = 150000000"], {"where": "params = 150000000"}),
    "noise": ("noise", ["--per", "run", "--absolute"], {"per": "run", "relative": False}),
    "decisions": ("decision_accuracy", SIDES, {"small": SIDES[1], "target": SIDES[3]}),
    "smoothness": ("smoothness", ["--direction", "raw"], {"direction": "raw"}),
    "average": ("average_checkpoints", ["--window", "3", "--how", "ema"], {"window": 3, "how": "ema"}),
    "roll-up": ("roll_up", ["--to", "suite"], {"to": "suite"}),
    "aggregate": ("aggregate", ["--by", "run,task", "--by", "metric"], {"by": ("run", "task", "metric")}),
}
PLAIN = {**os.environ, "NO_COLOR": "1", "PYTHONPATH": os.pathsep.join(sys.path)}


@pytest.fixture(scope="module")
def scores(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("scores") / "scores.parquet"
    sn.example_scores().write_parquet(path)
    return str(path)


def run(*args: str) -> Result:
    return CliRunner().invoke(main, list(args))


def done(*args: str) -> Result:
    result = run(*args)
    assert result.exit_code == 0, result.output
    return result


def failed(code: int, *args: str) -> str:
    result = run(*args)
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    assert not result.stdout
    return result.stderr


def process(*args: str, **more: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "signoise", *args],
        capture_output=True,
        text=True,
        env=PLAIN,
        check=False,
        **more,
    )


def quietly(call: Callable[[], pl.DataFrame]) -> pl.DataFrame:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", sn.SignoiseWarning)
        return call()


def rows_of(table: pl.DataFrame) -> list[dict[str, Any]]:
    """As JSON should hold them: NaN and infinity are null."""
    return [
        {k: None if isinstance(v, float) and not abs(v) < float("inf") else v for k, v in row.items()}
        for row in table.to_dicts()
    ]


# --- commands and verbs ------------------------------------------------------------------------------


@pytest.mark.parametrize("command", VERBS)
def test_json_is_the_frame_of_the_verb(command: str, scores: str) -> None:
    verb, arguments, keywords = VERBS[command]
    printed = json.loads(done(command, scores, *arguments, "--json").stdout)
    # The files are opened as the command does: the source column is the file's name.
    expected = quietly(lambda: getattr(sn, verb)(sn.scan_scores(scores), **keywords))
    assert printed == rows_of(expected)


@pytest.mark.parametrize("command", VERBS)
def test_plain_output_holds_every_row(command: str, scores: str) -> None:
    verb, arguments, keywords = VERBS[command]
    expected = quietly(lambda: getattr(sn, verb)(sn.scan_scores(scores), **keywords))
    lines = done(command, scores, *arguments).stdout.split("\n\n")[0].splitlines()
    assert len(lines) == expected.height + (lines[0].split()[0] == expected.columns[0])
    assert lines[0].split() == [name for name in expected.columns if name != "signature"]


@pytest.mark.parametrize(("command", "verb"), [(name, verb) for name, (verb, _, _) in VERBS.items()])
def test_every_keyword_is_an_option(command: str, verb: str) -> None:
    verbs = {"average": [verb, "averaging_gain", "choose_window"]}.get(command, [verb])
    keywords = {name for v in verbs for name in list(inspect.signature(getattr(sn, v)).parameters)[1:]}
    known = {p.name for p in main.get_command(click.Context(main), command).params}  # type: ignore[union-attr]
    assert keywords <= known
    ours = {"sources", "format", "output", "as_json", "quiet", "debug", "help", "gain", "choose"}
    assert known - keywords <= ours


def test_average_studies(scores: str) -> None:
    sides = ["--small", "params = 150000000", "--target", "params = 1e9"]
    keywords = {"small": sides[1], "target": sides[3]}
    printed = json.loads(
        done("average", scores, "--gain", *sides, "--windows", "1,3", "--at", "0.5,1", "--json").stdout
    )
    expected = quietly(lambda: sn.averaging_gain(scores, windows=(1, 3), at=(0.5, 1.0), **keywords))
    assert printed == rows_of(expected)
    printed = json.loads(done("average", scores, "--choose", *sides, "--side", "small", "--json").stdout)
    assert printed == rows_of(quietly(lambda: sn.choose_window(scores, side="small", **keywords)))
    assert "one of them" in failed(2, "average", scores, "--gain", "--choose")
    assert "--small has no meaning without --gain or --choose" in failed(2, "average", scores, *sides)
    assert "--window has no meaning with --gain" in failed(2, "average", scores, "--gain", "--window", "3")
    assert "takes one --side" in failed(2, "average", scores, "--choose", *sides, "--side", "small,both")
    assert "no list of numbers" in failed(2, "average", scores, "--gain", "--windows", "1,a")


def test_every_keyword_of_simulate_is_an_option() -> None:
    known = {p.name for p in main.get_command(click.Context(main), "simulate").params}  # type: ignore[union-attr]
    assert set(inspect.signature(sn.simulate).parameters) <= known


def test_noise_choices_are_those_of_the_verb() -> None:
    assert options.NOISES == _measure.NOISES


@pytest.mark.parametrize("command", COMMANDS)
def test_help_explains_and_shows_examples(command: str) -> None:
    text = done(command, "--help").stdout
    assert f"Examples:\n  signoise {command}" in text
    assert "--debug" in text


def test_commands_of_later_releases_are_usage_errors() -> None:
    for command in ("watch", "signal"):
        assert "No such command" in failed(2, command, "x")


# --- options -----------------------------------------------------------------------------------------


def test_lists_are_comma_separated_and_repeatable(scores: str) -> None:
    together = done("snr", scores, "--by", "task,metric,params", "--json").stdout
    apart = done("snr", scores, "--by", "task", "--by", "metric, params", "--json").stdout
    assert together == apart
    assert list(json.loads(together)[0])[:3] == ["task", "metric", "params"]


def test_columns_groups_and_chance(tmp_path: Path, scores: str) -> None:
    path = tmp_path / "theirs.csv"
    pl.read_parquet(scores).rename({"run": "who", "recipe": "soup"}).write_csv(path)
    declared = ["--columns", "who=run,soup=recipe"]
    ours = json.loads(done("decisions", scores, *SIDES, "--json").stdout)
    theirs = json.loads(done("decisions", str(path), *SIDES, *declared, "--json").stdout)
    assert theirs == ours

    grouped = done(
        "snr", scores, "--group", "all=sim_[ac]*", "--group", "two=sim_boolq", "--group", "two=sim_mmlu"
    )
    assert {"all", "two"} <= {line.split()[0] for line in grouped.stdout.splitlines() if line}

    where = ["--where", "task = 'sim_mmlu' AND params = 150000000"]
    assert "near_chance" not in done("snr", scores, *where).stdout
    assert "near_chance" in done("snr", scores, *where, "--chance", "sim_mmlu=0.25").stdout


def test_direction_declares_a_metric(tmp_path: Path, scores: str) -> None:
    path = tmp_path / "odd.parquet"
    pl.read_parquet(scores).filter(metric="acc").with_columns(metric=pl.lit("zorp")).write_parquet(path)
    assert "zorp" in failed(1, "decisions", str(path), *SIDES)
    done("decisions", str(path), *SIDES, "--direction", "zorp=higher")
    done("smoothness", str(path), "--direction", "zorp=lower")
    done("smoothness", str(path), "--direction", "raw")


def test_several_sources_are_one_table(tmp_path: Path, scores: str) -> None:
    table = pl.read_parquet(scores)
    for size, part in table.group_by("params"):
        part.write_csv(tmp_path / f"{size[0]}.csv")
    files = sorted(str(path) for path in tmp_path.glob("*.csv"))
    ask = ["--by", "task,metric,params", "--json"]
    one = json.loads(done("snr", scores, *ask).stdout)
    assert json.loads(done("snr", *files, *ask).stdout) == one
    assert json.loads(done("snr", str(tmp_path), *ask).stdout) == one
    assert json.loads(done("snr", str(tmp_path / "*.csv"), "--format", "table", *ask).stdout) == one
    assert "nothing could be read" in failed(1, "snr", str(tmp_path), "--format", "lm_eval")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "Missing argument 'SOURCE...'"),
        (["{}", "--window", "0"], "x>=1"),
        (["{}", "--noise", "loud"], "'loud' is not one of"),
        (["{}", "--signal", "loud"], "compat:NAME"),
        (["{}", "--by", "task,,metric"], "empty name"),
        (["{}", "--columns", "model"], "THEIRS=OURS"),
        (["{}", "--columns", "a=run,a=task"], "given twice"),
        (["{}", "--chance", "boolq=half"], "TASK=0.25"),
        (["{}", "--group", "all"], "NAME=GLOB"),
        (["{}", "--autocorrelation", "some"], "pooled"),
        (["{}", "--confidence-level", "1"], "0<x<1"),
        (["{}", "--duplicates", "middle"], "'middle' is not one of"),
        (["{}", "--no-such-option"], "No such option"),
    ],
)
def test_wrong_usage_is_exit_code_2(arguments: list[str], said: str, scores: str) -> None:
    assert said in failed(2, "snr", *(scores if a == "{}" else a for a in arguments))


def test_decisions_needs_both_sides(scores: str) -> None:
    assert "--target" in failed(2, "decisions", scores, "--small", "params = 1")
    assert "go together" in failed(2, "report", scores, "--small", "params = 1")
    assert "must be higher or lower" in failed(2, "decisions", scores, *SIDES, "--direction", "acc=up")


# --- errors and warnings -----------------------------------------------------------------------------


def test_an_unknown_column_is_one_paragraph_with_a_guess(scores: str) -> None:
    text = failed(1, "snr", scores, "--by", "taks,metric")
    assert text.count("\n") == 1
    assert text.startswith("error: ")
    assert "did you mean 'task'?" in text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("snr", "{}", "--where", "task = 'sim_ark'"), "task has no 'sim_ark'; did you mean 'sim_arc'?"),
        (("snr", "{}", "--where", "params = 7"), "params is 150000000 or 1000000000"),
        (
            ("decisions", "{}", "--small", "params = 7", "--target", "params = 1e9"),
            "small: no row satisfies params = 7: params is",
        ),
        (
            ("aggregate", "{}", "--metrics", "ac"),
            "no rows are left of metric ac: metric has no 'ac'; did you mean 'acc'?",
        ),
    ],
)
def test_a_filter_that_leaves_nothing_is_told_what_is_there(
    arguments: tuple[str, ...], said: str, scores: str
) -> None:
    assert said in failed(1, *(scores if a == "{}" else a for a in arguments))


def test_an_unknown_command_is_told_with_a_guess() -> None:
    assert "No such command 'repor'; did you mean 'report'?" in failed(2, "repor", "x")
    assert "No such command 'xyz'." in failed(2, "xyz")


@pytest.mark.parametrize(
    ("words", "offered"),
    [("signoise sn", "plain,snr"), ("signoise snr --wi", "plain,--window"), ("signoise snr res", "file,res")],
)
def test_shells_complete(words: str, offered: str) -> None:
    environment = {
        "_SIGNOISE_COMPLETE": "bash_complete",
        "COMP_WORDS": words,
        "COMP_CWORD": str(words.count(" ")),
    }
    found = CliRunner().invoke(main, env=environment, prog_name="signoise")
    assert offered in found.stdout.splitlines()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["no/such/file.csv"], "no/such/file.csv"),
        (["{}", "--where", "params = 7"], "no rows are left"),
        (["{}", "--where", "((("], "SQL predicate"),
        (["{}", "--columns", "who=run"], "no column 'who'"),
    ],
)
def test_no_result_is_exit_code_1(arguments: list[str], said: str, scores: str) -> None:
    text = failed(1, "snr", *(scores if a == "{}" else a for a in arguments))
    assert said in text
    assert text.startswith("error: ")


def test_debug_shows_the_whole_traceback(scores: str) -> None:
    result = run("snr", scores, "--by", "taks", "--debug")
    assert result.exit_code == 1
    assert "Traceback (most recent call last)" in result.stderr
    assert "Traceback" in result.stderr
    assert "error: " in result.stderr


def test_an_unexpected_error_is_one_paragraph(scores: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise KeyError("surprise\nsecond line")

    monkeypatch.setattr(sn, "snr", broken)
    text = failed(1, "snr", scores)
    assert text.startswith("error: unexpected KeyError: ")
    assert text.count("\n") == 1


def test_ctrl_c_is_exit_code_130(scores: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sn, "snr", interrupted)
    assert failed(130, "snr", scores) == "interrupted\n"


def with_duplicates(scores: str, path: Path) -> str:
    """One row twice as it is."""
    table = pl.read_parquet(scores)
    pl.concat([table, table.head(1)]).write_parquet(path)
    return str(path)


def test_warnings_are_printed_once_and_counted(tmp_path: Path, scores: str) -> None:
    path = with_duplicates(scores, tmp_path / "twice.parquet")
    result = done("snr", path)
    assert result.stderr.splitlines() == ["warning: 1 exact duplicate rows were dropped", "1 warning"]
    quiet = done("snr", path, "--quiet")
    assert quiet.stderr == "1 warning\n"
    assert quiet.stdout == result.stdout == done("snr", scores).stdout
    assert not done("snr", scores).stderr


def test_strict_turns_dropped_rows_into_an_error(tmp_path: Path, scores: str) -> None:
    path = with_duplicates(scores, tmp_path / "twice.parquet")
    where = ["--where", "task = 'sim_arc'"]
    assert "1 exact duplicate" in failed(1, "snr", path, *where, "--strict")
    assert "1 exact duplicate" in failed(1, "report", path, *where, "--strict")
    done("snr", scores, *where, "--strict")
    assert "'constant'" in failed(1, "snr", scores, "--strict")
    (tmp_path / "broken.csv").write_text("run,task\n")
    done("snr", str(tmp_path), *where)
    assert "broken.csv" in failed(1, "snr", str(tmp_path), *where, "--strict")


def test_a_joined_column_is_said_and_is_no_error(tmp_path: Path, scores: str) -> None:
    table = pl.read_parquet(scores).filter(task="sim_arc")
    path = tmp_path / "shots.parquet"
    pl.concat([table.with_columns(shots=pl.lit(n)) for n in (0, 5)]).write_parquet(path)
    for command in ("snr", "report"):
        result = done(command, str(path), "--strict")
        assert "warning: config joined the key" in result.stderr
        assert "(shots=0, shots=5)" in result.stderr
        assert "--where" in result.stderr


def test_report_warns_as_the_verbs_do(tmp_path: Path, scores: str) -> None:
    with pytest.warns(sn.DroppedRowsWarning, match="exact duplicate"):
        sn.report(with_duplicates(scores, tmp_path / "twice.parquet"))


def test_messages_speak_of_options() -> None:
    text = 'choose with duplicates="first", "last" or "mean"; filter (where=...) or call with strict=False'
    assert (
        in_options(text)
        == "choose with --duplicates first, last or mean; filter (--where ..) or leave out --strict"
    )
    assert in_options('e.g. columns={"a": "run"} or --columns a=run') == "e.g. --columns a=run"


# --- scan, report, simulate, demo ----------------------------------------------------------------------


def test_scan_counts(scores: str) -> None:
    rows = json.loads(done("scan", scores, "--json").stdout)
    assert [row["task"] for row in rows] == sorted(pl.read_parquet(scores)["task"].unique())
    boolq = next(row for row in rows if row["task"] == "sim_boolq")
    assert boolq == {
        "task": "sim_boolq",
        "metric": "acc",
        "n_runs": 12,
        "n_checkpoints": 12,
        "n_checkpoints_max": 12,
        "n_rows": 144,
        "min": 0.62,
        "max": 0.62,
        "n_missing": 0,
        "n_nan": 0,
        "params_min": 150_000_000,
        "params_max": 1_000_000_000,
        "status": "ok",
    }
    text = done("scan", scores).stdout
    assert "read 864 rows" in text
    assert "12 runs, 6 recipes, 2 sizes" in text


def test_scan_finds_what_is_missing_and_what_conflicts(tmp_path: Path, scores: str) -> None:
    table = pl.read_parquet(scores).sort("task", "run", "step")
    odd = table.with_row_index("i").with_columns(
        value=pl.when(pl.col("i") == 0)
        .then(None)
        .when(pl.col("i") == 1)
        .then(float("nan"))
        .when(pl.col("i") == 2)
        .then(float("inf"))
        .otherwise("value")
    )
    odd = pl.concat(
        [odd, table.tail(1).with_row_index("i").with_columns(pl.col("value") + 1), odd.tail(1)]
    ).drop("i")
    path = tmp_path / "odd.parquet"
    odd.write_parquet(path)
    result = done("scan", str(path))
    assert "1 key carries" not in result.stdout
    assert "1 exact duplicate row, which the statistics drop" in result.stdout
    assert "warning: 1 keys carry different values: " in result.stderr
    assert "1 warning" in result.stderr
    rows = {row["task"]: row for row in json.loads(done("scan", str(path), "--json").stdout)}
    assert (rows["sim_arc"]["n_missing"], rows["sim_arc"]["n_nan"]) == (2, 1)
    assert [task for task, row in rows.items() if row["status"] != "ok"] == [table["task"][-1]]
    assert "different values" in failed(1, "scan", str(path), "--strict")
    assert "different values" in failed(1, "snr", str(path))
    done("snr", str(path), "--duplicates", "mean")
    statuses = {row["task"]: row["status"] for row in json.loads(done("report", str(path), "--json").stdout)}
    assert statuses[table["task"][-1]] == "duplicate_key"


def test_scan_names_what_it_left_out(tmp_path: Path, scores: str) -> None:
    pl.read_parquet(scores).head(3).write_csv(tmp_path / "good.csv")
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "notes.txt").write_text("hello")
    text = done("scan", str(tmp_path)).stdout
    assert "skipped 1 file" in text
    assert "empty.csv" in text
    assert "not read: " in text


def test_report_ends_in_sentences(scores: str, tmp_path: Path) -> None:
    table, *rest = done("report", scores).stdout.split("\n\n")
    snr = [float(line.split()[7]) for line in table.splitlines()[1:6]]
    assert snr == sorted(snr, reverse=True)
    sentences = "\n".join(rest)
    assert "read 864 rows" in sentences
    assert "snr_within_scale: can I choose a recipe" in sentences
    written = done("report", scores, "-o", str(tmp_path / "r.csv"))
    assert not written.stdout
    assert "read 864 rows" in written.stderr


def test_simulate_writes_scores_and_truth(tmp_path: Path) -> None:
    out, truth = tmp_path / "s.parquet", tmp_path / "t.csv"
    ask = [
        "--tasks",
        "easy,hard",
        "--recipes",
        "4",
        "--params",
        "150M,1B",
        "--signal",
        "0.05,0.01",
        "--rng-seed",
        "3",
    ]
    result = done("simulate", *ask, "-o", str(out), "--truth", str(truth))
    assert "wrote 320 rows" in result.stderr
    assert "wrote 4 rows" in result.stderr
    scores, planted = sn.simulate(
        tasks=["easy", "hard"],
        recipes=4,
        params=[150_000_000, 1_000_000_000],
        signal=[0.05, 0.01],
        rng_seed=3,
    )
    assert pl.read_parquet(out).equals(scores)
    assert pl.read_csv(truth)["snr"].to_list() == planted["snr"].to_list()
    assert "no size" in failed(2, "simulate", "--params", "big")
    assert "no number" in failed(2, "simulate", "--signal", "much")
    assert "level" in failed(1, "simulate", "--level", "2")


def test_demo_shows_truth_beside_the_estimate() -> None:
    rows = json.loads(done("demo", "--json").stdout)
    best = rows[0]
    assert best["task"] == "sim_arc"
    assert best["snr"] > 10 < best["true_snr"]
    remarks = {row["task"]: row["remarks"] for row in rows}
    assert remarks["sim_mmlu"] == ["near_chance"]
    assert remarks["sim_boolq"] == ["constant"]
    lines = done("demo").stdout.splitlines()
    assert len(lines) < 24
    assert max(map(len, lines)) <= 80


# --- output ------------------------------------------------------------------------------------------


ODD = pl.DataFrame(
    {
        "task": ["=1+1", "a|b", "50%_$\\", "new\nline", None],
        "value": [1 / 3, float("nan"), float("inf"), -1.5e-12, None],
        "count": [123456789, 2, 3, 4, None],
        "flags": [["trend", "near_chance"], [], ["@x"], ["a"], None],
        "nested": [{"a": 1}, {"a": 2}, None, {"a": 4}, {"a": 5}],
        "good": [True, False, None, True, False],
    }
)


def test_json_keeps_all_digits_and_has_no_bare_nan(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write(ODD, path)
    rows = json.loads(path.read_text(), parse_constant=pytest.fail)
    assert [row["value"] for row in rows] == [1 / 3, None, None, -1.5e-12, None]
    assert rows[0]["flags"] == ["trend", "near_chance"]
    assert rows[3]["task"] == "new\nline"
    write(ODD.head(0), path)
    assert json.loads(path.read_text()) == []
    write(pl.DataFrame({"n": [1]}), path)
    assert json.loads(path.read_text()) == [{"n": 1}]


def test_csv_joins_lists_and_disarms_formulas(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    write(ODD.rename({"count": "+count"}), path)
    header, *rows = csv.reader(io.StringIO(path.read_text()))
    assert header[2] == "'+count"
    assert rows[0][:4] == ["'=1+1", repr(1 / 3), "123456789", "trend;near_chance"]
    assert [row[3] for row in rows[2:]] == ["'@x", "a", ""]
    assert rows[3][:2] == ["new\nline", "-1.5e-12"]  # a negative number is no formula


def test_parquet_is_the_frame(tmp_path: Path) -> None:
    write(ODD, tmp_path / "x.parquet")
    assert pl.read_parquet(tmp_path / "x.parquet").equals(ODD)


def test_markdown_escapes_pipes(tmp_path: Path) -> None:
    write(ODD.with_columns(signature=pl.lit("snr|v:1")), tmp_path / "x.md")
    lines = (tmp_path / "x.md").read_text().splitlines()
    assert lines[1].split(" | ")[1] == "---:"
    assert r"| a\|b | NaN | 2 |" in lines[3]
    assert r"50%_$\\" in lines[4]
    assert lines[-1] == "`snr|v:1`"
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines[:7]}) == 1


def test_latex_is_booktabs_and_escaped(tmp_path: Path) -> None:
    write(ODD.select("task", "value", "count").with_columns(signature=pl.lit("a|b")), tmp_path / "x.tex")
    text = (tmp_path / "x.tex").read_text()
    assert "% a|b" in text
    assert r"\begin{tabular}{lrr}" in text
    assert all(rule in text for rule in (r"\toprule", r"\midrule", r"\bottomrule"))
    assert r"50\%\_\$\textbackslash{} & inf & 3 \\" in text
    assert r"$-1.5 \times 10^{-12}$" in text
    assert "signature" not in text


@pytest.mark.parametrize("extension", ["csv", "json", "parquet", "md", "tex", "CSV"])
def test_every_extension_is_written_whole(extension: str, tmp_path: Path, scores: str) -> None:
    path = tmp_path / f"out.{extension}"
    path.write_text("before")
    path.chmod(0o640)
    result = done("snr", scores, "-o", str(path))
    assert not result.stdout
    assert result.stderr == f"wrote 6 rows to {path}\n"
    assert path.read_bytes() != b"before"
    assert path.stat().st_mode & 0o777 == 0o640
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("before")
    with pytest.raises(Exception, match=r"[Oo]bject"):
        write(pl.DataFrame({"a": [object()]}, schema={"a": pl.Object}), path)
    assert path.read_text() == "before"
    assert [p.name for p in tmp_path.iterdir()] == ["x.csv"]


def test_a_link_is_written_through(tmp_path: Path) -> None:
    (tmp_path / "real.csv").write_text("before")
    (tmp_path / "link.csv").symlink_to(tmp_path / "real.csv")
    write(pl.DataFrame({"n": [1]}), tmp_path / "link.csv")
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "real.csv").read_text() == "n\n1\n"


def test_output_paths_are_checked_before_the_work(tmp_path: Path) -> None:
    for path, said in (
        (tmp_path, "is a directory"),
        (tmp_path / "x.xlsx", ".csv, .json, .parquet, .md, .tex"),
        (tmp_path / "x", "no known extension"),
        (tmp_path / "none" / "x.csv", "does not exist"),
    ):
        assert said in failed(2, "snr", "no-such-source", "-o", str(path))


def test_json_and_file_together(tmp_path: Path, scores: str) -> None:
    result = done("snr", scores, "--json", "-o", str(tmp_path / "x.json"))
    assert (tmp_path / "x.json").read_text() == result.stdout


def test_four_significant_digits() -> None:
    values = [0.0, -0.0, 1 / 3, 12345.678, 1e-7, float("nan"), float("-inf")]
    assert [number(v) for v in values] == ["0", "0", "0.3333", "1.235e+04", "1e-07", "NaN", "-inf"]


def test_plain_cells_do_not_break_rows(tmp_path: Path) -> None:
    table = pl.DataFrame(
        {"run": ["r", "s"] * 4, "task": "evil\x1b[31m\nname", "step": [1, 1, 2, 2, 3, 3, 4, 4], "value": 0.5}
    )
    table.with_columns(metric=pl.lit("acc")).write_parquet(tmp_path / "x.parquet")
    text = done("scan", str(tmp_path / "x.parquet")).stdout
    assert "\x1b" not in text
    assert "evil [31m name" in text.splitlines()[1]


# --- as a process ------------------------------------------------------------------------------------


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from signoise._cli import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        "print([m for m in ('polars', 'numpy', 'rich', 'signoise._core') if m in sys.modules], file=sys.stderr)"
    )
    for arguments in (["--help"], ["snr", "--help"], ["simulate", "--help"], ["snr", "--window", "x"]):
        ran = subprocess.run(
            [sys.executable, "-c", code, *arguments], capture_output=True, text=True, env=PLAIN, check=True
        )
        assert ran.stderr.splitlines()[-1] == "[]", arguments


def test_version() -> None:
    assert process("--version").stdout == f"signoise {sn.__version__}\n"


def test_plain_text_when_not_a_terminal(scores: str) -> None:
    ran = process("snr", scores)
    assert ran.returncode == 0
    assert not re.search(r"[\x1b─│━┃]", ran.stdout)
    assert "signature: snr|" in ran.stdout
    assert not ran.stderr


def test_a_closed_pipe_is_no_error(scores: str, tmp_path: Path) -> None:
    table = pl.read_parquet(scores)
    pl.concat([table.with_columns(run=pl.col("run") + f"-{i}") for i in range(20)]).write_parquet(
        tmp_path / "long.parquet"
    )
    with subprocess.Popen(
        [sys.executable, "-m", "signoise", "average", str(tmp_path / "long.parquet")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=PLAIN,
    ) as ran:
        assert ran.stdout is not None
        assert ran.stderr is not None
        assert ran.stdout.readline().startswith(b"run ")
        ran.stdout.close()
        assert ran.stderr.read() == b""
    assert ran.returncode == 0


@pytest.mark.skipif(sys.platform == "win32", reason="a pseudo-terminal is needed")
class TestTerminal:
    def show(self, *args: str, columns: int = 100, **environment: str) -> str:
        import pty

        parent, child = pty.openpty()
        base = {k: v for k, v in PLAIN.items() if k != "NO_COLOR"}
        more = {"COLUMNS": str(columns), "LINES": "40", "TERM": "xterm-256color", **environment}
        ran = subprocess.Popen(
            [sys.executable, "-m", "signoise", *args], stdout=child, stderr=child, env={**base, **more}
        )
        os.close(child)
        parts = []
        while True:
            try:
                part = os.read(parent, 65536)
            except OSError:  # how Linux says that the other end is closed
                break
            if not part:
                break
            parts.append(part)
        os.close(parent)
        assert ran.wait() == 0
        return b"".join(parts).decode().replace("\r\n", "\n")

    def test_a_narrow_terminal_loses_columns_with_a_note(self, scores: str) -> None:
        text = self.show("snr", scores, columns=100)
        bare = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
        header = next(line for line in bare.splitlines() if line.startswith("task"))
        assert header.split()[:2] == ["task", "metric"]
        assert {"snr", "status", "flags"} <= set(header.split())
        assert "signal_low" not in header
        assert max(len(line) for line in bare.splitlines() if line.startswith("sim_")) <= 100
        assert re.search(r"\d+ more columns: -o file.csv or --json shows all", bare)
        assert bare.count("signature: snr|") == 1
        assert "\x1b[32mok" in text
        assert "\x1b[31mconstant" in text

    def test_a_wide_terminal_shows_all(self, scores: str) -> None:
        bare = self.show("snr", scores, columns=400, NO_COLOR="1")
        assert "signal_low" in bare
        assert "more columns" not in bare
        assert "\x1b[3" not in bare

    def test_columns_without_any_value_are_named(self, scores: str) -> None:
        bare = self.show("snr", scores, "--noise", "pooled", columns=400, NO_COLOR="1")
        assert "snr_low" not in bare.splitlines()[0]
        assert re.search(r"without any value: .*snr_low", bare)

    def test_many_rows_are_cut_with_a_note(self, scores: str) -> None:
        bare = self.show("average", scores, columns=200, NO_COLOR="1")
        assert "664 more rows: -o file.csv or --json shows all" in bare


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_ctrl_c_ends_a_process_with_a_message(tmp_path: Path) -> None:
    pipe = tmp_path / "never.csv"
    os.mkfifo(pipe)
    ran = subprocess.Popen(
        [sys.executable, "-m", "signoise", "scan", str(pipe)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=PLAIN,
    )
    # Opening the other end waits for the command to open its own: then it is inside the handlers. It reads until this
    # end is closed, because Polars has interrupted system calls resumed.
    with pipe.open("wb"):
        ran.send_signal(signal.SIGINT)
    _, message = ran.communicate(timeout=60)
    assert ran.returncode == 130
    assert message.decode().endswith("interrupted\n")


# --- dumps of harnesses


@pytest.fixture
def dump(tmp_path: Path) -> Path:
    """Two checkpoints as lm-eval writes them, results and samples; one line is cut."""
    for step in (1, 2):
        folder = tmp_path / f"dump/{step}"
        folder.mkdir(parents=True)
        config = {"model_args": {"pretrained": "org/m", "revision": f"step{step}"}}
        results = {
            "results": {"t": {"acc,none": 0.5, "f1,none": 0.75}},
            "versions": {"t": 1},
            "config": config,
        }
        (folder / "results.json").write_text(json.dumps(results | {"configs": {}, "n-shot": {"t": 0}}))
        rows = [{"doc_id": k, "doc": {}, "resps": [], "acc": k, "f1": 0.5 + k / 2} for k in range(2)]
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / "samples_t.jsonl").write_text(text + ('{"doc_id": 2, "doc"' if step == 2 else ""))
    return tmp_path / "dump"


@pytest.mark.parametrize("command", ["scan", "report", "average", "aggregate"])
def test_every_command_tells_of_instances_and_the_self_check(dump: Path, command: str) -> None:
    result = done(command, str(dump), "--json")
    assert "read 4 instance rows" in result.stderr
    assert "self-check: 4 of 4 task means equal the tool's own" in result.stderr
    if command in ("scan", "report"):  # their sentences count what was left out
        assert "dropped 1 row: " in result.stderr
    else:
        assert "warning: dropped 1 row: " in result.stderr
    assert "2/samples_t.jsonl, line 3" in failed(1, command, str(dump), "--strict")


def test_aggregate_chooses_metrics(dump: Path) -> None:
    table = json.loads(
        done("aggregate", str(dump), "--metrics", "f1", "--by", "step,metric", "--json").stdout
    )
    assert [(row["step"], row["metric"], row["n"], row["mean"]) for row in table] == [
        (1, "f1", 2, 0.75),
        (2, "f1", 2, 0.75),
    ]
    assert "no rows are left of metric vibes" in failed(1, "aggregate", str(dump), "--metrics", "vibes")


def test_result_rows_beside_instances_are_no_matter_of_strictness(dump: Path) -> None:
    (dump / "2/samples_t.jsonl").write_text((dump / "1/samples_t.jsonl").read_text())
    assert (
        "4 result rows beside instance rows were left out" in done("aggregate", str(dump), "--strict").stderr
    )


def test_format_is_a_name_that_is_known(dump: Path) -> None:
    assert "'vibes' is not one of auto" in failed(2, "scan", str(dump), "--format", "vibes")
    assert "files, while format='table' was asked for" in failed(1, "scan", str(dump), "--format", "table")
