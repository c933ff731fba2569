"""The verb `variance`: planted components, the budget written out, undefined cases and the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import polars.selectors as cs
import pytest
from click.testing import CliRunner

import signoise as sn
from signoise._cli import main

SIZE = 150_000_000


def planted(**options: Any) -> pl.DataFrame:
    settings: dict[str, Any] = {
        "tasks": 12,
        "recipes": 12,
        "seeds": 3,
        "params": (SIZE,),
        "checkpoints": 10,
        "level": 0.5,
        "signal": 0.02,
        "seed_noise": 0.008,
        "step_noise": 0.01,
    }
    return sn.simulate(**(settings | options))[0]


@pytest.fixture(scope="module")
def items() -> pl.DataFrame:
    return planted(tasks=1, recipes=8, instances=150, step_noise=0.04, seed_noise=0.03, item_noise=0.2)


def test_planted_components_come_back() -> None:
    table = sn.variance(planted(), window=10)
    assert table["status"].unique().to_list() == ["ok"]
    assert table["n_runs"].unique().to_list() == [36]
    # means over 12 tasks: standard errors near 6, 3 and 12 percent
    assert table["variance_seed_unclipped"].mean() == pytest.approx(0.008**2, rel=0.25)
    assert table["variance_step"].mean() == pytest.approx(0.01**2, rel=0.1)
    assert table["variance_members"].mean() == pytest.approx(0.02**2, rel=0.5)
    inside = (table["variance_seed_low"] <= 0.008**2) & (table["variance_seed_high"] >= 0.008**2)
    assert inside.sum() >= 9
    shares = table.select(pl.sum_horizontal("share_members", "share_seed", "share_step")).to_series()
    np.testing.assert_allclose(shares, 1.0, rtol=1e-12)


def test_autocorrelated_checkpoints_are_no_seeds() -> None:
    scores = planted(seed_noise=0.0, autocorrelation=0.8, checkpoints=15)
    found = {rho: sn.variance(scores, window=15, autocorrelation=rho) for rho in ("pooled", 0.8, 0.0)}  # type: ignore[arg-type]
    seed = {rho: table["variance_seed_unclipped"].to_numpy().mean() for rho, table in found.items()}
    assert seed[0.0] == pytest.approx(4e-5, rel=0.3)  # runs wander, which looks like a seed
    assert abs(seed[0.8]) < 0.2 * seed[0.0]
    assert abs(seed["pooled"]) < 0.6 * seed[0.0]  # short runs do not show all of it
    assert found[0.8]["variance_step"].mean() == pytest.approx(1e-4, rel=0.1)
    assert "autocorrelated" in found["pooled"]["flags"][0]


def test_budget_written_out() -> None:
    table = sn.variance(planted(tasks=1), window=10, seeds=[1, 4], checkpoints=[1, 5], autocorrelation=0.3)
    assert table.select("seeds", "checkpoints").rows() == [(1, 1), (1, 5), (4, 1), (4, 5)]
    row = table.row(3, named=True)
    ones = 0.3 ** np.abs(np.subtract.outer(np.arange(5), np.arange(5)))
    worth = 25 / ones.sum()  # 1 / variance of the mean of 5 autocorrelated checkpoints
    error = (row["variance_seed"] + row["variance_step"] / worth) / 4
    assert row["stderr"] == pytest.approx(np.sqrt(error), rel=1e-12)
    assert row["mde"] == pytest.approx((1.959964 + 0.841621) * np.sqrt(2 * error), rel=1e-6)
    assert row["reliability"] == pytest.approx(row["variance_members"] / (row["variance_members"] + error))
    accuracy = 0.5 + np.arcsin(np.sqrt(row["reliability"])) / np.pi
    assert row["expected_accuracy"] == pytest.approx(accuracy)
    assert table["stderr"].is_sorted(descending=True) or table["stderr"][0] > table["stderr"][3]


def test_expected_accuracy_is_what_one_checkpoint_decides() -> None:
    scores = planted(tasks=30, recipes=20, seeds=2, signal=0.015)
    expected = sn.variance(scores, window=10)["expected_accuracy"].mean()
    first = scores.filter((pl.col("seed") == 0) & (pl.col("step") == pl.col("step").max()))
    again = scores.filter((pl.col("seed") == 1) & (pl.col("step") == pl.col("step").max()))
    both = first.join(again, on=["task", "recipe"], suffix="_again")
    # two single checkpoints of different seeds agree with probability 1/2 + asin(r)/pi
    agreements, reliabilities = [], sn.variance(scores, window=10)["reliability"].to_numpy()
    for _, task in both.group_by("task"):
        a, b = task["value"].to_numpy(), task["value_again"].to_numpy()
        i, j = np.triu_indices(len(a), 1)
        agreements.append(np.mean((a[i] > a[j]) == (b[i] > b[j])))
    assert np.mean(agreements) == pytest.approx(np.mean(0.5 + np.arcsin(reliabilities) / np.pi), abs=0.03)
    assert expected > np.mean(agreements)  # type: ignore[operator]


def test_components_of_instances(items: pl.DataFrame) -> None:
    row = sn.variance(items, window=10).row(0, named=True)
    assert row["n_items"] == row["items"] == 150
    # right or wrong items: mean p (1 - p) is .25 less the variances of p
    noise = 0.25 - 0.2**2 - 0.02**2 - 0.03**2 - 0.04**2
    assert row["variance_step_item"] == pytest.approx(noise, rel=0.03)
    assert row["variance_item"] == pytest.approx(0.04, rel=0.05)
    assert row["variance_seed_item"] == pytest.approx(0.0, abs=0.003)
    assert row["variance_step"] == pytest.approx(0.04**2 + noise / 150, rel=0.2)
    assert row["variance_generation"] is None
    new = row["stderr"] ** 2 + row["variance_item"] / 150
    assert row["stderr_new_items"] == pytest.approx(np.sqrt(new))


def test_fewer_instances_cost_what_they_cost(items: pl.DataFrame) -> None:
    table = sn.variance(items, window=10, items=[50, 150, 10**9])
    at_hand = sn.variance(items, window=10)["stderr"].item()
    assert table["stderr"][1] == pytest.approx(at_hand, rel=1e-9)
    # a third of the instances: what scores vary then, measured
    few = items.filter(pl.col("instance_id").is_in(items["instance_id"].unique().sort()[::3].implode()))
    measured = sn.variance(few, window=10).row(0, named=True)
    budget = table.row(0, named=True)
    assert budget["stderr"] == pytest.approx(measured["stderr"], rel=0.15)
    assert table["stderr"][2] > 0.03  # seeds and steps stay


def test_generations_of_an_instance() -> None:
    rng = np.random.default_rng(0)
    rows = [
        {
            "run": f"m{m}",
            "step": s,
            "task": "t",
            "metric": "acc",
            "instance_id": str(i),
            "repeat": k,
            "value": v,
        }
        for m in range(3)
        for s in range(4)
        for i in range(60)
        for k, v in enumerate((rng.random(5) < (0.2 + 0.6 * (i % 2))).astype(float))
    ]
    row = sn.variance(pl.DataFrame(rows)).row(0, named=True)
    assert row["variance_generation"] == pytest.approx(0.16, rel=0.05)
    assert row["variance_step_item"] == pytest.approx(0.16 / 5, rel=0.15)
    assert row["variance_item"] == pytest.approx(0.09, rel=0.1)
    assert row["flags"] == ["few_checkpoints", "few_members", "no_seeds"]


def test_row_order_and_instances_beside_results_do_not_matter(items: pl.DataFrame) -> None:
    first = sn.variance(items, items=100)
    assert first.equals(sn.variance(items.sample(fraction=1.0, shuffle=True, seed=1), items=100))
    without = sn.variance(items, instances=False)
    np.testing.assert_array_equal(without["variance_seed"], first["variance_seed"])
    assert without["n_items"].item() is None
    assert sn.variance(items, instances=False, items=100)["stderr"].item() is None


@pytest.mark.slow
def test_the_twins_give_the_same_answer() -> None:
    scores = planted(tasks=2, instances=40, autocorrelation=0.4)
    found, expected = sn.variance(scores, items=30), sn.reference.variance(scores, items=30)
    assert found.select(pl.col(pl.String)).equals(expected.select(pl.col(pl.String)))
    for name in found.select(cs.numeric()).columns:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-8, atol=1e-12, err_msg=name)


def test_sizes_are_no_seeds() -> None:
    scores = sn.simulate(tasks=1, recipes=6, seeds=1, params=(SIZE, 10 * SIZE), signal=0.01)[0]
    row = sn.variance(scores).row(0, named=True)
    assert row["variance_seed"] is None
    assert "no_seeds" in row["flags"]
    assert row["n_members"] == 12
    assert row["stderr"] == pytest.approx(np.sqrt(row["variance_step"]))


@pytest.mark.slow
def test_other_keys(items: pl.DataFrame) -> None:
    two = pl.concat([items, items.with_columns(pl.lit("task-01").alias("task"))])
    expected = sn.variance(items, items=50).select("variance_seed", "variance_step_item", "stderr")
    keyed = sn.variance(two, by=("params", "task", "metric"), items=50)
    assert keyed.height == 2
    for row in range(2):
        assert keyed.select(expected.columns)[row].equals(expected)
    assert sn.variance(items, by=(), items=50).select(expected.columns).equals(expected)
    merged = sn.variance(two, groups={"both": "task-*"})
    assert merged["n_items"].item() is None  # a mean of tasks is no mean of instances
    assert merged["stderr"].item() == pytest.approx(sn.variance(items)["stderr"].item())
    single = sn.variance(two, by=("task", "metric", "step"), where="step >= 9000")
    assert single.height == 4
    assert single["status"].unique().to_list() == ["too_few"]


def test_undefined_groups() -> None:
    single = pl.DataFrame(
        {"run": ["a", "b"], "seed": [0, 0], "step": [1, 1], "task": "t", "metric": "acc", "value": [0.1, 0.3]}
    )
    row = sn.variance(single).row(0, named=True)
    assert (row["status"], row["stderr"], row["variance_step"], row["mean"]) == ("too_few", None, None, 0.2)
    with pytest.raises(sn.InsufficientDataError):
        sn.variance(single, strict=True)
    flat = pl.DataFrame(
        {"run": ["a"] * 3, "step": [1, 2, 3], "task": "t", "metric": "acc", "value": [0.5] * 3}
    )
    assert sn.variance(flat)["status"].item() == "zero_noise"
    seeds = pl.DataFrame(
        {"run": "a", "seed": [0, 1, 2], "step": 1, "task": "t", "metric": "acc", "value": [0.1, 0.2, 0.3]}
    )
    row = sn.variance(seeds).row(0, named=True)
    assert row["status"] == "too_few"
    assert row["variance_runs"] == pytest.approx(0.01)


@pytest.mark.slow
@pytest.mark.parametrize("goal", [{"accuracy": 0.6}, {"mde": 0.15}])
def test_needs_reach_the_goal_and_one_less_does_not(items: pl.DataFrame, goal: dict[str, float]) -> None:
    budget = {"seeds": 2, "checkpoints": 3, "items": 150}
    row = sn.variance(items, window=10, **budget, **goal).row(0, named=True)
    at_hand = sn.variance(items, window=10, seeds=2, checkpoints=3, **goal).row(0, named=True)
    needs = {name: row[f"need_{name}"] for name in budget}
    assert all(needs.values())
    assert {name: at_hand[f"need_{name}"] for name in budget} == needs
    assert row["unreachable"] == []

    def reached(**instead: int) -> bool:
        found = sn.variance(items, window=10, **(budget | instead)).row(0, named=True)
        return (
            found["mde"] <= goal["mde"] if "mde" in goal else found["expected_accuracy"] >= goal["accuracy"]
        )

    for name, need in needs.items():
        assert reached(**{name: need})
        least = 2 if name == "items" else 1
        assert need == least or not reached(**{name: need - 1})


def test_needs_written_out() -> None:
    row = sn.variance(planted(tasks=1), window=10, autocorrelation=0.0, mde=0.01).row(0, named=True)
    allowed = (0.01 / (1.959964 + 0.841621)) ** 2 / 2
    seed, step = row["variance_seed"], row["variance_step"]
    assert row["need_seeds"] == np.ceil((seed + step) / allowed)
    # with one seed no number of checkpoints makes up for the others
    assert seed > allowed
    assert (row["need_checkpoints"], row["unreachable"]) == (None, ["checkpoints"])
    assert row["need_items"] is None  # without instances, which is no verdict
    more = sn.variance(planted(tasks=1), window=10, autocorrelation=0.0, mde=0.01, seeds=20)
    assert more["need_checkpoints"].item() == np.ceil(step / (20 * allowed - seed))
    accurate = sn.variance(planted(tasks=1), window=10, autocorrelation=0.0).row(0, named=True)
    share = np.sin(0.45 * np.pi) ** 2
    error = accurate["variance_members"] * (1 - share) / share
    assert accurate["need_seeds"] == np.ceil((seed + step) / error)


def test_needs_that_cannot_be_told() -> None:
    scores = planted(tasks=1, seeds=1)
    row = sn.variance(scores, window=10).row(0, named=True)
    assert (row["need_seeds"], row["unreachable"]) == (None, [])  # seeds are unknown
    assert row["need_checkpoints"] > 1
    alone = sn.variance(scores.filter(pl.col("run") == scores["run"][0]), window=10).row(0, named=True)
    assert (alone["need_checkpoints"], alone["unreachable"]) == (None, [])
    told = sn.variance(scores.filter(pl.col("run") == scores["run"][0]), window=10, mde=0.5).row(
        0, named=True
    )
    assert told["need_checkpoints"] == 1
    same = sn.variance(planted(signal=0.0, seed_noise=0.03), window=10).filter(
        pl.col("variance_members") == 0
    )
    assert same.height > 1  # no true difference: nothing tells these apart
    assert same["unreachable"].to_list() == [["seeds", "checkpoints"]] * same.height
    tiny = sn.variance(planted(tasks=1), window=10, mde=1e-6).row(0, named=True)
    assert tiny["unreachable"] == ["seeds", "checkpoints"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seeds": 0}, "seeds must be a whole number"),
        ({"checkpoints": []}, "checkpoints is an empty list"),
        ({"items": [10, 2.5]}, "items must be a whole number"),
        ({"power": 1.0}, "power must be a fraction"),
        ({"accuracy": 0.5}, "accuracy must be between 0.5"),
        ({"mde": 0.0}, "mde must be a positive difference"),
        ({"noise": "pooled"}, "noise must be one of"),
        ({"autocorrelation": 2.0}, "autocorrelation must be"),
    ],
)
def test_wrong_options_are_told(options: dict[str, Any], message: str) -> None:
    with pytest.raises(sn.OptionError, match=message):
        sn.variance(sn.example_scores(), **options)


def test_command_line(tmp_path: Path) -> None:
    path = tmp_path / "scores.parquet"
    planted(tasks=2).write_parquet(path)
    done = CliRunner().invoke(main, ["variance", str(path), "--seeds", "1,3", "--json"])
    assert done.exit_code == 0, done.output
    rows = json.loads(done.stdout)
    assert [row["seeds"] for row in rows] == [1, 3, 1, 3]
    assert rows[0]["stderr"] == pytest.approx(sn.variance(str(path))["stderr"][0])
    assert "task-00 acc: telling two members apart with 0.95 probability takes" in done.stderr
    assert "no number of checkpoints alone is enough" in done.stderr
    assert "(the others as now: 3 seeds, 1 checkpoint)" in done.stderr
    goal = CliRunner().invoke(main, ["variance", str(path), "--mde", "0.5", "--json"])
    assert (
        "detecting a difference of 0.5 with power 0.8 takes 1 seed or 1 checkpoint; how many items"
        in goal.stderr
    )
