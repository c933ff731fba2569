"""`prediction_error`: published ladders, planted ones, invariances, undefined cases, the command line."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner
from scipy import stats

import signoise as sn
from signoise._cli import main

SIZES = (1.9e8, 3.7e8, 7.6e8, 1.28e9, 3.2e9)
MULTIPLES = (10, 20, 40, 100, 200)
TARGET = (6.9e9, 3.9e12)
SIDES: dict[str, Any] = {"train": "params < 6e9", "target": "params > 6e9"}
TWO_STEPS: dict[str, Any] = {**SIDES, "intermediate": "bits_per_byte", "outcome": "acc"}
#: Weights of the groups in the published average over MMLU.
MMLU = {"stem": 0.215, "humanities": 0.335, "social_sciences": 0.219, "other": 0.231}


def planted_loss(params: float, tokens: float) -> float:
    return math.exp(6.0 - 0.37 * math.log(params)) + math.exp(7.3 - 0.37 * math.log(tokens)) + 0.43


def planted_accuracy(loss: float) -> float:
    return 1.0 - 0.65 / (1 + math.exp(-5 * (loss - 0.75)))


def ladder(noise: float = 0.0, checkpoints: int = 20, seed: int = 0, task: str = "task") -> pl.DataFrame:
    """Runs whose every checkpoint follows the planted laws, but for noise."""
    rng = np.random.default_rng(seed)
    runs = [(size, size * multiple) for size in SIZES for multiple in MULTIPLES] + [TARGET]
    rows = []
    for params, end in runs:
        for step in range(1, checkpoints + 1):
            # The last ones stand at the end, so that their mean is the law's value there.
            tokens = end * min(1.0, step / (checkpoints - 5))
            loss = planted_loss(params, tokens) * math.exp(noise * rng.normal())
            accuracy = planted_accuracy(loss) + noise * rng.normal()
            row = {
                "task": task,
                "run": f"{params:.3g}-{end:.3g}",
                "params": params,
                "step": step,
                "tokens": tokens,
            }
            rows += [
                row | {"metric": "bits_per_byte", "value": loss},
                row | {"metric": "acc", "value": accuracy},
            ]
    return pl.DataFrame(rows)


# --- published ladders ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dropped", "expected", "objective", "predicted", "errors"),
    [
        (
            [],
            [6.076222, 7.300064, 0.374045, 0.368772, 0.430069],
            2.95631e-4,
            [0.5547855, 0.5321169],
            [0.0409, 0.0326],
        ),
        (
            [1279395840],
            [6.376652, 6.578804, 0.393139, 0.332748, 0.417216],
            2.75972e-4,
            [0.5435290, 0.5217624],
            [0.0198, 0.0125],
        ),
    ],
    ids=["25 points", "20 points"],
)
def test_loss_of_the_published_ladder(
    shared: Path,
    dropped: list[int],
    expected: list[float],
    objective: float,
    predicted: list[float],
    errors: list[float],
) -> None:
    points = pl.read_parquet(shared / "data" / "ladder_arc_easy_points.parquet").filter(
        ~pl.col("params").is_in(dropped)
    )
    train = points.filter(mode="train")
    fit = sn.fit_scaling_law(train, "ladder_loss", y="loss", interval="none")
    estimates = fit["estimate"].to_numpy().copy()
    estimates[:2] = np.log(estimates[:2])
    np.testing.assert_allclose(estimates, expected, rtol=0, atol=1e-4)
    assert fit["objective"][0] == pytest.approx(objective, abs=1e-8)
    places = points.filter(mode="eval").sort("params").select("params", "tokens", actual="loss")
    out = sn.predict(train, "ladder_loss", y="loss", at=places, interval="none")
    np.testing.assert_allclose(out["predicted"], predicted, atol=1e-5)
    np.testing.assert_allclose(out["relative_error"], errors, atol=1e-4)
    # The same through the ladder: a run a point.
    runs = points.select(
        run=pl.col("size") + "-" + pl.col("multiplier"),
        params="params",
        tokens="tokens",
        task=pl.lit("arc_easy"),
        metric=pl.lit("bits_per_byte"),
        value="loss",
    )
    steps = sn.prediction_error(runs, train="params < 4e9", target="params > 4e9", n_resamples=0)
    np.testing.assert_allclose(steps.sort("params")["predicted"], predicted, atol=1e-5)
    assert steps["n_train"].to_list() == [train.height] * 2


def olmo_scores(shared: Path, tasks: list[str]) -> pl.DataFrame:
    """The 16 training runs and 2 targets of the published two-step ladder."""
    runs = [f"{size}-{multiple}xC" for size in ("190M", "370M", "760M", "1B") for multiple in (1, 2, 5, 10)]
    return with_mmlu(
        pl.read_parquet(shared / "data" / "olmo_ladder.parquet").filter(
            pl.col("run").is_in([*runs, "peteish13_eval_final", "peteish7_eval_anneal"]),
            pl.col("metric").is_in(["bpb", "len_norm"]),
        )
    ).filter(pl.col("task").is_in(tasks))


def with_mmlu(scores: pl.DataFrame) -> pl.DataFrame:
    """Scores, and the published average over the groups of MMLU beside them."""
    scores = scores.select("run", "params", "tokens", "task", "metric", "value")
    parts = [
        scores.filter(task=f"mmlu_{name}_test_rc_5shot").with_columns(pl.col("value") * weight)
        for name, weight in MMLU.items()
    ]
    average = pl.concat(parts).group_by("run", "params", "tokens", "metric").agg(pl.col("value").sum())
    average = average.with_columns(task=pl.lit("mmlu_avg_test_rc_5shot")).select(scores.columns)
    return pl.concat([scores, average])


def test_every_chained_prediction_of_the_published_ladder(shared: Path, oracle: Any) -> None:
    expected = oracle("olmo_ladder_two_step")
    tasks = {name.replace("_5shot", "_rc_5shot"): name for name in expected}
    out = sn.prediction_error(
        olmo_scores(shared, list(tasks)),
        train="params < 2e9",
        target="params > 5e9",
        intermediate="bpb",
        outcome="len_norm",
        interval="none",
        n_resamples=0,
    )
    assert out.height == 2 * len(expected)
    for row in out.iter_rows(named=True):
        task = expected[tasks[row["task"]]]
        target = task["targets"]["13B-5T" if "13" in row["run"] else "7B-4T"]
        assert (row["n_train"], row["n_points"]) == (16, task["step2"]["n_points"])
        assert row["actual_intermediate"] == pytest.approx(target["loss_true"], abs=1e-10)
        assert row["actual"] == pytest.approx(target["acc_true"], abs=1e-10)
        # The reference ends on a flat valley; ours lies no higher, and both predict the same.
        assert row["predicted_intermediate"] == pytest.approx(target["loss_pred"], abs=1e-6)
        assert row["predicted"] == pytest.approx(target["acc_pred_chained"], abs=5e-6)
        assert row["relative_error"] == pytest.approx(target["chained_rel_error"], abs=5e-6)
        assert row["intermediate_relative_error"] == pytest.approx(target["step1_rel_error"], abs=5e-6)


def test_first_step_of_the_published_ladder_reaches_its_objective(shared: Path, oracle: Any) -> None:
    for name, task in oracle("olmo_ladder_two_step").items():
        points = pl.DataFrame(task["train_ND"], schema=["params", "tokens"], orient="row").with_columns(
            loss=pl.Series(task["train_loss"])
        )
        fit = sn.fit_scaling_law(points, "ladder_loss", y="loss", interval="none")
        assert fit["objective"][0] <= task["step1"]["objective"] * (1 + 1e-8), name


def test_checkpoint_noise_of_the_published_ladder(shared: Path) -> None:
    stored = json.loads((shared / "oracles" / "olmo_ladder_two_step.json").read_text())
    names = {
        "Winogrande": "winogrande_val_rc_5shot",
        "BoolQ": "boolq_val_rc_5shot",
        "MMLU": "mmlu_avg_test_rc_5shot",
        "CommonsenseQA": "csqa_val_rc_5shot",
        "OpenBookQA": "openbookqa_test_rc_5shot",
        "ARC-Easy": "arc_easy_test_rc_5shot",
        "ARC-Challenge": "arc_challenge_test_rc_5shot",
        "Social IQa": "socialiqa_val_rc_5shot",
        "PIQA": "piqa_val_rc_5shot",
        "HellaSwag": "hellaswag_val_rc_5shot",
    }
    scores = pl.read_parquet(shared / "data" / "olmo_ladder.parquet").filter(
        pl.col("run") == "1B-10xC", pl.col("metric").is_in(["bpb", "len_norm", "acc"])
    )
    scores = with_mmlu(scores).filter(pl.col("task").is_in(names.values()))
    noise = sn.noise(scores, window=10, ddof=0)
    published = stored["variance_1B_10xC_last10"]["results"]
    assert names.keys() == published.keys()
    for name, task in names.items():
        expected = published[name]
        for metric, kind in (("bpb", "loss"), ("acc" if name == "BoolQ" else "len_norm", "acc")):
            row = noise.row(by_predicate=(pl.col("task") == task) & (pl.col("metric") == metric), named=True)
            assert row["noise_absolute"] == pytest.approx(expected[f"{kind}_sd"], abs=1e-9)
            assert row["noise"] == pytest.approx(expected[f"{kind}_rel_sd"], abs=1e-9)


# --- planted ladders --------------------------------------------------------------------------------


def test_a_planted_ladder_is_foretold_in_two_steps() -> None:
    row = sn.prediction_error(ladder(), **TWO_STEPS, n_resamples=10).row(0, named=True)
    loss = planted_loss(*TARGET)
    assert row["predicted_intermediate"] == pytest.approx(loss, rel=1e-4)
    assert row["predicted"] == pytest.approx(planted_accuracy(loss), rel=1e-3)
    assert row["prediction_error"] < 1e-3
    assert row["law"] == "ladder_loss, ladder_sigmoid"
    assert (row["n_train"], row["status"]) == (25, "ok")
    assert row["low"] <= row["predicted"] <= row["high"]
    assert row["prediction_low"] <= row["low"]
    assert row["rung_low"] <= row["rung_high"]
    assert row["extrapolation"] == pytest.approx(TARGET[1] / (SIZES[-1] * MULTIPLES[-1]))
    assert "metric" not in row


def test_single_steps_choose_the_law_by_direction_and_design() -> None:
    out = sn.prediction_error(ladder(), **SIDES, n_resamples=0, interval="none")
    assert dict(zip(out["metric"], out["law"], strict=True)) == {
        "acc": "ladder_accuracy",
        "bits_per_byte": "ladder_loss",
    }
    loss = out.filter(metric="bits_per_byte").row(0, named=True)
    assert loss["predicted"] == pytest.approx(planted_loss(*TARGET), rel=1e-4)
    one_ratio = pl.col("run").is_in([f"{size:.3g}-{20 * size:.3g}" for size in SIZES])
    by_compute = sn.prediction_error(
        ladder().filter(one_ratio | (pl.col("params") > 6e9)), **SIDES, n_resamples=0, interval="none"
    )
    assert set(by_compute["law"]) == {"ladder_accuracy_flops", "ladder_loss_flops"}
    assert by_compute["flops"].to_list() == [6 * TARGET[0] * TARGET[1]] * 2


def test_intervals_hold_the_planted_value_and_widen_with_noise() -> None:
    tables = [ladder(noise, seed=3) for noise in (1e-3, 4e-3)]
    small, large = (
        sn.prediction_error(table, **TWO_STEPS, n_resamples=200).row(0, named=True) for table in tables
    )
    truth = planted_accuracy(planted_loss(*TARGET))
    for row in (small, large):
        assert row["low"] < truth < row["high"]
        assert row["prediction_low"] < row["low"] < row["high"] < row["prediction_high"]
    for low, high in (("low", "high"), ("checkpoint_low", "checkpoint_high")):
        assert small[high] - small[low] < large[high] - large[low]
    drawn = sn.prediction_error(tables[0], **TWO_STEPS, n_resamples=100, interval="bootstrap").row(
        0, named=True
    )
    assert 0.4 < (drawn["high"] - drawn["low"]) / (small["high"] - small["low"]) < 2.5


def test_refits_to_random_checkpoints_spread_as_their_noise_does() -> None:
    # One rung more than parameters and least squares: the replicates are linear in the checkpoints to first order.
    scores = ladder(2e-3, seed=5).filter(pl.col("metric") == "bits_per_byte")
    law = sn.Law(
        name="flat",
        formula="a + 0 * flops",
        variables={"flops": "FLOPs"},
        parameters=(sn.Parameter("a", (1.0,)),),
        objective="lsq",
    )
    row = sn.prediction_error(scores, **SIDES, step1=law, x="flops", n_resamples=4000).row(0, named=True)
    last = (
        scores.filter(pl.col("params") < 6e9)
        .sort("tokens", "step")
        .group_by("run")
        .agg(pl.col("value").tail(6))
    )
    variance = sum(np.var(np.array(values)) for values in last["value"].to_list()) / last.height**2
    assert row["checkpoint_sd"] == pytest.approx(math.sqrt(variance), rel=0.05)
    assert row["predicted"] == pytest.approx(
        np.mean([np.mean(values[-5:]) for values in last["value"].to_list()]), rel=1e-9
    )


def test_draws_belong_to_a_group_and_a_run() -> None:
    one, other = ladder(2e-3, task="a"), ladder(2e-3, seed=1, task="b")
    alone = sn.prediction_error(one, **TWO_STEPS, n_resamples=50)
    both = sn.prediction_error(pl.concat([one, other]), **TWO_STEPS, n_resamples=50)
    # Targets of one metric share what is known of their autocorrelation, and nothing else.
    assert both.filter(task="a").drop("target_margin").equals(alone.drop("target_margin"))
    again = sn.prediction_error(one, **TWO_STEPS, n_resamples=50, rng_seed=1)
    assert again["checkpoint_sd"][0] != alone["checkpoint_sd"][0]
    assert again["low"][0] == alone["low"][0]


def test_the_order_of_rows_and_the_number_of_threads_do_not_matter() -> None:
    scores = ladder(2e-3)
    expected = sn.prediction_error(scores, **TWO_STEPS, n_resamples=30)
    shuffled = scores.sample(fraction=1.0, shuffle=True, seed=4)
    assert sn.prediction_error(shuffled, **TWO_STEPS, n_resamples=30).equals(expected)
    for threads in (1, 3):
        assert sn.prediction_error(scores, **TWO_STEPS, n_resamples=30, threads=threads).equals(expected)


# --- options ----------------------------------------------------------------------------------------


def test_second_step_is_fitted_to_smoothed_checkpoints_after_the_first() -> None:
    scores = ladder(2e-3)
    points = {
        (skip, helper): sn.prediction_error(
            scores, **TWO_STEPS, skip=skip, helper=helper, n_resamples=0, interval="none"
        )["n_points"][0]
        for skip in (0.0, 0.1, 0.52)
        for helper in (True, False)
    }
    assert points == {
        (0.0, True): 501,
        (0.0, False): 500,
        (0.1, True): 451,
        (0.1, False): 450,
        (0.52, True): 226,
        (0.52, False): 225,
    }


def test_noise_of_the_target_by_hand() -> None:
    scores = ladder(2e-3, checkpoints=45)
    settings = {**TWO_STEPS, "n_resamples": 0, "interval": "none"}
    row = sn.prediction_error(scores, **settings, noise_margin="compat").row(0, named=True)
    values = (
        scores.filter(pl.col("params") > 6e9, pl.col("metric") == "acc")
        .sort("tokens", "step")["value"]
        .to_numpy()
    )[-29:]
    errors = (row["predicted"] - values) / values
    assert row["target_noise"] == pytest.approx(np.std(errors, ddof=1), rel=1e-9)
    margin = stats.t.ppf(0.975, 28) * np.std(errors, ddof=1) / math.sqrt(29)
    assert row["target_margin"] == pytest.approx(margin, rel=1e-9)
    ours = sn.prediction_error(scores, **settings).row(0, named=True)
    errors = (ours["predicted"] - values[-30:]) / values[-30:]
    assert ours["target_margin"] >= 0.9 * margin


def test_laws_of_the_steps_can_be_chosen() -> None:
    out = sn.prediction_error(
        ladder(),
        **TWO_STEPS,
        step1="ladder_loss_flops",
        step2="ladder_log_sigmoid",
        n_resamples=0,
        interval="none",
    )
    assert out["law"][0] == "ladder_loss_flops, ladder_log_sigmoid"
    assert out["n_points"][0] == 450
    power = sn.prediction_error(
        ladder(),
        **SIDES,
        outcome="bits_per_byte",
        step1="power_law",
        x="tokens",
        n_resamples=0,
        interval="none",
    )
    assert power["law"][0] == "power_law"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"train": "params < 9e9"}, "in both train and target"),
        ({"target": "params > 9e12"}, "target: no row satisfies"),
        ({"outcome": None}, "intermediate needs an outcome"),
        ({"outcome": "bits_per_byte"}, "are both"),
        ({"outcome": "accuracy"}, "no metric 'accuracy'"),
        ({"intermediate": "acc", "outcome": "bits_per_byte"}, "better when higher"),
        ({"step2": "chinchilla"}, "of one variable"),
        ({"step1": "power_law"}, "which column"),
        ({"x": "params"}, "say which one"),
        ({"intermediate": None, "step2": "ladder_sigmoid"}, "step2 is of an intermediate"),
        ({"skip": 1.0}, "skip must be"),
        ({"interval": "delta"}, "interval must be one of"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_asked(options: dict[str, Any], message: str) -> None:
    with pytest.raises((sn.OptionError, sn.SchemaError), match=message):
        sn.prediction_error(ladder(), **(TWO_STEPS | options))


# --- undefined cases --------------------------------------------------------------------------------


def quick(scores: pl.DataFrame, **options: Any) -> dict[str, Any]:
    return sn.prediction_error(scores, **(TWO_STEPS | {"n_resamples": 10} | options)).row(0, named=True)


def with_accuracy(scores: pl.DataFrame, where: pl.Expr, value: float | None) -> pl.DataFrame:
    chosen = where & (pl.col("metric") == "acc")
    return scores.with_columns(pl.when(chosen).then(pl.lit(value)).otherwise(pl.col("value")).alias("value"))


def test_an_actual_score_of_zero_has_no_relative_error() -> None:
    row = quick(with_accuracy(ladder(), pl.col("params") > 6e9, 0.0))
    assert row["relative_error"] is None
    assert row["prediction_error"] is None
    assert row["absolute_error"] == row["predicted"]
    assert "zero_actual" in row["flags"]


def test_a_target_without_score_is_predicted() -> None:
    scores = ladder().filter((pl.col("params") < 6e9) | (pl.col("metric") == "bits_per_byte"))
    row = quick(scores)
    assert row["predicted"] == pytest.approx(planted_accuracy(planted_loss(*TARGET)), rel=1e-3)
    assert row["actual"] is None
    assert row["relative_error"] is None
    assert row["actual_intermediate"] is not None


def test_too_few_runs_and_outcomes_that_never_change() -> None:
    runs = pl.col("run").is_in([f"{SIZES[0]:.3g}-{SIZES[0] * multiple:.3g}" for multiple in MULTIPLES[:2]])
    two = quick(ladder().filter(runs | (pl.col("params") > 6e9)))
    constant = quick(with_accuracy(ladder(), pl.col("params") < 6e9, 0.25))
    for row, status in ((two, "too_few"), (constant, "constant")):
        assert row["status"] == status
        assert row["predicted"] is None
        assert row["low"] is None
    zeros = sn.prediction_error(
        with_accuracy(ladder(), pl.col("params") < 6e9, 0.0), **SIDES, outcome="acc", n_resamples=0
    ).row(0, named=True)
    assert zeros["status"] == "not_finite"
    with pytest.raises(sn.FitError, match="constant"):
        quick(with_accuracy(ladder(), pl.col("params") < 6e9, 0.25), strict=True)


def test_percent_are_refused() -> None:
    scores = ladder().with_columns(
        pl.when(pl.col("metric") == "acc").then(100 * pl.col("value")).otherwise("value").alias("value")
    )
    with pytest.raises(sn.OptionError, match="percent"):
        quick(scores)


def test_missing_scores_and_few_checkpoints_are_flagged() -> None:
    missing = quick(with_accuracy(ladder(), pl.col("step") == 3, None))
    assert "missing_values" in missing["flags"]
    few = quick(ladder(), window=25)
    assert "few_checkpoints" in few["flags"]


def test_a_prediction_at_chance_is_flagged() -> None:
    rng = np.random.default_rng(0)
    scores = ladder(task="arc_easy")
    noise = pl.Series(0.25 + 0.01 * rng.normal(size=scores.height))
    guessing = scores.with_columns(
        pl.when(pl.col("metric") == "acc").then(noise).otherwise("value").alias("value")
    )
    row = quick(guessing, helper=False)
    assert "near_chance" in row["flags"]


# --- report and command line ------------------------------------------------------------------------


def test_report_says_how_far_the_largest_size_can_be_foretold() -> None:
    scores = ladder(1e-3).filter(pl.col("tokens") > 0.5 * pl.col("tokens").max().over("run"))
    with pytest.warns(sn.SignoiseWarning):  # the two sides of the decision accuracy share few runs
        table = sn.report(scores).filter(metric="bits_per_byte")
    direct = sn.prediction_error(scores, **SIDES, outcome="bits_per_byte", n_resamples=0, interval="none")
    assert table["prediction_error"][0] == direct["prediction_error"][0]
    assert table["predicted"][0] == direct["predicted"][0]
    assert "prediction_error" not in sn.report(sn.example_scores()).columns


def test_command_line_gives_the_same_table(tmp_path: Path) -> None:
    path, out = tmp_path / "scores.parquet", tmp_path / "ladder.parquet"
    ladder(1e-3).write_parquet(path)
    arguments = [
        "ladder",
        str(path),
        "--train",
        SIDES["train"],
        "--target",
        SIDES["target"],
        "--intermediate",
    ]
    arguments += ["bits_per_byte", "--outcome", "acc", "--n-resamples", "20", "--skip", "0.2", "--no-helper"]
    done = CliRunner().invoke(main, [*arguments, "-o", str(out)])
    assert done.exit_code == 0, done.output
    expected = sn.prediction_error(path, **TWO_STEPS, n_resamples=20, skip=0.2, helper=False)
    assert pl.read_parquet(out).equals(expected)
    shown = CliRunner().invoke(main, [*arguments, "--json"])
    assert json.loads(shown.stdout)[0]["predicted"] == expected["predicted"][0]
    missing = CliRunner().invoke(main, ["ladder", str(path), "--train", "params < 6e9"])
    assert missing.exit_code == 2
