"""Planted truth must come back: estimated with plain NumPy, each quantity is within 4 standard errors."""

from __future__ import annotations

import itertools
import math

import numpy as np
import polars as pl
import pytest

from signoise._errors import OptionError
from signoise._examples import example_scores
from signoise._simulate import simulate

SMALL, TARGET = 150_000_000, 1_000_000_000
QUIET = {"signal": 0.0, "step_noise": 0.0, "size_gain": 0.0}


def cube(scores: pl.DataFrame, params: int = TARGET, task: str | None = None) -> np.ndarray:
    """Values of one size (n_runs, n_checkpoints), runs in order of their names."""
    task = task or scores["task"][0]
    rows = scores.filter(pl.col("task") == task, params=params).sort("run", "step")
    return rows["value"].to_numpy().reshape(rows["run"].n_unique(), -1)


def only(truth: pl.DataFrame, params: int = TARGET) -> dict[str, float]:
    return truth.filter(params=params).row(0, named=True)


def agreement(small: np.ndarray, target: np.ndarray) -> float:
    """Decision accuracy by its definition, ties one half."""
    pairs = itertools.combinations(range(len(small)), 2)
    return float(
        np.mean([(1 + np.sign(small[i] - small[j]) * np.sign(target[i] - target[j])) / 2 for i, j in pairs])
    )


def close(found: float, expected: float, stderr: float) -> bool:
    return abs(found - expected) < 4 * stderr


# The table


def test_columns_dtypes_and_rows() -> None:
    scores, truth = simulate(tasks=3, recipes=4, seeds=2, checkpoints=5)
    assert scores.schema == {
        "run": pl.String,
        "step": pl.Int64,
        "tokens": pl.Float64,
        "params": pl.Int64,
        "recipe": pl.String,
        "seed": pl.Int64,
        "task": pl.String,
        "metric": pl.String,
        "value": pl.Float64,
    }
    assert scores.height == 3 * 4 * 2 * 2 * 5
    assert not scores.select("task", "metric", "run", "step").is_duplicated().any()
    assert scores["run"].unique().sort()[0] == "recipe-00-150M-seed0"
    assert truth.height == 3 * 2
    assert truth.select("task", "metric", "params").rows() == sorted(
        truth.select("task", "metric", "params").rows()
    )


@pytest.mark.parametrize("shuffled", [["b", "a", "c"], ["c", "b", "a"]])
def test_canonical_order_whatever_the_order_of_the_names(shuffled: list[str]) -> None:
    scores, _ = simulate(tasks=shuffled, recipes=shuffled, params=[1e9, 150e6], seeds=11, checkpoints=3)
    assert scores.equals(scores.sort("task", "metric", "run", "step"))
    assert scores.equals(simulate(tasks=["a", "b", "c"], recipes=["a", "b", "c"], seeds=11, checkpoints=3)[0])


def test_steps_and_tokens() -> None:
    scores, _ = simulate(tasks=1, recipes=1, checkpoints=4, step_size=500, tokens_per_param=20)
    run = scores.filter(params=TARGET)
    assert run["step"].to_list() == [500, 1000, 1500, 2000]
    assert run["tokens"].to_list() == [5e9, 10e9, 15e9, 20e9]


@pytest.mark.parametrize(
    ("params", "name"),
    [
        (150e6, "150M"),
        (1_400_000_000, "1.4B"),
        (70e9, "70B"),
        (14_400, "14.4K"),
        (1_234_567_891, "1234567891"),
    ],
)
def test_size_names_lose_nothing(params: float, name: str) -> None:
    scores, _ = simulate(tasks=1, recipes=1, params=params, checkpoints=1)
    assert scores["run"][0] == f"recipe-00-{name}-seed0"
    assert scores["params"][0] == params


def test_paper_shape() -> None:
    sizes = [m * 1e6 for m in (4, 20, 60, 90, 150, 300, 530, 750, 1000)]
    scores, truth = simulate(tasks=24, recipes=25, params=sizes, checkpoints=72)
    assert scores.height == 388_800
    assert truth["n_clipped"].sum() == 0


# Addresses


def test_additions_move_nothing() -> None:
    base = {
        "tasks": 2,
        "recipes": 3,
        "checkpoints": 6,
        "seeds": 1,
        "seed_noise": 0.01,
        "autocorrelation": 0.4,
    }
    scores, _ = simulate(**base)
    more = {
        "tasks": 4,
        "recipes": 7,
        "seeds": 3,
        "checkpoints": 9,
        "params": [60e6, SMALL, TARGET, 7e9],
    }
    for name, value in more.items():
        bigger, _ = simulate(**{**base, name: value})
        both = scores.join(bigger, on=["run", "step", "task", "metric"], suffix="_bigger")
        assert both.height == scores.height, name
        assert (both["value"] == both["value_bigger"]).all(), name


def test_additions_move_no_instance() -> None:
    base = {"tasks": 2, "recipes": 3, "checkpoints": 3, "instances": 10, "metric": ["acc", "loss"]}
    scores, _ = simulate(**base)
    key = ["run", "step", "task", "instance_id"]
    for change in ({"recipes": 5}, {"checkpoints": 5}, {"tasks": 3, "metric": ["acc", "loss", "acc"]}):
        both = scores.join(simulate(**{**base, **change})[0], on=key, suffix="_bigger")
        assert both.height == scores.height
        assert (both["value"] == both["value_bigger"]).all()


def test_rng_seed_chooses_the_draws() -> None:
    first, _ = simulate(tasks=1, recipes=2)
    assert first.equals(simulate(tasks=1, recipes=2, rng_seed=0)[0])
    assert not (first["value"] == simulate(tasks=1, recipes=2, rng_seed=1)[0]["value"]).any()


def test_streams_are_unrelated() -> None:
    scores, _ = simulate(
        tasks=40, recipes=40, params=TARGET, checkpoints=5, **{**QUIET, "step_noise": 0.01}, level=0.5
    )
    runs = scores["value"].to_numpy().reshape(1600, 5)
    correlation = np.corrcoef(runs)[np.triu_indices(1600, 1)]
    assert len(np.unique(runs)) == runs.size
    assert close(float(np.mean(np.arctanh(correlation))), 0.0, 1 / math.sqrt(2 * len(correlation)))


# Signal


def test_without_noise_scores_are_the_true_means() -> None:
    scores, truth = simulate(tasks=1, recipes=9, step_noise=0.0, checkpoints=2, scale_agreement=0.5)
    small, target = cube(scores, SMALL)[:, -1], cube(scores, TARGET)[:, -1]
    for values, row in ((small, only(truth, SMALL)), (target, only(truth, TARGET))):
        assert row["mean"] == pytest.approx(values.mean(), rel=1e-12)
        assert row["recipe_sd"] == pytest.approx(values.std(ddof=1), rel=1e-12)
        assert row["signal"] == pytest.approx((values.max() - values.min()) / values.mean(), rel=1e-12)
        assert row["snr"] is None
        assert row["autocorrelation"] is None
    row = only(truth, SMALL)
    assert row["decision_accuracy"] == agreement(small, target)
    assert row["expected_decision_accuracy"] == row["decision_accuracy"]
    assert only(truth, TARGET)["decision_accuracy"] is None


def test_planted_signal_and_agreement() -> None:
    n = 3000
    scores, truth = simulate(
        tasks=1,
        recipes=n,
        checkpoints=1,
        params=[60e6, SMALL, TARGET],
        step_noise=0.0,
        level=0.5,
        scale_agreement=0.7,
    )
    values = np.stack([cube(scores, size)[:, 0] for size in (60_000_000, SMALL, TARGET)])
    planted = truth["recipe_sd_planted"][0]
    assert planted == 0.02
    for sd in values.std(axis=1, ddof=1):
        assert close(sd, planted, planted / math.sqrt(2 * n))
    for r in np.corrcoef(values)[np.triu_indices(3, 1)]:
        assert close(r, truth["scale_agreement"][0], (1 - 0.7**2) / math.sqrt(n))


def test_full_agreement_decides_everything() -> None:
    _, truth = simulate(tasks=3, scale_agreement=1.0)
    assert truth.filter(params=SMALL)["decision_accuracy"].to_list() == [1.0] * 3


@pytest.mark.parametrize(("metric", "sign"), [("acc", 1), ("bits_per_byte", -1)])
def test_size_gain_follows_the_direction(metric: str, sign: int) -> None:
    _, truth = simulate(tasks=1, metric=metric, level=0.6, signal=0.0, params=[1e8, 1e9], size_gain=0.1)
    assert truth["mean"].to_list() == pytest.approx([0.6 - sign * 0.1, 0.6], rel=1e-12)


def test_default_levels_stay_in_their_range() -> None:
    _, truth = simulate(tasks=50, metric=["acc", "loss"] * 25, signal=0.0, params=TARGET)
    for metric, low, high in (("acc", 0.4, 0.7), ("loss", 0.8, 1.2)):
        levels = truth.filter(metric=metric)["mean"]
        assert levels.is_between(low, high).all()
        assert levels.n_unique() == 25


# Noise


@pytest.mark.parametrize("rho", [0.0, 0.6, -0.5])
def test_planted_step_noise_and_autocorrelation(rho: float) -> None:
    scores, truth = simulate(
        tasks=1,
        recipes=400,
        params=TARGET,
        checkpoints=50,
        autocorrelation=rho,
        level=0.5,
        **{**QUIET, "step_noise": 0.01},
    )
    row = only(truth)
    noise = cube(scores) - row["mean"]
    assert row["mean"] == 0.5
    assert row["autocorrelation"] == pytest.approx(rho)
    assert row["noise"] == pytest.approx(0.02)
    # Stationary: the sd is there from the first checkpoint on.
    for k in (0, 1, 49):
        assert close(noise[:, k].std(), row["step_noise"], 0.01 / math.sqrt(2 * 400))
    effective = noise.size * (1 - rho**2) / (1 + rho**2)
    assert close(noise.std(), row["noise_absolute"], 0.01 / math.sqrt(2 * effective))
    found = (noise[:, 1:] * noise[:, :-1]).mean() / noise.var()
    assert close(found, rho, math.sqrt((1 - rho**2) / noise.size))


def test_planted_seed_noise() -> None:
    scores, truth = simulate(
        tasks=1,
        recipes=4,
        params=TARGET,
        seeds=400,
        checkpoints=3,
        seed_noise=0.01,
        step_noise=0.004,
        level=0.5,
    )
    runs = cube(scores).reshape(4, 400, 3)
    row = only(truth)
    within = runs.var(axis=2, ddof=1).mean()
    between = runs.mean(axis=2).var(axis=1, ddof=1).mean() - within / 3
    assert close(math.sqrt(within), row["step_noise"], 0.004 / math.sqrt(2 * 1600 * 2))
    assert close(math.sqrt(between), row["seed_noise"], 0.0105 / math.sqrt(2 * 1596))


def test_snr_of_truth_is_range_over_noise() -> None:
    _, truth = simulate(tasks=1, recipes=6, step_noise=0.004)
    ratio = truth["signal"] * truth["mean"] / 0.004
    np.testing.assert_allclose(truth["snr"].to_numpy(), ratio.to_numpy(), rtol=1e-12)
    np.testing.assert_allclose(
        truth["snr"].to_numpy(), (truth["signal"] / truth["noise"]).to_numpy(), rtol=1e-12
    )


def test_expected_decision_accuracy() -> None:
    # Independent checkpoints: every one is a draw of "the final checkpoint of one seed".
    scores, truth = simulate(tasks=1, recipes=8, checkpoints=600, step_noise=0.015, scale_agreement=0.8)
    small, target = cube(scores, SMALL), cube(scores, TARGET)
    draws = np.array([agreement(small[:, k], target[:, k]) for k in range(600)])
    row = only(truth, SMALL)
    assert close(draws.mean(), row["expected_decision_accuracy"], draws.std() / math.sqrt(600))


def test_expected_decision_accuracy_counts_seed_noise() -> None:
    scores, truth = simulate(tasks=1, recipes=8, seeds=600, checkpoints=1, seed_noise=0.015, step_noise=0.005)
    small, target = (cube(scores, size).reshape(8, 600) for size in (SMALL, TARGET))
    draws = np.array([agreement(small[:, k], target[:, k]) for k in range(600)])
    expected = only(truth, SMALL)["expected_decision_accuracy"]
    assert close(draws.mean(), expected, draws.std() / math.sqrt(600))


# Trend, grid, chance, bounds


@pytest.mark.parametrize("shape", ["linear", "saturating"])
@pytest.mark.parametrize(("metric", "sign"), [("acc", 1), ("bits_per_byte", -1)])
def test_trend_is_improvement(shape: str, metric: str, sign: int) -> None:
    scores, truth = simulate(
        tasks=1, recipes=2, metric=metric, level=0.5, trend=0.2, trend_shape=shape, checkpoints=11, **QUIET
    )
    run, row = cube(scores)[0], only(truth)
    assert row["trend"] == 0.2
    assert run[-1] == row["mean"] == 0.5
    assert sign * (run[-1] - run[0]) == pytest.approx(row["trend"], rel=1e-12)
    assert sign * (run[-1] - run[-2]) == pytest.approx(row["trend_final"], rel=1e-9)
    gains = sign * np.diff(run)
    assert (gains > 0).all()
    if shape == "linear":
        np.testing.assert_allclose(gains, 0.02, rtol=1e-9)
    else:
        assert (np.diff(gains) < 0).all()
        assert row["trend_final"] < 0.002


@pytest.mark.parametrize("items", [100, 164, 3])
def test_grid_makes_the_ties_of_a_share_of_items(items: int) -> None:
    scores, _ = simulate(tasks=1, recipes=20, checkpoints=1, grid=1 / items)
    exact, _ = simulate(tasks=1, recipes=20, checkpoints=1)
    shares = {k / items for k in range(items + 1)}
    assert set(scores["value"].to_list()) <= shares
    assert (scores["value"] - exact["value"]).abs().max() <= 0.5 / items + 1e-12
    assert scores["value"].n_unique() < exact["value"].n_unique()


def test_grid_that_is_no_share() -> None:
    scores, _ = simulate(tasks=1, recipes=20, checkpoints=1, metric="loss", level=30, signal=5, grid=2.5)
    np.testing.assert_array_equal(scores["value"].to_numpy() % 2.5, 0.0)


@pytest.mark.parametrize("chance_tasks", [1, ["task-01"], "task-01"])
def test_chance_tasks(chance_tasks: int | str | list[str]) -> None:
    scores, truth = simulate(
        tasks=2, recipes=50, checkpoints=40, chance_tasks=chance_tasks, chance=[0.25, 0.2], trend=0.1
    )
    assert truth["at_chance"].to_list() == [False, False, True, True]
    assert truth["chance"].to_list() == [0.25, 0.25, 0.2, 0.2]
    row = truth.row(2, named=True)
    assert (row["mean"], row["signal"], row["recipe_sd_planted"], row["snr"]) == (pytest.approx(0.2), 0, 0, 0)
    assert row["decision_accuracy"] == row["expected_decision_accuracy"] == 0.5
    values = cube(scores, SMALL, "task-01")
    assert close(values.mean(), 0.2, 0.005 / math.sqrt(values.size))
    assert close(values.std(), 0.005, 0.005 / math.sqrt(2 * values.size))


def test_scores_stay_in_bounds_and_clips_are_counted() -> None:
    free, _ = simulate(tasks=1, metric="loss", level=0.95, size_gain=0.0, step_noise=0.05)
    scores, truth = simulate(tasks=1, level=0.95, size_gain=0.0, signal=0.0, step_noise=0.05)
    assert scores["value"].is_between(0, 1).all()
    assert (free["value"] > 1).any()
    counted = scores.group_by("params").agg((pl.col("value") == 1).sum()).sort("params")["value"]
    assert truth["n_clipped"].to_list() == counted.to_list()
    assert counted.min() > 0


def test_one_recipe_and_one_size_leave_nulls() -> None:
    _, truth = simulate(tasks=1, recipes=1, params=TARGET)
    row = truth.row(0, named=True)
    for name in (
        "signal",
        "recipe_sd",
        "snr",
        "decision_accuracy",
        "expected_decision_accuracy",
        "item_noise",
    ):
        assert row[name] is None
    assert row["noise"] > 0


def test_zero_mean_has_no_relative_quantities() -> None:
    _, truth = simulate(tasks=1, recipes=3, level=0.0, signal=0.0, size_gain=0.0)
    row = truth.row(0, named=True)
    assert (row["signal"], row["noise"], row["snr"]) == (None, None, None)
    assert row["noise_absolute"] == 0.005


# Instances


def items_of(scores: pl.DataFrame, shape: tuple[int, ...]) -> np.ndarray:
    rows = scores.drop_nulls("instance_id").sort("run", "step", "instance_id")
    return rows["value"].to_numpy().reshape(shape)


@pytest.mark.parametrize("metric", ["acc", "loss"])
def test_planted_item_components(metric: str) -> None:
    n_runs, n_checkpoints, n = 6, 300, 50
    scores, truth = simulate(
        tasks=1,
        recipes=n_runs,
        params=TARGET,
        checkpoints=n_checkpoints,
        instances=n,
        metric=metric,
        level=0.5,
        step_noise=0.02,
        autocorrelation=0.5,
    )
    row = only(truth)
    assert row["n_clipped"] == 0
    items = items_of(scores, (n_runs, n_checkpoints, n))

    # Variance within an item holds step noise too, which the other items of the checkpoint share.
    step = 0.02**2
    prediction = items.var(axis=1, ddof=1).mean() - step
    assert close(prediction, row["prediction_noise"] ** 2, 3 * (prediction + step) / math.sqrt(items.size))
    over_runs = items.mean(axis=(0, 1))
    data = over_runs.var() - prediction * (1 - 1 / n) / (n_runs * n_checkpoints)
    stderr = 2 * row["item_noise"] * math.sqrt(prediction / (n_runs * n_checkpoints * n))
    assert close(data, row["item_noise"] ** 2, stderr)

    checkpoints = items.mean(axis=2)
    noise = checkpoints - checkpoints.mean(axis=1, keepdims=True)
    effective = checkpoints.size / 2
    assert close(noise.std(), row["noise_absolute"], row["noise_absolute"] / math.sqrt(effective))
    found = (noise[:, 1:] * noise[:, :-1]).mean() / noise.var()
    assert close(found, row["autocorrelation"], 1 / math.sqrt(noise.size))
    assert row["autocorrelation"] == pytest.approx(0.5 * step / row["noise_absolute"] ** 2)


def test_instance_rows() -> None:
    scores, _ = simulate(tasks=2, recipes=2, checkpoints=3, instances=12)
    assert scores.height == 2 * 2 * 2 * 3 * 12
    assert scores["instance_id"].null_count() == 0
    assert scores["instance_id"].n_unique() == 12
    assert set(scores["value"].to_list()) == {0.0, 1.0}
    assert scores["weight"].unique().to_list() == [1.0]
    assert scores.equals(scores.sort("task", "metric", "run", "step", "instance_id"))


def test_result_rows_are_means_over_instances() -> None:
    scores, _ = simulate(tasks=2, recipes=2, checkpoints=3, instances=12, results=True)
    assert scores.equals(scores.sort("task", "metric", "run", "step", "instance_id"))
    key = ["task", "run", "step"]
    means = scores.drop_nulls("instance_id").group_by(key).agg(pl.col("value").mean())
    both = scores.filter(pl.col("instance_id").is_null()).join(means, on=key, suffix="_mean")
    assert both.height == 2 * 2 * 2 * 3
    np.testing.assert_allclose(both["value"].to_numpy(), both["value_mean"].to_numpy(), rtol=1e-12)
    without, _ = simulate(tasks=2, recipes=2, checkpoints=3, instances=12)
    assert scores.drop_nulls("instance_id").equals(without)


def test_items_at_chance_are_all_guesses() -> None:
    scores, truth = simulate(tasks=1, recipes=4, checkpoints=20, instances=30, chance_tasks=1)
    row = only(truth)
    assert (row["item_noise"], row["n_clipped"]) == (0.0, 0)
    assert row["prediction_noise"] ** 2 == pytest.approx(0.25 * 0.75 - 0.005**2)
    assert close(scores["value"].mean(), 0.25, math.sqrt(0.1875 / scores.height))  # pyright: ignore


# Misuse


@pytest.mark.parametrize(
    "options",
    [
        {"tasks": 0},
        {"tasks": []},
        {"tasks": ["a", "a"]},
        {"tasks": ["a", ""]},
        {"tasks": 2.5},
        {"recipes": True},
        {"recipes": ["a", "a"]},
        {"params": []},
        {"params": [1e9, 1e9]},
        {"params": -1},
        {"params": math.nan},
        {"seeds": 0},
        {"checkpoints": 0},
        {"instances": -1},
        {"metric": "vibes"},
        {"metric": ["acc"]},
        {"level": 1.5},
        {"level": [0.5, 0.5]},
        {"signal": -0.1},
        {"signal": [0.1, 0.1]},
        {"signal": math.inf},
        {"signal": "large"},
        {"signal": 0.5},
        {"step_noise": math.nan},
        {"seed_noise": -1},
        {"autocorrelation": 1},
        {"autocorrelation": -1.0},
        {"scale_agreement": 1.1},
        {"trend": math.inf},
        {"trend_shape": "cubic"},
        {"item_noise": -1},
        {"prediction_noise": -1},
        {"grid": -0.1},
        {"grid": 0.01, "instances": 5},
        {"chance": 2},
        {"chance_tasks": 9},
        {"chance_tasks": ["nope"]},
        {"chance_tasks": 1, "metric": "loss"},
        {"tokens_per_param": -1},
        {"step_size": 0},
        {"results": True},
        {"rng_seed": -1},
    ],
    ids=str,
)
def test_misuse_names_argument_found_and_needed(options: dict[str, object]) -> None:
    with pytest.raises(OptionError, match=r"found .*, needed ") as caught:
        simulate(**options)  # pyright: ignore
    assert any(name in str(caught.value).split("found")[0] for name in options)


def test_one_task_may_have_two_metrics() -> None:
    scores, truth = simulate(tasks=["arc", "arc"], metric=["acc", "bits_per_byte"], recipes=2)
    assert truth["metric"].unique().sort().to_list() == ["acc", "bits_per_byte"]
    assert scores["task"].unique().to_list() == ["arc"]


def test_per_task_arguments_follow_their_task() -> None:
    _, truth = simulate(
        tasks=["b", "a"], signal=[0.01, 0.02], metric=["loss", "acc"], step_noise=[0.1, 0.001]
    )
    found = truth.filter(params=TARGET).select("task", "metric", "recipe_sd_planted", "step_noise").rows()
    assert found == [("a", "acc", 0.02, 0.001), ("b", "loss", 0.01, 0.1)]


# The example


def test_example_scores() -> None:
    scores = example_scores()
    assert scores.height == 6 * 6 * 2 * 12
    assert scores.equals(example_scores())
    assert all(task.startswith("sim_") for task in scores["task"].unique())
    assert set(scores["metric"].unique()) == {"acc", "bits_per_byte"}

    def snr(task: str) -> float:
        window = cube(scores, TARGET, task)[:, -5:]
        return float(np.ptp(window.mean(axis=1)) / np.sqrt(window.var(axis=1, ddof=1).mean()))

    assert snr("sim_arc") > 30
    assert snr("sim_copa") < 3
    assert abs(cube(scores, SMALL, "sim_mmlu").mean() - 0.25) < 0.005
    assert np.unique(cube(scores, SMALL, "sim_boolq")).tolist() == [0.62]
    assert cube(scores, TARGET, "sim_paloma").mean() < cube(scores, SMALL, "sim_paloma").mean()
    slopes = np.diff(cube(scores, TARGET, "sim_hellaswag")[:, -5:], axis=1)
    assert slopes.mean() > 0.005
    copa = cube(scores, TARGET, "sim_copa")[:, -1]
    assert len(np.unique(copa)) < len(copa)
