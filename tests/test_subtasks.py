"""The verbs `filter_subtasks` and `filtering_gain`: the definitions, published numbers, halves, undefined cases."""

from __future__ import annotations

import inspect
import json
import warnings
from itertools import combinations
from pathlib import Path
from typing import Any

import click
import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

import signoise as sn
from signoise import reference
from signoise._addresses import SUBTASK_HALVES, SUBTASK_ITEMS, group_addresses
from signoise._cli import main
from signoise._instance_cells import Cells
from signoise._interventions._halves import block
from signoise._interventions._items import halved
from signoise._interventions._selection import RULES
from signoise._interventions._union import Runs, Samples

MMLU57 = {"mmlu57": "hendrycksTest-*"}
OPTIONS = [
    {},
    {"noise": "mean_sd", "ddof": 0},
    {"relative": False},
]


def cube(seed: int = 0, runs: int = 8, checkpoints: int = 5, subtasks: int = 6) -> np.ndarray:
    """Scores (n_runs, n_checkpoints, n_subtasks) of good and bad subtasks."""
    rng = np.random.default_rng(seed)
    signal, noise = rng.uniform(0.005, 0.05, subtasks), rng.uniform(0.002, 0.03, subtasks)
    levels = 0.5 + signal * rng.normal(size=(runs, 1, subtasks)) + 0.02 * rng.normal(size=(runs, 1, 1))
    return levels + noise * rng.normal(size=(runs, checkpoints, subtasks))


def table(x: np.ndarray, **columns: Any) -> pl.DataFrame:
    runs, checkpoints, subtasks = np.indices(x.shape).reshape(3, -1)
    frame = pl.DataFrame(
        {
            "run": [f"r{i:02}" for i in runs],
            "step": 100 * (1 + checkpoints),
            "subtask": [f"s{i:02}" for i in subtasks],
            "value": x.ravel(),
        }
    )
    return frame.with_columns(pl.lit("suite").alias("task"), pl.lit("acc").alias("metric"), **columns)


def numbers(names: list[str] | pl.Series) -> list[int]:
    return [int(name[1:]) for name in names]


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("rule", ["snr", "greedy", "backward"])
def test_curves_are_those_of_the_plain_loop(rule: str, options: dict[str, Any]) -> None:
    for seed in range(4):
        x = cube(seed)
        found = sn.filter_subtasks(table(x), rules=rule, **options)
        order = reference.subtask_order(x, np.arange(6), rule, **options)
        assert numbers(found["subtask"]) == order
        expected = [reference.union_snr(x, np.arange(6), order[:k], **options) for k in range(1, 7)]
        np.testing.assert_allclose(found.select("signal", "noise", "snr").to_numpy(), expected, rtol=1e-11)
        alone = [reference.union_snr(x, np.arange(6), [one], **options)[2] for one in order]
        np.testing.assert_allclose(found["snr_alone"], alone, rtol=1e-11)
        assert found.filter("best")["snr"].to_list() == [found["snr"].max()]


def test_micro_weighs_by_instances() -> None:
    rng = np.random.default_rng(5)
    subtask = np.repeat(np.arange(4), [3, 10, 25, 6])
    x = 0.4 + 0.1 * rng.normal(size=(6, 1, 44)) + 0.05 * rng.normal(size=(6, 4, 44))
    means = np.stack([x[..., subtask == one].mean(axis=-1) for one in range(4)], axis=-1)
    counted = table(means).with_columns(
        n=pl.col("subtask").replace_strict({"s00": 3, "s01": 10, "s02": 25, "s03": 6})
    )
    runs, checkpoints, items = np.indices(x.shape).reshape(3, -1)
    rows = pl.DataFrame(
        {
            "run": [f"r{i:02}" for i in runs],
            "step": 100 * (1 + checkpoints),
            "subtask": [f"s{subtask[i]:02}" for i in items],
            "instance_id": [f"i{i}" for i in items],
            "value": x.ravel(),
        }
    ).with_columns(pl.lit("suite").alias("task"), pl.lit("acc").alias("metric"))
    for rule in RULES:
        order = reference.subtask_order(x, subtask, rule, how="micro")
        expected = [reference.union_snr(x, subtask, order[:k], how="micro")[2] for k in range(1, 5)]
        for frame in (counted, rows):
            found = sn.filter_subtasks(frame, rules=rule, how="micro")
            assert numbers(found["subtask"]) == order
            np.testing.assert_allclose(found["snr"], expected, rtol=1e-10)
    with pytest.raises(sn.SchemaError, match="neither n nor instance rows"):
        sn.filter_subtasks(table(means), how="micro")


def test_the_union_of_all_is_the_task_of_the_verb_snr() -> None:
    x = cube(3)
    tasks = table(x).with_columns(task=pl.col("subtask")).drop("subtask")
    expected = sn.snr(tasks, groups={"suite": "s*"}, noise="mean_sd")
    found = sn.filter_subtasks(tasks, groups={"suite": "s*"}, noise="mean_sd", rules="snr").tail(1)
    for name in ("mean", "signal", "noise", "snr"):
        assert found[name][0] == pytest.approx(expected[name][0], rel=1e-12)
    assert found["control"][0] == pytest.approx(expected["snr"][0], rel=1e-12)


def test_noise_of_other_runs_and_seeds_of_a_member() -> None:
    x = cube(4, runs=9)
    frame = table(x).with_columns(
        recipe=pl.col("run").replace_strict({f"r{i:02}": f"m{i // 2}" for i in range(9)})
    )
    options: dict[str, Any] = {"across": "recipe", "population": "run <= 'r05'", "noise_runs": "run > 'r05'"}
    found = sn.filter_subtasks(frame, rules="greedy", **options)
    for k in (1, 3, 6):
        chosen = found["subtask"].head(k).to_list()
        part = (
            frame.filter(pl.col("subtask").is_in(chosen)).with_columns(task=pl.col("subtask")).drop("subtask")
        )
        expected = sn.snr(part, groups={"u": chosen}, **options)
        assert found["snr"][k - 1] == pytest.approx(expected["snr"][0], rel=1e-12)
    assert found["n_runs"].unique().to_list() == [3]


def test_decision_accuracy_of_unions() -> None:
    small, target = cube(6), cube(6) + 0.01 * np.random.default_rng(7).normal(size=(8, 5, 6))
    both = pl.concat(
        [table(side).with_columns(params=pl.lit(size)) for side, size in ((small, 10), (target, 20))]
    )
    found = sn.filter_subtasks(both, small="params = 10", target="params = 20", match="run", rules="snr")
    alone = sn.filter_subtasks(table(target), rules="snr")
    assert found["subtask"].to_list() == alone["subtask"].to_list()  # chosen at the target
    np.testing.assert_allclose(found["snr"], alone["snr"], rtol=1e-12)
    order = numbers(found["subtask"])
    expected = [
        reference.union_agreement(small[:, -1], target[:, -1], np.arange(6), order[:k]) for k in range(1, 7)
    ]
    np.testing.assert_allclose(found["decision_accuracy"], expected, rtol=1e-12)
    merged = both.with_columns(task=pl.col("subtask")).drop("subtask")
    whole = sn.decision_accuracy(
        merged, small="params = 10", target="params = 20", match="run", groups={"suite": "s*"}
    )
    assert found["decision_accuracy"][-1] == whole["decision_accuracy"][0]
    assert found["decision_control"][-1] == whole["decision_accuracy"][0]
    assert found["n_members"].unique().to_list() == [8]
    lone = both.filter(~((pl.col("run") == "r03") & (pl.col("params") == 10) & (pl.col("subtask") == "s02")))
    with pytest.warns(sn.DroppedRowsWarning, match="1 members are not on both sides with all subtasks"):
        fewer = sn.filter_subtasks(lone, small="params = 10", target="params = 20", match="run", rules="snr")
    assert fewer["n_members"].unique().to_list() == [7]
    assert fewer["snr"].to_list() == found["snr"].to_list()
    with pytest.raises(sn.OptionError, match="both or neither"):
        sn.filter_subtasks(both, small="params = 10")


def test_decision_accuracy_of_a_metric_where_lower_is_better() -> None:
    x = cube(8)
    both = pl.concat(
        [
            table(side).with_columns(metric=pl.lit(metric))
            for side, metric in ((1 - x, "bits_per_byte"), (x, "acc"))
        ]
    )
    found = sn.filter_subtasks(
        both, small="metric = 'bits_per_byte'", target="metric = 'acc'", by="task", match="run", rules="snr"
    )
    assert found["decision_accuracy"].to_list() == [1.0] * 6


def test_published_selection(shared: Path, oracle: Any) -> None:
    main = "suite = 'pythia-v1' AND family = 'pythia' AND variant = 'main' AND metric = 'acc'"
    rows = pl.read_parquet(shared / "data" / "pythia_evals.parquet").filter(pl.sql_expr(main))
    for shots, expected in oracle("pythia_v1_mmlu_subtasks").items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", sn.DroppedRowsWarning)  # checkpoints without some subtasks
            found = sn.filter_subtasks(
                rows.filter(shots=int(shots)), groups=MMLU57, rules="snr", noise="mean_sd", ddof=0
            )
        assert found["subtask"].to_list() == expected["order"]
        for column in ("signal", "noise", "snr"):
            steps = [step[column] for step in expected["cumulative"]]
            np.testing.assert_allclose(found[column], steps, rtol=1e-9)
        alone = [expected["subtasks"][name]["snr"] for name in expected["order"]]
        np.testing.assert_allclose(found["snr_alone"], alone, rtol=1e-9)
        assert found.filter("best")["n_subtasks"].to_list() == [expected["best_k"]]


@given(st.integers(0, 10**6), st.floats(0.1, 10.0))
def test_orders_do_not_depend_on_units_or_rows(seed: int, scale: float) -> None:
    x = cube(seed, subtasks=5)
    found = sn.filter_subtasks(table(x))
    shuffled = sn.filter_subtasks(table(x).sample(fraction=1.0, shuffle=True, seed=seed))
    assert_frame_equal(found, shuffled, check_exact=True)
    scaled = sn.filter_subtasks(table(scale * x))
    np.testing.assert_allclose(scaled["snr"], found["snr"], rtol=1e-9)


def test_random_unions_are_reshuffled_and_addressed() -> None:
    x = cube(9, subtasks=7)
    first = sn.filter_subtasks(table(x), rules="snr", n_random=200)
    other = table(x).with_columns(task=pl.lit("another"))
    both = sn.filter_subtasks(pl.concat([table(x), other]), rules="snr", n_random=200)
    assert_frame_equal(both.filter(task="suite"), first, check_exact=True)
    assert both.filter(task="another")["control"][2] != first["control"][2]
    # All 35 unions of 3: their mean SNR within Monte Carlo error.
    every = [reference.union_snr(x, np.arange(7), union)[2] for union in combinations(range(7), 3)]
    assert abs(first["control"][2] - np.mean(every)) < 5 * np.std(every) / np.sqrt(200)
    assert first["control_low"][2] >= min(every) - 1e-9
    assert first["control_high"][2] <= max(every) + 1e-9
    again = sn.filter_subtasks(table(x), rules="snr", n_random=200, rng_seed=1)
    assert again["control"][2] != first["control"][2]


def halves_of(members: int, splits: int, unit: int) -> list[tuple[list[int], list[int]]]:
    """Both directions of each split, first halves first."""
    pairs = []
    words = reference.philox_uint64(0, SUBTASK_HALVES, 0, unit, splits * (members + 1))
    for own in words.reshape(splits, members + 1)[:, 1:]:
        order = np.argsort(own, kind="stable").tolist()
        size = members // 2
        pairs.append((order[:size], order[size : 2 * size]))
    return pairs + [(second, first) for first, second in pairs]


@pytest.mark.parametrize("options", OPTIONS)
def test_gains_are_those_of_the_plain_loop(options: dict[str, Any]) -> None:
    x = cube(10, runs=9)
    unit = int(group_addresses(pl.DataFrame({"task": ["suite"], "metric": ["acc"]}))[0])
    halves = halves_of(9, 6, unit)
    found = sn.filtering_gain(table(x), sizes=[2, 4], n_splits=6, **options)
    for rule in RULES:
        curve = sn.filter_subtasks(table(x), rules=rule, **options)
        for size in (None, 2, 4):
            gains = reference.subtask_gain(x, np.arange(6), halves, rule, size, **options)
            row = found.filter(rule=rule, size="best" if size is None else str(size), against="full").row(
                0, named=True
            )
            assert row["gain"] == pytest.approx(gains.mean(), rel=1e-10)
            one, two = gains.reshape(2, 6)
            sd = max(((one + two) / 2).std(ddof=1) * np.sqrt(7 / 6), np.sqrt(np.mean((one - two) ** 2)) / 2)
            t = reference.t_quantile(np.array([0.975]), np.array([8.0]))[0]
            assert row["high"] - row["low"] == pytest.approx(2 * t * sd, rel=1e-10)
            assert row["gain_factor"] == pytest.approx(np.exp(row["gain"]))
            chosen = curve.filter("best") if size is None else curve.filter(n_subtasks=size)
            in_sample = np.log(chosen["snr"][0] / curve["snr"][-1])
            assert row["gain_in_sample"] == pytest.approx(in_sample, rel=1e-10, abs=1e-12)
            assert row["optimism"] == pytest.approx(in_sample - row["gain"])
            assert row["n_subtasks_in_sample"] == chosen["n_subtasks"][0]
            assert (row["n_members"], row["n_halves"], row["n_subtasks_all"]) == (4, 12, 6)


def test_against_random_unions() -> None:
    x = cube(11, runs=12)
    found = sn.filtering_gain(table(x), rules="snr", sizes=6, n_splits=4).filter(size="6")
    # All of them against all of them, and against the only union of this size.
    assert found["gain"].to_list() == pytest.approx([0.0, 0.0], abs=1e-12)
    assert found["gain_in_sample"].to_list() == pytest.approx([0.0, 0.0], abs=1e-12)


def test_blocks_of_checkpoints_keep_their_distance() -> None:
    starts = np.array([0, 13, 23])
    for word in range(30):
        blocks = [block(starts, 2, half, word) for half in (0, 1)]
        for run, n in ((0, 13), (1, 10)):
            own = [set((keep[s[run] : s[run + 1]] - starts[run]).tolist()) for keep, s in blocks]
            assert [len(part) for part in own] == [(n - 4) // 2] * 2
            apart = min(min(abs(a - b), n - abs(a - b)) for a in own[0] for b in own[1])
            assert apart == 3


def test_noise_of_one_run_is_split_by_its_checkpoints() -> None:
    x = cube(12, runs=10, checkpoints=12)
    found = sn.filtering_gain(
        table(x), population="run < 'r09'", noise_runs="run = 'r09'", window=12, n_splits=5
    )
    assert found["status"].unique().to_list() == ["ok"]
    assert found["n_members"].unique().to_list() == [4]
    short = sn.filtering_gain(
        table(x), population="run < 'r09'", noise_runs="run = 'r09'", window=5, n_splits=5
    )
    assert short["status"].unique().to_list() == ["too_few"]
    assert short["gain"].null_count() == short.height
    with pytest.raises(sn.OptionError, match="only their checkpoints"):
        sn.filtering_gain(table(x), noise_runs="run = 'r09'", split_checkpoints=False)
    both = sn.filtering_gain(table(x), split_checkpoints=True, window=12, n_splits=5)
    assert both["status"].unique().to_list() == ["ok"]
    assert both["gain"][0] != sn.filtering_gain(table(x), window=12, n_splits=5)["gain"][0]


def item_rows(x: np.ndarray, items: int, seed: int = 0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    frame = table(x).with_columns(instance_id=pl.lit([f"i{i}" for i in range(items)])).explode("instance_id")
    return frame.with_columns(value=(pl.Series(rng.random(frame.height)) < pl.col("value")).cast(pl.Float64))


def test_instances_are_split_too() -> None:
    rows = item_rows(cube(13, runs=8, checkpoints=4, subtasks=4), 40)
    plain = sn.filtering_gain(rows, rules="snr", n_splits=4)
    split = sn.filtering_gain(rows, rules="snr", n_splits=4, split_instances=True)
    assert (plain["gain_in_sample"] - split["gain_in_sample"]).abs().max() == 0.0
    assert (plain["gain"] - split["gain"]).abs().min() > 0.0
    shuffled = rows.sample(fraction=1.0, shuffle=True, seed=1)
    assert_frame_equal(sn.filtering_gain(shuffled, rules="snr", n_splits=4, split_instances=True), split)
    with pytest.raises(
        sn.SchemaError, match="split_instances=True splits instances, and these scores have none"
    ):
        sn.filtering_gain(table(cube()), split_instances=True)
    tasks = rows.with_columns(task=pl.col("subtask")).drop("subtask")
    grouped = sn.filtering_gain(tasks, groups={"suite": "s*"}, rules="snr", n_splits=4, split_instances=True)
    np.testing.assert_allclose(grouped["gain_in_sample"], split["gain_in_sample"], rtol=1e-12)


def test_halves_of_instances() -> None:
    rng = np.random.default_rng(14)
    values, weights = rng.random((3, 11)), rng.random((3, 11))
    clusters = np.array([0, 3, 4, 8, 10])
    logs = np.array([False, False, True])
    found = halved(Cells(values, weights, clusters, logs), 4, 0, 77)
    cluster_of = np.searchsorted(clusters, np.arange(11), side="right") - 1
    for split, words in enumerate(reference.philox_uint64(0, SUBTASK_ITEMS, 0, 77, 20).reshape(4, 5)):
        first = np.isin(cluster_of, np.argsort(words)[:2])
        for half, mine in enumerate((first, ~first)):
            means = np.average(values[:, mine], weights=weights[:, mine], axis=1)
            np.testing.assert_allclose(found[split, half], np.where(logs, np.exp(means), means), rtol=1e-12)


def test_undefined_is_null_with_a_status() -> None:
    x = cube(15, subtasks=4)
    flat = x.copy()
    flat[:, :, 1] = np.round(256 * x[:, :1, 1]) / 256  # no noise, and means without rounding
    flat[:, :, 2] = 0.5  # neither noise nor signal
    found = sn.filter_subtasks(table(flat), rules="snr")
    assert found["subtask"].to_list()[2:] == ["s01", "s02"]
    assert found["snr_alone"].to_list()[2:] == [None, None]
    for rule in ("greedy", "backward"):
        assert reference.subtask_order(flat, np.arange(4), rule) == numbers(
            sn.filter_subtasks(table(flat), rules=rule)["subtask"]
        )
    only = sn.filter_subtasks(table(flat[:, :, 1:3]), rules="greedy")
    assert only["status"].to_list() == ["zero_noise", "zero_noise"]
    assert only["snr"].to_list() == [None, None]
    assert only["signal"][0] > 0
    one = sn.filter_subtasks(table(x[:1]), rules="snr")
    assert one["status"].unique().to_list() == ["too_few"]
    assert one.select("signal", "snr", "control").null_count().row(0) == (4, 4, 4)
    gains = sn.filtering_gain(table(x[:3]), rules="snr")
    assert gains["status"].unique().to_list() == ["too_few"]
    assert gains.select("gain", "low", "p_value", "optimism").null_count().row(0) == (gains.height,) * 4
    silent = sn.filtering_gain(table(np.repeat(x[:, :1], 5, axis=1)), rules="snr")
    assert silent["status"].unique().to_list() == ["not_finite"]
    with pytest.raises(sn.InsufficientDataError):
        sn.filter_subtasks(table(x[:1]), strict=True)


def test_incomplete_checkpoints_are_left_out_aloud() -> None:
    x = cube(16, checkpoints=6)
    rows = table(x)
    hole = (pl.col("run") == "r02") & (pl.col("step") == 300) & (pl.col("subtask") == "s01")
    with pytest.warns(sn.DroppedRowsWarning, match="1 checkpoints lack some of the 6 subtasks"):
        found = sn.filter_subtasks(rows.filter(~hole), rules="snr", window=6)
    assert found["n_checkpoints"].unique().to_list() == [5]
    assert found["flags"][0].to_list() == ["few_checkpoints"]
    merged = rows.filter(~hole).with_columns(task=pl.col("subtask")).drop("subtask")
    with pytest.warns(sn.DroppedRowsWarning):
        expected = sn.snr(merged, groups={"u": "s*"}, window=6)
    assert found["snr"][-1] == pytest.approx(expected["snr"][0], rel=1e-12)


def test_prediction_errors_of_unions() -> None:
    sizes = [1e8, 2e8, 4e8, 8e8, 1.6e9, 6.4e9]
    scores, _ = sn.simulate(tasks=5, recipes=1, params=sizes, checkpoints=6, rng_seed=3)
    scores = scores.with_columns(value=pl.col("value") + 0.05 * pl.col("tokens").log10() - 0.4)
    sides = {"ladder_train": "params < 5e9", "ladder_target": "params > 5e9"}
    plain = {
        "train": sides["ladder_train"],
        "target": sides["ladder_target"],
        "interval": "none",
        "n_resamples": 0,
    }
    options: dict[str, Any] = {"groups": {"suite": "task-*"}, "rules": "snr", "n_random": 3}
    found = sn.filter_subtasks(scores, **options, **sides)

    def error(tasks: list[str], rows: pl.DataFrame) -> float:
        whole = sn.prediction_error(rows, groups={"union": tasks}, **plain)
        return whole.filter(task="union")["prediction_error"].mean()  # type: ignore[return-value]

    chosen = found["subtask"].to_list()
    for k in (1, 3, 5):
        assert found["prediction_error"][k - 1] == pytest.approx(error(chosen[:k], scores), rel=1e-6)
    assert found["prediction_control"][-1] == pytest.approx(found["prediction_error"][-1], rel=1e-9)
    assert (found["prediction_control_low"] <= found["prediction_control_high"]).all()
    # The SNR is what it is without a ladder; a run that lacks a subtask is none of its rungs.
    assert found["snr"].equals(sn.filter_subtasks(scores, **options)["snr"])
    lacking = (pl.col("run") == scores["run"][0]) & (pl.col("task") == chosen[0])
    with pytest.warns(sn.DroppedRowsWarning, match="lack some of the 5 subtasks"):
        fewer = sn.filter_subtasks(scores.filter(~lacking), **options, **sides)
    rest = scores.filter(pl.col("run") != scores["run"][0])
    assert fewer["prediction_error"][-1] == pytest.approx(error(chosen, rest), rel=1e-6)
    few = sn.filter_subtasks(scores.filter(pl.col("params").is_in([10**8, 64 * 10**8])), **options, **sides)
    assert few["prediction_error"].null_count() == few.height
    with pytest.raises(sn.OptionError, match="both needed"):
        sn.filter_subtasks(scores, **options, ladder_train="params < 5e9")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rules": "best"}, "rules must be one of 'snr', 'greedy', 'backward'"),
        ({"rules": ()}, "rules must name"),
        ({"how": "mean"}, "how must be one of"),
        ({"noise": "pooled"}, "noise must be one of"),
        ({"by": ("task", "subtask")}, "by must not hold subtask"),
        ({"window": 1}, "window must be"),
    ],
)
def test_options_that_cannot_be_used(options: dict[str, Any], message: str) -> None:
    for verb in (sn.filter_subtasks, sn.filtering_gain):
        with pytest.raises(sn.OptionError, match=message):
            verb(table(cube()), **options)


def test_options_of_the_gain() -> None:
    with pytest.raises(sn.OptionError, match="at most the 6 subtasks"):
        sn.filtering_gain(table(cube()), sizes=7)
    with pytest.raises(sn.OptionError, match="n_splits"):
        sn.filtering_gain(table(cube()), n_splits=1)
    with pytest.raises(sn.SchemaError, match="no row has a subtask"):
        sn.filter_subtasks(table(cube()).drop("subtask"))


def test_large_batches_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    from signoise._interventions import _halves

    x = cube(17)
    whole = sn.filtering_gain(table(x), noise="mean_sd")
    monkeypatch.setattr(_halves, "_LARGEST", 1)
    np.testing.assert_allclose(
        sn.filtering_gain(table(x), noise="mean_sd")["gain"], whole["gain"], rtol=1e-12
    )


def test_twins_of_the_verbs() -> None:
    rows = table(cube(18))
    for name in ("filter_subtasks", "filtering_gain"):
        assert_frame_equal(getattr(reference, name)(rows), getattr(sn, name)(rows), rel_tol=1e-10)


def test_samples_of_one_run_with_too_few_checkpoints() -> None:
    values = np.arange(12.0).reshape(6, 2)
    runs = Runs.of(values, np.array([0, 1, 6]), 1)
    assert np.isnan(runs.covariance[0]).all()
    samples = runs.samples(
        np.zeros((2, 3, 2)), np.array([[True, True], [True, False]]), "mean_sd", relative=False
    )
    assert isinstance(samples, Samples)
    assert samples.shares.tolist()[0] == [0.0, 1.0]
    assert np.isnan(samples.shares[1]).all()


# --- the command


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["subtasks", *arguments])


@pytest.fixture
def saved(tmp_path: Path) -> str:
    both = pl.concat([table(cube(20)).with_columns(params=pl.lit(size)) for size in (10, 20)])
    both.write_parquet(tmp_path / "scores.parquet")
    return str(tmp_path / "scores.parquet")


def test_command_shows_gains_or_curves(saved: str, tmp_path: Path) -> None:
    sides = ["--small", "params = 10", "--target", "params = 20", "--match", "run"]
    rows = sn.scan_scores(saved)
    target: Any = {"population": "params = 20", "noise_runs": "params = 20"}
    gains = sn.filtering_gain(rows, sizes=[2], n_splits=4, rules="greedy", **target)
    shown = invoke(saved, *sides, "--sizes", "2", "--n-splits", "4", "--rules", "greedy", "--json")
    assert json.loads(shown.stdout) == gains.to_dicts()
    curves = sn.filter_subtasks(rows, small="params = 10", target="params = 20", match="run", rules="greedy")
    file = tmp_path / "curves.parquet"
    assert invoke(saved, *sides, "--rules", "greedy", "--curves", "-o", str(file)).exit_code == 0
    assert_frame_equal(pl.read_parquet(file), curves)
    assert "'8,x' holds something else than numbers" in invoke(saved, "--sizes", "8,x").stderr


def test_command_begins_with_gain_and_choice(saved: str) -> None:
    curves = sn.filter_subtasks(saved, where="params = 20", rules="snr")
    size = curves.filter("best")["n_subtasks"][0]
    first, second, *_ = invoke(saved, "--where", "params = 20", "--rules", "snr").stdout.splitlines()
    assert first.startswith("suite, acc: choosing by snr (about ")
    assert second == f"  {size} of 6 chosen by snr on all scores: {', '.join(curves['subtask'].head(size))}."
    few = invoke(saved, "--where", "params = 20 AND run < 'r03'", "--rules", "snr").stdout
    assert few.startswith("suite, acc: no gain by snr (too_few).")


def test_every_keyword_is_an_option() -> None:
    command = main.get_command(click.Context(main), "subtasks")
    assert command is not None
    known = {option.name for option in command.params}
    keywords = {
        name
        for verb in (sn.filter_subtasks, sn.filtering_gain)
        for name in list(inspect.signature(verb).parameters)[1:]
    }
    assert known - keywords == {"sources", "format", "output", "as_json", "quiet", "debug", "curves"}
    assert keywords <= known


def test_squares_that_overflow_are_undefined() -> None:
    rng = np.random.default_rng(0)
    rows = [
        (f"r{run}", "t", f"s{part}", "loss", step, 1e300 * (1 + rng.random()))
        for run in range(6)
        for step in range(8)
        for part in range(4)
    ]
    scores = pl.DataFrame(rows, schema=["run", "task", "subtask", "metric", "step", "value"], orient="row")
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        curve = sn.filter_subtasks(scores, rules="snr")
        gain = sn.filtering_gain(scores, rules="snr", sizes=2)
    assert curve["snr"].null_count() == curve.height
    assert gain["gain"].null_count() == gain.height
    assert set(curve["status"]) | set(gain["status"]) == {"not_finite"}
