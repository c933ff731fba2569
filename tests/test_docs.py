"""Every block of code in README and docs runs, page by page, on small files of the names that the pages use."""

from __future__ import annotations

import re
import shlex
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner

import signoise as sn
from signoise._cli import main

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
#: Sizes of the runs that are read as results: two scales of decisions, and a ladder below 7B.
SIZES = (150e6, 190e6, 370e6, 1e9, 7e9)


def blocks(page: Path) -> Iterator[tuple[int, str, str]]:
    """Line, language and text of the blocks of a page."""
    text = page.read_text()
    for found in _BLOCK.finditer(text):
        yield text[: found.start()].count("\n") + 1, found[1], found[2]


def commands(text: str) -> Iterator[list[str]]:
    """Arguments of the calls of signoise in a block of a shell."""
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if words[:1] == ["signoise"]:
            yield words[1:]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with everything that the pages name."""
    path = tmp_path_factory.mktemp("docs")
    for name in ("results", "runs"):
        (path / name).mkdir()
    shared = {"tasks": ["arc_challenge", "boolq"], "recipes": 6, "checkpoints": 6}
    metrics = {"acc": 0.0, "acc_norm": 0.1, "len_norm": 0.2, "bits_per_byte": 0.3, "bpb": 0.4, "soft": 0.5}
    parts = [
        sn.simulate(params=SIZES, metric=metric, rng_seed=seed, **shared)[0]  # type: ignore[arg-type]
        for seed, metric in enumerate(metrics)
    ]
    # Tasks get easier with compute, or no law could be fitted.
    gain = 0.04 * (pl.col("tokens").log10() - 11)
    easier = pl.col("value") + pl.when(metric="bits_per_byte").then(-gain).otherwise(gain)
    scores = pl.concat(parts).with_columns(easier)
    scores.write_parquet(path / "scores.parquet")
    scores.filter(pl.col("metric").is_in(["acc", "bits_per_byte"])).write_parquet(
        path / "results" / "a.parquet"
    )
    instances, _ = sn.simulate(params=(150e6, 1e9), instances=60, **shared)  # type: ignore[arg-type]
    both = [instances, instances.with_columns(metric=pl.lit("acc_norm"))]
    part = pl.when(task="boolq").then(pl.lit("yes"))
    pl.concat(both).with_columns(subtask=part).write_parquet(path / "runs" / "a.parquet")
    sn.ingest(instances, path / "store")
    right = np.random.default_rng(0).binomial(10, np.linspace(0.0, 1.0, 60))
    pl.DataFrame({"run": "m", "task": "code", "item": range(60), "n": 10, "c": right}).write_parquet(
        path / "samples.parquet"
    )
    subjects, _ = sn.simulate(
        tasks=[f"hendrycksTest-{i}" for i in range(6)], recipes=8, params=1e9, checkpoints=8
    )
    subjects.with_columns(suite=pl.lit("pythia-v1"), variant=pl.lit("main"), shots=pl.lit(0)).write_parquet(
        path / "pythia_evals.parquet"
    )
    rng = np.random.default_rng(0)
    rows = [
        {
            "arch": arch,
            "params": n,
            "tokens": ratio * n,
            "flops": 6 * ratio * n * n,
            "loss": (1.7 + 400 * n**-0.34 + better * (ratio * n) ** -0.28) * np.exp(rng.normal(0, 2e-3)),
        }
        for arch, better in (("a", 400.0), ("b", 380.0))
        for n in (1e8, 2e8, 4e8, 8e8, 1.6e9)
        for ratio in (10, 20, 40, 80)
    ]
    pl.DataFrame(rows).write_csv(path / "runs.csv")
    return path


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).with_suffix("").as_posix())
def test_every_block_runs(page: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    names: dict[str, object] = {}
    for line, language, text in blocks(page):
        where = f"{page.name}:{line}"
        if language == "python":
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", sn.SignoiseWarning)
                exec(compile("\n" * line + text, str(page), "exec"), names)
        elif language == "sh":
            for arguments in commands(text):
                ran = CliRunner().invoke(main, arguments)
                assert ran.exit_code == 0, f"{where}: signoise {' '.join(arguments)}\n{ran.output}"


def test_blocks_are_found() -> None:
    found = [language for page in PAGES for _, language, _ in blocks(page)]
    assert found.count("python") >= 8
    assert found.count("sh") >= 6
    line = (
        "signoise subtasks a.parquet --group m='t-*' \\\n  --where \"x = 'y'\"  # what it says\nmake test\n"
    )
    assert list(commands(line)) == [["subtasks", "a.parquet", "--group", "m=t-*", "--where", "x = 'y'"]]
