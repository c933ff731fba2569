"""The trust boundary: what a store, a formula, a filter or a name may do that comes from somebody else."""

from __future__ import annotations

import ast
import contextlib
import csv
import gzip
import io
import json
import os
import re
import subprocess
import sys
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

import signoise as sn
from signoise import _core as core
from signoise._cli import main
from signoise._cli._output import write
from signoise._laws._formula import parse
from signoise._store._manifest import dumped

# --- stores ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def table() -> pl.DataFrame:
    frame, _ = sn.simulate(tasks=1, recipes=2, params=(1e8,), checkpoints=2, instances=20)
    return frame


@pytest.fixture
def store(table: pl.DataFrame, tmp_path: Path) -> Path:
    sn.ingest(table, tmp_path / "store")
    return tmp_path / "store"


def forge(store: Path, change: Callable[[Any], object]) -> None:
    """Another manifest, with a checksum that fits."""
    path = store / "manifest.json"
    manifest = json.loads(path.read_bytes())
    del manifest["crc32"]
    change(manifest)
    path.write_bytes(dumped(manifest))


def put(value: Any, *place: str | int) -> Callable[[Any], None]:
    """Sets an entry of a manifest."""

    def change(manifest: Any) -> None:
        for step in place[:-1]:
            manifest = manifest[step]
        manifest[place[-1]] = value

    return change


PART = ("units", 0, "parts", 0)
SCORES = (*PART, "slots", 0, "scores")
HUGE = 1 << 60


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (put("../../../etc/passwd", *PART, "file"), "is no file of the store"),
        (put("/etc/passwd", *PART, "file"), "is no file of the store"),
        (put("/etc/checkpoints-0000.arrow", "checkpoints", 0, "file"), "is no file of the store"),
        (put("units/0-a/../../part-0000.arrow", *PART, "file"), "is no file of the store"),
        (put("checkpoints-0000.arrow\n", "checkpoints", 0, "file"), "is no file of the store"),
        (put("units/..", "units", 0, "folder"), "is no folder of a unit"),
        (put("../out", "units", 0, "folder"), "is no folder of a unit"),
        (put("units/0-a/b", "units", 0, "folder"), "is no folder of a unit"),
        (put(HUGE, *PART, "rows"), "too few for"),
        (put(HUGE, *PART, "width"), "the unit has 20"),
        (put(0, *PART, "rows"), "has 0 rows"),
        (put(HUGE, "units", 0, "instances", 0, "rows"), "too few for"),
        (put([HUGE, 8], *SCORES, "values"), "lies at"),
        (put([-8, 8], *SCORES, "values"), "cannot be"),
        (put([0, True], *SCORES, "values"), "cannot be"),
        (put("object", *SCORES, "kind"), "cannot be 'object'"),
        (put(None, *PART, "slots", 0, "scores"), "has no scores"),
        (put([], *PART, "slots"), "has no slots"),
        (put(None, "units"), "'units' cannot be 'None'"),
        (put([3], "units"), "an entry without 'task'"),
        (put(["x"], "units", 0, "task"), "'task' cannot be"),
        (put([{"source": "x", "bytes": 1.5}], "sources"), "'bytes' cannot be '1.5'"),
    ],
)
def test_a_forged_manifest_is_refused(store: Path, change: Callable[[Any], None], said: str) -> None:
    forge(store, change)
    with pytest.raises(sn.StoreError, match=f"manifest.json is damaged: .*{said}"):
        sn.open_store(store)


def test_memory_is_laid_out_by_files_and_not_by_claims(store: Path) -> None:
    def claim(manifest: Any) -> None:
        manifest["units"][0]["instances"][0].update(bytes=HUGE, rows=HUGE)

    forge(store, claim)
    opened = sn.open_store(store)
    with pytest.raises(sn.StoreError, match=f"the manifest says {HUGE}"):
        opened.matrix(opened.tasks[0], "acc")
    with pytest.raises(sn.StoreError, match="damaged"):
        opened.scan().collect()


def test_an_ingest_follows_no_link_out_of_the_store(store: Path, table: pl.DataFrame, tmp_path: Path) -> None:
    unit = next((store / "units").iterdir())
    outside = tmp_path / "outside"
    unit.rename(outside)
    unit.symlink_to(outside)
    before = {path: path.read_bytes() for path in outside.iterdir()}
    with pytest.raises(sn.StoreError, match="is a link; nothing is written there"):
        sn.ingest(table.with_columns(run=pl.col("run") + "x"), store)
    assert {path: path.read_bytes() for path in outside.iterdir()} == before
    unit.unlink()
    outside.rename(unit)
    # Files that an ingest would write first: a link there is a leftover, and goes.
    victim = tmp_path / "victim"
    victim.write_text("mine")
    for name in (store / "manifest.json.tmp", unit / "part-0001.arrow.tmp"):
        name.symlink_to(victim)
    sn.ingest(table.with_columns(run=pl.col("run") + "x"), store)
    assert victim.read_text() == "mine"
    (store / ".lock").unlink()
    (store / ".lock").symlink_to(tmp_path / "new")
    with pytest.raises(sn.StoreError, match="is a link"):
        sn.ingest(table, store)
    assert not (tmp_path / "new").exists()


def test_no_member_of_an_archive_becomes_a_path(tmp_path: Path) -> None:
    path = tmp_path / "in" / "log.eval"
    path.parent.mkdir()
    names = ["../escape", "/tmp/signoise-escape", "..\\escape", "C:\\escape", "header.json"]
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, b"{}")
    found = [name for name, *_ in core.archive_names(str(path))]
    assert len(found) == len(names)
    assert core.archive_read(str(path), found, max_bytes=10) == [b"{}"] * len(names)
    with pytest.raises(sn.SignoiseError):
        sn.aggregate(path.parent)
    assert list(tmp_path.rglob("*")) == [path.parent, path]
    assert not Path("/tmp/signoise-escape").exists()


# --- formulas and filters --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("formula", "said"),
    [
        ("__import__('os').system('touch x')", "holds"),
        ("a.__class__ + b", "holds"),
        ("(lambda: a)() + b", "holds"),
        ("[a for a in b]", "holds"),
        ("exp(*a) + b", "holds"),
        ("a if b else x", "holds"),
        ("a + (b := x)", "holds"),
        ("eval('a') + b", "holds"),
        ("a\0 + b", "cannot be read"),
        ("(" * 3000 + "a", "cannot be read"),
        ("-" * 4000 + "a", "nested too deep|cannot be read"),
        ("+".join(["a", "b"] * 100), "nested too deep"),
        ("a" * 6000, "6000 characters"),
        ("9" * 400 + " * a * b", "too large"),
        ("(" * 8 + "a + b + x" + ")**4" * 8, "powers of powers"),
    ],
)
def test_a_formula_is_arithmetic_and_bounded(formula: str, said: str) -> None:
    with pytest.raises(sn.SignoiseError, match=said):
        parse(formula, ("x",), ("a", "b"), ("", ""))


WORDS = [*"ab x0123.()+-*/,'\"[]=:_\0", "exp(", "log(", "**", "e9"]


@given(st.lists(st.sampled_from(WORDS), max_size=40).map("".join))
def test_any_text_is_a_formula_or_an_error_of_ours(formula: str) -> None:
    with contextlib.suppress(sn.SignoiseError):
        parse(formula, ("x",), ("a", "b"), ("", ""))


def test_numbers_of_a_formula_may_overflow() -> None:
    for formula in ("10.0**5000 * a * b", "exp(1e308) * a + b", "1e308 * 1e308 * a * b", "1 / 0 * a + b"):
        assert parse(formula, ("x",), ("a", "b"), ("", "")).steps[0].size


@pytest.mark.parametrize(
    ("filters", "said"),
    [
        ("task IN (SELECT * FROM read_csv('/etc/passwd'))", "has a query inside"),
        ("read_csv('/etc/passwd')", "cannot read"),
        ("task = 'a'; DROP TABLE scores", "cannot read"),
        ("NOT " * 5000 + "true", "5000 operators"),
        ("task = 'a'" + " OR task = 'a'" * 20_000, "operators, and 300 are allowed"),
        ("task" + "||task" * 1000 + " = 'a'", "operators"),
        ("task" + "::text" * 1000 + " = 'a'", "operators"),
        ("task" + "[1]" * 1000, "operators"),
        ("(" * 1000 + "true" + ")" * 1000, "cannot read|operators"),
    ],
)
def test_a_filter_is_a_predicate_and_bounded(filters: str, said: str) -> None:
    with pytest.raises(sn.OptionError, match=said):
        sn.snr(sn.example_scores(), where=filters)


def test_a_long_list_of_names_is_a_filter() -> None:
    names = ", ".join(f"'a(b) OR c-{i}'" for i in range(2000))
    chosen = sn.snr(sn.example_scores(), where=f"task IN ('sim_arc', {names})")
    assert chosen["task"].unique().to_list() == ["sim_arc"]


# --- what the package never does --------------------------------------------------------------------------

#: Calls that run what they are given, and modules that may; with the one place that has one.
CALLS = {"eval", "exec", "compile", "__import__", "breakpoint", "os.system", "os.popen"}
MODULES = {"subprocess", "pickle", "marshal", "shelve", "yaml", "dill", "joblib"}
ALLOWED = {
    ("_html/_render.py", "subprocess"),
    # What this process and the workers that it started say to each other; nothing of it is read from a file.
    ("_readers/_elsewhere.py", "pickle"),
    ("engines/_ray.py", "pickle"),
    ("engines/_worker.py", "pickle"),
}
SUSPECT = re.compile("|".join(word.split(".")[-1] for word in CALLS | MODULES))


def suspicious(node: ast.AST) -> list[str]:
    """What a piece of a program calls or imports that could run what it is given."""
    match node:
        case ast.Call(func=ast.Name(id=name)) if name in CALLS:
            return [name]
        case ast.Call(func=ast.Attribute(value=ast.Name(id=module), attr=name)) if (
            f"{module}.{name}" in CALLS
        ):
            return [f"{module}.{name}"]
        case ast.Call(keywords=keywords) if {"shell", "allow_pickle"} & {keyword.arg for keyword in keywords}:
            return ["shell or pickle"]
        case ast.Import(names=names):
            return [alias.name for alias in names if alias.name in MODULES]
        case ast.ImportFrom(module=str(module)):
            return [module] if module in MODULES else []
    return []


def test_nothing_is_executed() -> None:
    package = Path(sn.__file__).parent
    found: set[tuple[str, str]] = set()
    for path in package.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        if SUSPECT.search(text):  # to parse all of the package takes seconds
            place = path.relative_to(package).as_posix()
            found |= {(place, name) for node in ast.walk(ast.parse(text)) for name in suspicious(node)}
    assert found == ALLOWED


# --- names on the way out ----------------------------------------------------------------------------------

EVIL = [
    "\x1b[31mred\x1b[0m",
    "\x1b]0;title\x07",
    "[bold red]x[/]",
    "[link=https://example.com]x[/link]",
    "a\u202eb",
    "a\rb",
    "=cmd|' /C calc'!A0",
    "\uff1dcmd()",
    "[x](javascript:alert(1))",
    "&lt;script&gt;",
    "\\input{/etc/passwd}",
]


@pytest.fixture(scope="module")
def hostile() -> pl.DataFrame:
    scores = sn.example_scores().filter(pl.col("task") == "sim_arc")
    return pl.concat([scores.with_columns(task=pl.lit(name)) for name in EVIL])


def test_no_name_steers_the_terminal(hostile: pl.DataFrame, tmp_path: Path) -> None:
    path = tmp_path / "scores.parquet"
    hostile.write_parquet(path)
    for words in (
        ["snr"],
        ["report"],
        ["snr", "--where", "task = '\x1b[31m'"],
        ["snr", "--direction", "\x1b[3=up"],
    ):
        done = CliRunner().invoke(main, [words[0], str(path), *words[1:]])
        assert "\x1b" not in done.output
        assert "\u202e" not in done.output
    shown = CliRunner().invoke(main, ["snr", str(path)]).output
    assert "[bold red]x[/]" in shown
    assert "[link=https://example.com]x[/link]" in shown


def test_progress_takes_no_markup() -> None:
    from signoise._cli._run import _plain

    assert _plain("reading [link=https://example.com]x[/link] ..").plain.startswith("reading [link=")


def test_documents_have_names_as_text(hostile: pl.DataFrame, tmp_path: Path) -> None:
    table = (
        hostile.group_by("task", maintain_order=True).agg(value=pl.col("value").mean()).with_columns(low=-1.5)
    )
    for end in ("md", "tex", "csv", "parquet"):
        write(table, tmp_path / f"x.{end}")
    lines = (tmp_path / "x.md").read_text().splitlines()
    assert len(lines) == 2 + len(EVIL)
    assert r"\[x\](javascript:alert(1))" in "".join(lines)
    assert r"\&lt;script\&gt;" in "".join(lines)
    assert r"\textbackslash{}input\{/etc/passwd\}" in (tmp_path / "x.tex").read_text()
    cells = list(csv.reader(io.StringIO((tmp_path / "x.csv").read_text(), newline="")))[1:]
    assert [row[0][0] for row in cells if row[0].lstrip("'")[0] in "=\uff1d"] == ["'", "'"]
    assert {row[2] for row in cells} == {"-1.5"}  # a number stays one
    assert pl.read_parquet(tmp_path / "x.parquet")["task"].to_list() == EVIL


def test_csv_that_we_wrote_is_read_again(tmp_path: Path) -> None:
    scores = sn.example_scores().with_columns(value=pl.col("value") - 0.5)
    named = pl.concat([scores, scores.with_columns(task=pl.lit("=1+1"))])
    write(named, tmp_path / "x.csv")
    again = sn.scan_scores(tmp_path / "x.csv").collect()
    assert again["value"].equals(named["value"])
    assert set(again["task"]) == {*scores["task"], "'=1+1"}  # the apostrophe stays


NAMES = [
    "<img src=x onerror=alert(1)>",
    "</script><script>alert(1)</script>",
    "\"'><svg/onload=alert(1)>",
    "javascript:alert(1)",
    "a\u2028b\u2029c\u202ed\u0000e",
    "datum.value');alert(1)//",
    "${alert(1)}{{alert(1)}}",
]
#: Properties of a chart in which Vega reads expressions.
EXPRESSIONS = {"expr", "filter", "calculate", "labelExpr", "test", "signal", "update"}


class Elements(HTMLParser):
    """Elements and attributes of a page."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.attributes: set[str] = set()
        self.feed(content)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes |= {name for name, _ in attrs}


def strings(chart: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Every text in a chart, with the nearest property that it stands in; data left out."""
    if isinstance(chart, str):
        yield key, chart
    elif isinstance(chart, list):
        for item in chart:
            yield from strings(item, key)
    elif isinstance(chart, dict):
        for name, item in chart.items():
            if name not in ("datasets", "values"):
                yield from strings(item, name)


def test_the_page_has_names_as_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[Any] = []

    class Recorder(contextlib.AbstractContextManager["Recorder"]):
        def __exit__(self, *_: object) -> None:
            pass

        def send(self, chart: Any) -> None:
            sent.append(chart)

        def finish(self) -> list[str]:
            return ["<svg width='1' height='1'></svg>"] * len(sent)

    monkeypatch.setattr("signoise._html.Renderer", Recorder)

    def page(names: list[str]) -> tuple[str, Elements]:
        sent.clear()
        scores, _ = sn.simulate(tasks=names, recipes=3, params=(1e8, 1e9), checkpoints=5)
        for column in ("recipe", "run"):
            own = scores[column].unique().sort().to_list()
            scores = scores.with_columns(
                pl.col(column).replace(own, [f"{names[0]}{i}" for i in range(len(own))])
            )
        path = tmp_path / "page.html"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", sn.SignoiseWarning)
            sn.report(scores, html=path)
        content = path.read_text(encoding="utf-8")
        return content, Elements(content)

    for names in (NAMES,):
        plain, hostile_page = page([f"n{i}" for i in range(len(names))]), page(names)
        assert hostile_page[1].tags == plain[1].tags
        assert hostile_page[1].attributes == plain[1].attributes
        assert not {
            name for name in hostile_page[1].attributes if name.startswith("on") or name in ("href", "src")
        }
        shown = re.sub(r'(?s)<script type="text/csv".*?</script>', "", hostile_page[0])
        assert not set("\u2028\u2029\u202e\0") & set(shown)
        assert sent
        for key, text in strings(sent):
            assert key not in ("url", "href"), text
            assert key not in EXPRESSIONS or not any(name in text for name in names), text


# --- large and deep ------------------------------------------------------------------------------------------

#: Reads the files of a folder with a limit on memory that none of them may reach.
LIMITED = """
import contextlib, resource, sys, warnings
import signoise as sn
sn.snr(sn.example_scores())
warnings.simplefilter("ignore")
used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with contextlib.suppress(sn.SignoiseError):
    sn.aggregate(sys.argv[1])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - used)
"""


def peak_of(path: Path) -> int:
    """Bytes that reading a path takes on top of what the package takes; it ends well."""
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(path)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-500:]
    return int(done.stdout) * 1024


def packed(path: Path, pieces: Iterator[bytes]) -> None:
    with gzip.open(path, "wb", compresslevel=1) as file:
        for piece in pieces:
            file.write(piece)


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss counts kB on Linux alone")
@pytest.mark.parametrize("kind", ["line", "array", "depth"])
def test_large_lines_are_left_out_in_bounded_memory(kind: str, tmp_path: Path) -> None:
    """300 MB unpacked out of 1 MB: a line may have 64 MB, and a document 256 MB, of which there are two copies."""
    blanks = b" " * (1 << 20)
    sound = b'{"doc_id": 0, "acc": 1}\n'
    pieces = {
        "line": (sound, b'{"doc_id": 1, "x": "', *[blanks] * 300, b'"}\n', sound),
        "array": (b"[", *[blanks] * 300, b"]"),
        "depth": (sound, *[b"[" * (1 << 20)] * 100, b"\n", sound),
    }[kind]
    packed(tmp_path / "samples_arc_2024-01-01T00-00-00.000000.jsonl.gz", iter(pieces))
    assert peak_of(tmp_path) < (640 if kind == "array" else 300) << 20
