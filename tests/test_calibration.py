"""The study of calibration: its exact cells are sums of SciPy's, some simulated ones cover, its command runs."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from bench_modules import bench_module

command = bench_module("calibrate")
study = bench_module("calibration.study")
proportions = bench_module("calibration.proportions")
hypotheses = bench_module("calibration.hypotheses")
page = bench_module("calibration.page")

SCIPYS = {"wilson": "wilson", "clopper_pearson": "exact"}


@pytest.mark.parametrize("method", ["wilson", "clopper_pearson", "jeffreys", "t"])
@pytest.mark.parametrize(("n", "p"), [(30, 0.05), (164, 0.5), (164, 0.95)])
def test_exact_coverage_is_the_sum_of_scipys(method: str, n: int, p: float) -> None:
    total = 0.0
    for k in range(n + 1):
        if method == "jeffreys":
            low, high = stats.beta.ppf([0.025, 0.975], k + 0.5, n - k + 0.5)
            low, high = (0.0 if k == 0 else low), (1.0 if k == n else high)
        elif method == "t":
            x = np.repeat([1.0, 0.0], [k, n - k])
            if x.std() == 0:
                continue
            low, high = x.mean() + stats.sem(x) * np.array(stats.t.ppf([0.025, 0.975], n - 1))
        else:
            low, high = stats.binomtest(k, n).proportion_ci(0.95, SCIPYS[method])
        total += stats.binom.pmf(k, n, p) * (low <= p <= high)
    assert proportions.coverage(n, p, method) == pytest.approx(total, abs=1e-9)


@pytest.mark.parametrize("method", ["wilson", "jeffreys"])
def test_average_coverage_is_the_integral_over_p(method: str) -> None:
    n, grid = 30, (np.arange(4000) + 0.5) / 4000
    low, high = proportions.limits(n, method)
    inside = (low <= grid[:, None]) & (grid[:, None] <= high)
    chance = stats.binom.pmf(np.arange(n + 1), n, grid[:, None])
    assert proportions.average_coverage(n, method) == pytest.approx(
        (chance * inside).sum(axis=1).mean(), abs=2e-4
    )


@pytest.mark.parametrize("n", [30, 164])
def test_clopper_pearson_covers_everywhere(n: int) -> None:
    assert proportions.least_coverage(n, "clopper_pearson") >= 0.95
    assert proportions.least_coverage(n, "wilson") < 0.9


def test_mcnemars_exact_rates_are_sums_over_binomials() -> None:
    n, discordant = 40, 0.3
    total = 0.0
    for m in range(n + 1):
        for b in range(m + 1):
            p = stats.binomtest(b, m).pvalue if m else 1.0
            total += stats.binom.pmf(m, n, discordant) * stats.binom.pmf(b, m, 0.5) * (p <= 0.05)
    assert hypotheses.mcnemar_rate(n, discordant, "exact") == pytest.approx(total, abs=1e-9)


@pytest.mark.parametrize(
    "name",
    [
        "means/t/normal/30",
        "means/paired/0.5/164",
        "clusters/equal/50",
        "labels/normal/0.8/164",
        "bootstrap/mean/normal/164",
        "sequences/asymptotic/0.5",
        "snr/8/5/0.0",
        "decisions/10/final/0.8",
        "variance/5x3",
        "power/paired/164",
        "tests/sign-flip/normal/30",
        "tests/labels/exponential",
        "tests/wilcoxon/10",
        "many/family/10",
    ],
)
def test_cells_inside_their_domain_are_about_right(name: str) -> None:
    (cell,) = (cell for cell in command.all_cells() if cell.name == name)
    rows = list(cell.run(study.Study(replications=300, seed=1)))
    assert rows
    for row in rows:
        assert row.inside
        assert row.replications == 300
        if row.bar is study.Bar.TEST:
            assert row.rate <= 0.05 + 4 * np.sqrt(0.05 * 0.95 / 300)
        elif row.bar is study.Bar.POWER:
            assert row.rate == pytest.approx(row.promise, abs=0.1)
        else:
            assert 0.95 - 4 * np.sqrt(0.95 * 0.05 / 300) <= row.rate <= 1.0


def test_few_clusters_miss_and_are_flagged() -> None:
    (cell,) = (cell for cell in command.all_cells() if cell.name == "clusters/lognormal/10")
    rows = {row.method: row for row in cell.run(study.Study(replications=300))}
    plain = rows["clustered mean, CR1, Student's t"]
    assert plain.rate < 0.92
    assert (plain.inside, plain.flags, plain.verdict) == (False, "few_clusters 100 %", "outside, not met")
    assert "no flag" in dataclasses.replace(plain, flags="").verdict


def test_names_of_cells_are_unique() -> None:
    names = [cell.name for cell in command.all_cells()]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("bar", "rate", "met"),
    [
        ("APPROXIMATE", 0.934, False),
        ("APPROXIMATE", 0.936, True),
        ("APPROXIMATE", 0.966, False),
        ("CONSERVATIVE", 0.944, True),
        ("CONSERVATIVE", 0.943, False),
        ("CONSERVATIVE", 1.0, True),
        ("TEST", 0.056, True),
        ("TEST", 0.057, False),
        ("NONE", 0.5, None),
    ],
)
def test_bars(bar: str, rate: float, met: bool | None) -> None:
    row = study.Row("s", "m", "e", "c", rate, study.Bar[bar], "d", inside=True, replications=10_000)
    assert row.met is met


def test_the_command_writes_the_same_page_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pages = [tmp_path / "a.md", tmp_path / "b.md"]
    for path in pages:
        path.write_text(f"# Title\n\n{page.BEGIN}\nold\n{page.END}\n\nend\n", encoding="utf-8")
        assert command.main(["--quick", "--only", "means/t/normal/30", "-o", str(path)]) == 0
    first, second = (path.read_text(encoding="utf-8") for path in pages)
    assert first == second
    assert first.startswith("# Title\n")
    assert first.endswith("\n\nend\n")
    assert "old" not in first
    assert "400 replications" in first
    assert "| mean, Student's t | normal, n = 30 | 0.9" in first
    # One cell's draws do not depend on which others run.
    assert command.main(["--quick", "--only", "means/[tz]/*30"]) == 0
    line = next(line for line in first.splitlines() if "normal, n = 30 |" in line)
    assert line in capsys.readouterr().out.splitlines()


def test_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--list", "--only", "mcnemar"]) == 0
    assert "tests/mcnemar/0.5/164" in capsys.readouterr().out.split()
    with pytest.raises(SystemExit, match="2"):
        command.main(["--only", "no such cell"])
    bare = tmp_path / "bare.md"
    bare.write_text("no markers", encoding="utf-8")
    with pytest.raises(SystemExit, match="lacks the markers"):
        page.replace(bare, "tables")
