"""Metrics of a task side by side: every number against the verb it comes from, differences against plain loops."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner
from polars.testing import assert_frame_equal
from scipy import stats

import signoise as sn
from signoise._cli import main
from signoise._errors import (
    InsufficientDataError,
    OptionError,
    SchemaError,
    SignoiseWarning,
    UnknownMetricError,
)
from signoise._interventions._metric_differences import (
    SignalRows,
    agreement,
    agreement_difference,
    snr_gain,
)

SMALL, TARGET = "params = 150000000", "params = 1000000000"


@pytest.fixture(scope="module")
def suite() -> pl.DataFrame:
    """Two tasks, three metrics, 9 recipes at two sizes; metrics of a task share no recipe effects."""
    kinds = [("acc", 0.02, 0), ("bits_per_byte", 0.003, 1), ("correct_prob", 0.01, 2)]
    return pl.concat(
        sn.simulate(
            tasks=["arc", "piqa"],
            recipes=9,
            metric=metric,
            step_noise=noise,
            seeds=2,
            rng_seed=seed,
            trend=0.01,
        )[0]
        for metric, noise, seed in kinds
    )


@pytest.fixture(scope="module")
def table(suite: pl.DataFrame) -> pl.DataFrame:
    return sn.compare_metrics(suite, small=SMALL, target=TARGET)


def one(table: pl.DataFrame, task: str, metric: str) -> dict[str, Any]:
    return table.row(by_predicate=(pl.col("task") == task) & (pl.col("metric") == metric), named=True)


def numbers(table: pl.DataFrame, name: str) -> list[float]:
    """A column with NaN for null."""
    return table[name].fill_null(math.nan).to_list()


def test_rows_and_columns(table: pl.DataFrame) -> None:
    assert table.select("task", "metric", "is_primary").rows() == [
        (task, metric, metric == "acc")
        for task in ("arc", "piqa")
        for metric in ("acc", "bits_per_byte", "correct_prob")
    ]
    assert table.columns == [
        *(
            "task",
            "metric",
            "is_primary",
            "n_runs",
            "n_checkpoints",
            "signal",
            "noise",
            "snr",
            "snr_absolute",
        ),
        *("n_members", "decision_accuracy", "low", "high", "decision_accuracy_same"),
        *("difference", "difference_low", "difference_high", "snr_gain", "snr_gain_low", "snr_gain_high"),
        *("best_in_sample", "status", "flags", "signature"),
    ]
    assert set(table["status"]) == {"ok"}
    own = table.filter("is_primary")
    for name in (
        "difference",
        "difference_low",
        "difference_high",
        "snr_gain",
        "snr_gain_low",
        "snr_gain_high",
    ):
        assert own[name].null_count() == own.height


def test_signal_noise_and_snr_are_those_of_snr(suite: pl.DataFrame, table: pl.DataFrame) -> None:
    for relative, name in ((True, "snr"), (False, "snr_absolute")):
        plain = sn.snr(suite, where=SMALL, across="recipe", relative=relative).sort("task", "metric")
        found = table.sort("task", "metric")
        assert found[name].equals(plain["snr"])
        assert found["n_runs"].equals(plain["n_runs"])
        if relative:
            assert found["signal"].equals(plain["signal"])
            assert found["noise"].equals(plain["noise"])


@pytest.mark.parametrize("score", ["final", "mean"])
def test_decisions_are_those_of_decision_accuracy(suite: pl.DataFrame, score: Any) -> None:
    found = sn.compare_metrics(suite, small=SMALL, target=TARGET, score=score)
    same = sn.decision_accuracy(suite, small=SMALL, target=TARGET, score=score)
    for metric in ("acc", "bits_per_byte", "correct_prob"):
        cross = sn.decision_accuracy(
            suite,
            small=f"{SMALL} AND metric = '{metric}'",
            target=f"{TARGET} AND metric = 'acc'",
            score=score,
        )
        mine = found.filter(pl.col("metric") == metric)
        for ours, theirs in (("decision_accuracy", "decision_accuracy"), ("low", "low"), ("high", "high")):
            assert mine[ours].to_list() == pytest.approx(cross[theirs].to_list(), rel=1e-12)
        assert mine["n_members"].equals(cross["n_members"])
        alone = same.filter(pl.col("metric") == metric)
        assert mine["decision_accuracy_same"].equals(alone["decision_accuracy"])


def share(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> float:
    """Decision accuracy as it is defined."""
    pairs = itertools.combinations(range(len(a)), 2)
    return float(np.mean([(1 + np.sign(a[i] - a[j]) * np.sign(b[i] - b[j])) / 2 for i, j in pairs]))


def final_scores(suite: pl.DataFrame, size: str, task: str, metric: str) -> np.ndarray[Any, Any]:
    rows = suite.filter(pl.sql_expr(size), pl.col("task") == task, pl.col("metric") == metric)
    last = rows.filter(pl.col("step") == pl.col("step").max().over("run"))
    scores = last.group_by("recipe").agg(pl.col("value").mean()).sort("recipe")["value"].to_numpy()
    return -scores if metric == "bits_per_byte" else scores


def test_the_difference_of_decisions_is_a_jackknife_over_recipes(
    suite: pl.DataFrame, table: pl.DataFrame
) -> None:
    target = final_scores(suite, TARGET, "arc", "acc")
    primary = final_scores(suite, SMALL, "arc", "acc")
    metric = final_scores(suite, SMALL, "arc", "bits_per_byte")
    difference = share(metric, target) - share(primary, target)
    without = []
    for k in range(9):
        left = np.delete(np.arange(9), k)
        without.append(share(metric[left], target[left]) - share(primary[left], target[left]))
    half = stats.t.ppf(0.975, 8) * math.sqrt(8 / 9 * np.sum((np.array(without) - np.mean(without)) ** 2))
    row = one(table, "arc", "bits_per_byte")
    assert row["difference"] == pytest.approx(difference, abs=1e-12)
    assert row["difference_low"] == pytest.approx(max(difference - half, -1), abs=1e-12)
    assert row["difference_high"] == pytest.approx(min(difference + half, 1), abs=1e-12)


def test_the_gain_is_a_jackknife_over_recipes(suite: pl.DataFrame, table: pl.DataFrame) -> None:
    def log_snr(rows: pl.DataFrame) -> float:
        window = rows.sort("step").group_by("recipe", "run").tail(5)
        runs = window.group_by("recipe", "run").agg(pl.col("value").mean(), v=pl.col("value").var())
        members = runs.group_by("recipe").agg(pl.col("value").mean())["value"].to_numpy()
        return math.log(np.ptp(members) / math.sqrt(runs["v"].mean()))  # type: ignore[arg-type]

    rows = {
        metric: suite.filter(pl.sql_expr(SMALL), pl.col("task") == "piqa", pl.col("metric") == metric)
        for metric in ("acc", "correct_prob")
    }

    def gain(without: str | None = None) -> float:
        parts = {name: part.filter(pl.col("recipe") != (without or "")) for name, part in rows.items()}
        return log_snr(parts["correct_prob"]) - log_snr(parts["acc"])

    each = np.array([gain(recipe) for recipe in rows["acc"]["recipe"].unique()])
    half = stats.t.ppf(0.975, 8) * math.sqrt(8 / 9 * np.sum((each - each.mean()) ** 2))
    row = one(table, "piqa", "correct_prob")
    assert row["snr_gain"] == pytest.approx(gain(), rel=1e-9)
    assert row["snr_gain_low"] == pytest.approx(gain() - half, rel=1e-9)
    assert row["snr_gain_high"] == pytest.approx(gain() + half, rel=1e-9)
    absolute = math.log(row["snr_absolute"] / one(table, "piqa", "acc")["snr_absolute"])
    assert row["snr_gain"] == pytest.approx(absolute, rel=1e-9)


def test_no_row_order_matters_and_the_twins_agree(suite: pl.DataFrame, table: pl.DataFrame) -> None:
    shuffled = suite.sample(fraction=1.0, shuffle=True, seed=3)
    assert sn.compare_metrics(shuffled, small=SMALL, target=TARGET, threads=2).equals(table)
    part = suite.filter(pl.col("task") == "arc")
    table = sn.compare_metrics(part, small=SMALL, target=TARGET)
    twins = sn.reference.compare_metrics(part, small=SMALL, target=TARGET)
    for name, dtype in table.schema.items():
        if dtype == pl.Float64:
            assert numbers(twins, name) == pytest.approx(numbers(table, name), rel=1e-9, nan_ok=True), name
        else:
            assert twins[name].equals(table[name])


def test_a_gain_has_neither_unit_nor_origin(suite: pl.DataFrame, table: pl.DataFrame) -> None:
    moved = suite.with_columns(
        pl.when(pl.col("metric") == "bits_per_byte")
        .then(3 * pl.col("value") + 7)
        .otherwise("value")
        .alias("value")
    )
    other = sn.compare_metrics(moved, small=SMALL, target=TARGET)
    for name in (
        "snr_gain",
        "snr_gain_low",
        "snr_gain_high",
        "snr_absolute",
        "difference",
        "decision_accuracy",
    ):
        assert numbers(other, name) == pytest.approx(numbers(table, name), rel=1e-9, nan_ok=True)


# --- intervals


def test_identical_decisions_leave_room_for_a_difference() -> None:
    scores = np.arange(6.0)[None, :]
    everyone = np.ones((1, 6), dtype=bool)
    same = agreement(scores, scores, everyone, "half", None)
    turned = agreement(-scores, scores, everyone, "half", None)
    room = 1 - 0.025 ** (1 / 3)
    for first, second, difference in ((same, same, 0.0), (turned, same, -1.0)):
        found = [float(part[0]) for part in agreement_difference(first, second, 0.95)]
        assert found[0] == difference
        assert found[1:] == pytest.approx([max(difference - room, -1), difference + room])


@pytest.mark.parametrize("members", [5, 8, 25])
def test_coverage_of_the_difference(members: int) -> None:
    rng = np.random.default_rng(members)
    with_target, between = (0.9, 0.7), 0.8
    corner = np.array([[1, between, 0.9], [between, 1, 0.7], [0.9, 0.7, 1]])
    x = np.einsum("ij,jrk->irk", np.linalg.cholesky(corner), rng.standard_normal((3, 1500, members)))
    everyone = np.ones((1500, members), dtype=bool)
    one, other = (agreement(x[k], x[2], everyone, "half", None) for k in (0, 1))
    _, low, high = agreement_difference(one, other, 0.95)
    truth = float(np.subtract(*np.arcsin(with_target))) / math.pi
    covered = np.mean((low <= truth) & (truth <= high))
    assert covered >= 0.955  # .97 to 1: conservative


@pytest.mark.parametrize("tails", ["normal", "t4"])
@pytest.mark.parametrize("members", [5, 12, 25])
def test_coverage_of_the_gain(members: int, tails: str) -> None:
    rng = np.random.default_rng(members)
    n, shape = 5, (2, 1500, members)
    z = rng.standard_normal(shape)
    wide = np.sqrt(2 / rng.chisquare(4, shape[1:])) if tails == "t4" else 1.0
    effects = np.stack([2 * z[0], 0.7 * z[0] + math.sqrt(0.51) * z[1]]) * wide
    noise = rng.standard_normal((*shape, n))
    noise[1] = 0.3 * noise[0] + math.sqrt(1 - 0.09) * noise[1]
    x = effects[..., None] + noise
    rows = [SignalRows(part.mean(-1), part.var(-1, ddof=1), np.ones(shape[1:])) for part in x]
    _, low, high = snr_gain(rows[0], rows[1], np.ones(shape[1:], dtype=bool), 0.95)
    truth = 0.5 * math.log((4 + 1 / n) / (1 + 1 / n))
    assert 0.90 <= np.mean((low <= truth) & (truth <= high)) <= 0.985


# --- which metric counts


def test_the_primary_metric(suite: pl.DataFrame) -> None:
    named = sn.compare_metrics(suite, primary="bits_per_byte")
    assert named.filter("is_primary")["metric"].to_list() == ["bits_per_byte"] * 2
    each = sn.compare_metrics(suite, primary={"arc": "correct_prob"})
    assert each.filter("is_primary")["metric"].to_list() == ["correct_prob", "acc"]
    some = sn.compare_metrics(suite, metrics="bits_per_byte")
    assert some.select("metric", "is_primary").rows() == [("acc", True), ("bits_per_byte", False)] * 2
    with pytest.raises(SchemaError, match="no scores of metric 'accs'; did you mean 'acc'"):
        sn.compare_metrics(suite, primary="accs")
    with pytest.raises(OptionError, match="which metric counts is not known"):
        sn.compare_metrics(suite.filter(pl.col("metric") != "acc"))


def test_a_task_without_the_primary_metric_is_flagged(suite: pl.DataFrame) -> None:
    part = suite.filter((pl.col("metric") != "acc") | (pl.col("task") == "arc"))
    table = sn.compare_metrics(part, small=SMALL, target=TARGET, primary="acc")
    row = one(table, "piqa", "bits_per_byte")
    assert "no_primary" in row["flags"]
    assert row["decision_accuracy"] is None
    assert row["snr_gain"] is None
    assert row["status"] == "too_few"
    assert row["snr"] is not None
    assert row["decision_accuracy_same"] is not None
    assert not table.filter(pl.col("task") == "piqa")["best_in_sample"].any()


def test_the_best_is_marked_as_of_these_data(table: pl.DataFrame, suite: pl.DataFrame) -> None:
    for task in ("arc", "piqa"):
        part = table.filter(pl.col("task") == task)
        assert part.filter("best_in_sample")["decision_accuracy"].max() == part["decision_accuracy"].max()
    alone = sn.compare_metrics(suite, small=SMALL)
    assert alone.filter("best_in_sample")["metric"].to_list() == ["bits_per_byte", "bits_per_byte"]


def test_members_that_one_metric_lacks(suite: pl.DataFrame) -> None:
    gone = (pl.col("metric") == "acc") & (pl.col("recipe") == "recipe-00") & pl.sql_expr(SMALL)
    part = suite.filter(~gone)
    row = one(sn.compare_metrics(part, small=SMALL, target=TARGET), "arc", "bits_per_byte")
    fewer = sn.compare_metrics(suite.filter(pl.col("recipe") != "recipe-00"), small=SMALL, target=TARGET)
    assert row["n_members"] == 9
    assert "unmatched" in row["flags"]
    for name in ("difference", "difference_low", "difference_high", "snr_gain", "snr_gain_low"):
        assert row[name] == pytest.approx(one(fewer, "arc", "bits_per_byte")[name], rel=1e-12)


def test_metrics_without_a_direction(suite: pl.DataFrame) -> None:
    strange = suite.with_columns(pl.col("metric").replace("correct_prob", "vibes"))
    with pytest.warns(SignoiseWarning, match="no known direction are left out: vibes"):
        table = sn.compare_metrics(strange, small=SMALL, target=TARGET)
    assert set(table["metric"]) == {"acc", "bits_per_byte"}
    with pytest.raises(UnknownMetricError):
        sn.compare_metrics(strange, metrics="vibes", small=SMALL, target=TARGET)
    declared = sn.compare_metrics(strange, small=SMALL, target=TARGET, direction={"vibes": "higher"})
    assert "vibes" in set(declared["metric"])


# --- undefined, and refused


def test_undefined_is_null(suite: pl.DataFrame) -> None:
    flat = suite.with_columns(
        pl.when(pl.col("metric") == "bits_per_byte").then(1.0).otherwise("value").alias("value")
    )
    row = one(sn.compare_metrics(flat, small=SMALL, target=TARGET), "arc", "bits_per_byte")
    assert (row["snr"], row["snr_gain"], row["snr_gain_low"]) == (None, None, None)
    assert row["status"] == "constant"
    assert row["decision_accuracy"] == 0.5
    alone = sn.compare_metrics(suite.filter(pl.col("recipe") == "recipe-00"), small=SMALL, target=TARGET)
    assert set(alone["status"]) == {"too_few"}
    assert alone["decision_accuracy"].null_count() == alone.height
    with pytest.raises(InsufficientDataError):
        sn.compare_metrics(flat, small=SMALL, target=TARGET, strict=True)


def test_options_that_contradict(suite: pl.DataFrame) -> None:
    with pytest.raises(OptionError, match="target needs small"):
        sn.compare_metrics(suite, target=TARGET)
    with pytest.raises(OptionError, match="both needed, or neither"):
        sn.compare_metrics(suite, ladder_train=SMALL)
    with pytest.raises(OptionError, match="small names the metric"):
        sn.compare_metrics(suite, small="metric = 'acc'")


def test_the_ladder(suite: pl.DataFrame) -> None:
    sizes = [1e8, 2e8, 4e8, 8e8, 1.6e9, 7e9]
    scores = pl.concat(
        sn.simulate(tasks=["arc"], metric=metric, params=sizes, recipes=1, step_noise=1e-4)[0]
        for metric in ("bits_per_byte", "acc")
    )
    table = sn.compare_metrics(scores, ladder_train="params < 7e9", ladder_target="params = 7e9")
    errors = sn.prediction_error(scores, train="params < 7e9", target="params = 7e9")
    for metric in ("acc", "bits_per_byte"):
        own = errors.filter(pl.col("metric") == metric)["prediction_error"].item()
        assert one(table, "arc", metric)["prediction_error"] == own
    assert "prediction_error" not in sn.compare_metrics(suite).columns


# --- dumps and the command


def choice_dump(folder: Path) -> None:
    """Samples of 12 runs whose log-likelihood of the right choice tells them apart better than their accuracy."""
    rng = np.random.default_rng(0)
    items = rng.normal(0, 1.5, 80)
    for run in range(12):
        for step in range(1, 6):
            lines = []
            for item, hard in enumerate(items):
                right = -4 + 0.15 * run - hard / 3 + rng.normal(0, 0.3)
                wrong = -3.5 + rng.normal(0, 0.5)
                lines.append(
                    {
                        "doc_id": item,
                        "doc": {},
                        "target": 0,
                        "arguments": [["Q", " right"], ["Q", " wrong"]],
                        "resps": [],
                        "filtered_resps": [[right, False], [wrong, False]],
                        "acc": float(right >= wrong),
                    }
                )
            path = folder / f"run{run}" / f"step{step}"
            path.mkdir(parents=True)
            (path / "samples_toy.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.mark.filterwarnings("ignore::signoise.SignoiseWarning")
def test_a_dump_has_the_metrics_of_its_choices(tmp_path: Path) -> None:
    choice_dump(tmp_path)
    table = sn.compare_metrics(tmp_path)
    assert {"acc", "bits_per_byte", "norm_correct_prob", "brier_score"} <= set(table["metric"])
    assert table.filter("is_primary")["metric"].item() == "acc_per_char"
    bits = one(table, "toy", "bits_per_byte")
    assert bits["snr_gain"] > 0
    assert (bits["n_runs"], bits["n_checkpoints"]) == (12, 5)
    plain = sn.snr(sn.choice_metrics(tmp_path, metrics="bits_per_byte"))
    assert bits["snr"] == pytest.approx(plain["snr"].item(), rel=1e-12)
    without = sn.compare_metrics(tmp_path, choices=False)
    assert without["metric"].to_list() == ["acc"]


@pytest.mark.filterwarnings("ignore::signoise.SignoiseWarning")
def test_a_store_is_compared_as_it_is(tmp_path: Path) -> None:
    choice_dump(tmp_path / "dump")
    rows = sn.choice_metrics(tmp_path / "dump", metrics=["acc_raw", "bits_per_byte"])
    rows.write_parquet(tmp_path / "rows.parquet")
    sn.ingest(tmp_path / "rows.parquet", tmp_path / "scores.store")
    assert_frame_equal(sn.compare_metrics(tmp_path / "scores.store"), sn.compare_metrics(rows), rel_tol=1e-9)


def test_the_command(tmp_path: Path, suite: pl.DataFrame) -> None:
    choice_dump(tmp_path / "dump")
    done = CliRunner().invoke(
        main,
        ["metrics", str(tmp_path / "dump"), "--metric", "bits_per_byte,acc", "--primary", "acc", "--json"],
    )
    assert done.exit_code == 0, done.output
    rows = json.loads(done.stdout)
    assert [(row["metric"], row["is_primary"]) for row in rows] == [("acc", True), ("bits_per_byte", False)]
    path = tmp_path / "scores.parquet"
    suite.write_parquet(path)
    arguments = ["metrics", str(path), "--small", SMALL, "--target", TARGET, "--primary", "arc=correct_prob"]
    done = CliRunner().invoke(main, [*arguments, "-o", str(tmp_path / "out.csv")])
    assert done.exit_code == 0, done.output
    written = pl.read_csv(tmp_path / "out.csv")
    assert written.filter(pl.col("is_primary"))["metric"].to_list() == ["correct_prob", "acc"]
