"""`fit_scaling_law` and `predict`, and `signoise fit` and `signoise laws`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner, Result

import signoise as sn
from signoise._cli import main
from signoise._laws._forms import LAWS

#: The form of chinchilla with fewer starts.
LAW = "ladder_loss"
TRUTH = {"A": 406.4, "B": 410.7, "alpha": 0.34, "beta": 0.28, "E": 1.69}


def chinchilla(params: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    t = TRUTH
    return t["E"] + t["A"] * params ** -t["alpha"] + t["B"] * tokens ** -t["beta"]


def planted(noise: float = 0.005, seed: int = 0) -> pl.DataFrame:
    """Six sizes on six ratios."""
    rng = np.random.default_rng(seed)
    params = np.repeat(np.geomspace(5e7, 2e9, 6), 6)
    tokens = params * np.tile([5.0, 10.0, 20.0, 40.0, 80.0, 160.0], 6)
    loss = chinchilla(params, tokens) * np.exp(noise * rng.standard_normal(36))
    return pl.DataFrame({"params": params, "tokens": tokens, "loss": loss})


@pytest.fixture(scope="module")
def runs() -> pl.DataFrame:
    return planted()


def run(*args: str) -> Result:
    return CliRunner().invoke(main, list(args))


def test_planted_parameters_are_inside_their_intervals(runs: pl.DataFrame) -> None:
    fit = sn.fit_scaling_law(runs, LAW, y="loss", objective="lsq_log", n_resamples=300)
    assert fit["parameter"].to_list() == ["A", "B", "alpha", "beta", "E"]
    assert fit["status"].unique().to_list() == ["ok"]
    for row in fit.iter_rows(named=True):
        assert row["low"] < TRUTH[row["parameter"]] < row["high"]
        assert row["n_points"] == 36
        assert row["n_scales"] == 6
    assert fit["residual_sd"][0] == pytest.approx(0.005, rel=0.3)


@pytest.mark.parametrize("interval", ["bootstrap", "jackknife", "parametric", "profile"])
def test_intervals_agree_about_the_width(runs: pl.DataFrame, interval: str) -> None:
    """Four ways to the uncertainty of one well-identified exponent."""
    fit = sn.fit_scaling_law(
        runs, LAW, y="loss", objective="lsq_log", interval=interval, n_resamples=300
    ).filter(parameter="alpha")
    low, estimate, high = fit.select("low", "estimate", "high").row(0)
    assert low < estimate < high
    assert high - low == pytest.approx(0.055, rel=0.5)


def test_profile_equals_the_limits_of_a_line() -> None:
    """Of a law that is a straight line the profile gives Student's interval of linear regression."""
    from scipy.stats import linregress, t

    rng = np.random.default_rng(1)
    x = np.geomspace(1e18, 1e22, 15)
    y = 3e3 * x**-0.1 * np.exp(0.02 * rng.standard_normal(15))
    frame = pl.DataFrame({"flops": x, "loss": y})
    fit = sn.fit_scaling_law(
        frame, "pure_power_law", x="flops", y="loss", objective="lsq_log", interval="profile"
    ).filter(parameter="alpha")
    line = linregress(np.log(x), np.log(y))
    half = t.ppf(0.975, 13) * line.stderr
    np.testing.assert_allclose(
        fit.select("estimate", "low", "high").row(0),
        [-line.slope, -line.slope - half, -line.slope + half],
        rtol=1e-6,
    )


def test_criteria_are_those_of_least_squares(runs: pl.DataFrame) -> None:
    fit = sn.fit_scaling_law(runs, LAW, y="loss", objective="lsq_log", interval="none")
    n, k, sse = 36, 6, fit["objective"][0]
    deviance = n * (np.log(2 * np.pi * sse / n) + 1)
    assert fit["aicc"][0] == pytest.approx(deviance + 2 * k + 2 * k * (k + 1) / (n - k - 1))
    assert fit["bic"][0] == pytest.approx(deviance + k * np.log(n))
    assert sn.fit_scaling_law(runs, LAW, y="loss", interval="none")["aicc"].null_count() == 5


def test_predictions_hold_the_truth_and_nest(runs: pl.DataFrame) -> None:
    places = pl.DataFrame({"params": [7e9, 7e10], "tokens": [1.4e11, 1.4e12]})
    truth = chinchilla(*(places[name].to_numpy() for name in ("params", "tokens")))
    out = sn.predict(runs, LAW, y="loss", at=places.with_columns(loss=pl.Series(truth)), objective="lsq_log")
    assert (out["prediction_low"] < out["low"]).all()
    assert (out["low"] < out["predicted"]).all()
    assert (out["predicted"] < out["high"]).all()
    assert (out["high"] < out["prediction_high"]).all()
    assert out["actual"].is_between(out["low"], out["high"]).all()
    np.testing.assert_allclose(out["relative_error"], (out["predicted"] - truth) / truth, rtol=1e-12)
    np.testing.assert_allclose(out["extrapolation"], [3.5, 35.0], rtol=1e-12)
    assert [flags.to_list() for flags in out["flags"]] == [[], ["extrapolated"]]


def test_target_noise_widens_only_predictions(runs: pl.DataFrame) -> None:
    at = {"params": 7e9, "tokens": 1.4e11}
    plain, noisy = (sn.predict(runs, LAW, y="loss", at=at, target_noise=noise) for noise in (0.0, 0.02))
    assert plain["low"].item() == noisy["low"].item()
    assert noisy["prediction_low"].item() < plain["prediction_low"].item()


def test_order_of_rows_and_threads_change_nothing(runs: pl.DataFrame) -> None:
    expected = sn.fit_scaling_law(runs, LAW, y="loss", n_resamples=50)
    assert expected.equals(
        sn.fit_scaling_law(runs.sample(fraction=1, shuffle=True, seed=3), LAW, y="loss", n_resamples=50)
    )
    for threads in (1, 2, 8):
        assert expected.equals(sn.fit_scaling_law(runs, LAW, y="loss", n_resamples=50, threads=threads))


def test_a_group_stands_alone(runs: pl.DataFrame) -> None:
    """Draws belong to the group: another one beside it moves nothing."""
    two = pl.concat([runs.with_columns(data=pl.lit("a")), planted(seed=5).with_columns(data=pl.lit("b"))])
    both = sn.fit_scaling_law(two, LAW, y="loss", by="data", n_resamples=50)
    alone = sn.fit_scaling_law(two.filter(data="b"), LAW, y="loss", by="data", n_resamples=50)
    assert both.filter(data="b").equals(alone)


def test_rung_effects_are_found_and_rungs_drawn() -> None:
    rng = np.random.default_rng(2)
    runs = planted(0.001)
    effect = np.repeat(0.02 * rng.standard_normal(6), 6)
    runs = runs.with_columns(loss=pl.col("loss") * np.exp(effect))
    fit = sn.fit_scaling_law(runs, LAW, y="loss", objective="lsq_log")
    assert "rung_effects" in fit["flags"][0].to_list()
    assert fit["n_clusters"][0] == 6
    plain = sn.fit_scaling_law(runs.with_row_index("own"), LAW, y="loss", objective="lsq_log", cluster="own")
    assert plain["n_clusters"][0] == 36
    assert "rung_effects" not in plain["flags"][0].to_list()


def test_undefined_cases(runs: pl.DataFrame) -> None:
    few = sn.fit_scaling_law(runs.head(4), LAW, y="loss")
    assert few["status"].unique().to_list() == ["too_few"]
    assert few["estimate"].null_count() == 5
    assert few["low"].null_count() == 5
    held = sn.fit_scaling_law(runs, LAW, y="loss", bounds={"alpha": (0.5, 1.0)}, interval="none")
    assert held["status"].unique().to_list() == ["at_bound"]
    assert held.filter("at_bound")["parameter"].to_list() == ["alpha"]
    line = runs.filter(pl.col("tokens") / pl.col("params") < 6)
    assert "collinear" in set(sn.fit_scaling_law(line, LAW, y="loss", interval="none")["flags"][0])
    with pytest.raises(sn.FitError, match=r"at_bound.*widen it"):
        sn.fit_scaling_law(runs, LAW, y="loss", bounds={"alpha": (0.5, 1.0)}, interval="none", strict=True)
    with pytest.raises(sn.OptionError, match="takes logarithms, and the lowest value of loss is -1"):
        sn.fit_scaling_law(runs.with_columns(loss=pl.lit(-1.0)), LAW, y="loss")
    with pytest.raises(sn.OptionError, match="needs a sum of squares"):
        sn.fit_scaling_law(runs, LAW, y="loss", interval="profile")
    with pytest.raises(sn.OptionError, match="at: there is no 'tokens'"):
        sn.predict(runs, LAW, y="loss", at={"params": 7e9})
    with pytest.raises(sn.OptionError, match="say which column it is"):
        sn.fit_scaling_law(runs, "power_law", y="loss")


def test_score_tables_are_fitted_task_by_task() -> None:
    """Bits per byte of two tasks at three sizes and many checkpoints."""
    scores = sn.example_scores()
    with pytest.warns(sn.DroppedRowsWarning, match="several checkpoints"):
        fit = sn.fit_scaling_law(scores, "pure_power_law", x="flops", y="bits_per_byte", interval="none")
    assert fit.columns[:2] == ["task", "metric"]
    assert fit["metric"].unique().to_list() == ["bits_per_byte"]
    assert fit["task"].n_unique() == scores.filter(metric="bits_per_byte")["task"].n_unique()


# --- command line --------------------------------------------------------------------------------------


@pytest.fixture
def table(runs: pl.DataFrame, tmp_path: Path) -> str:
    path = tmp_path / "runs.csv"
    runs.write_csv(path)
    return str(path)


def test_fit_is_the_verb(runs: pl.DataFrame, table: str) -> None:
    result = run(
        "fit",
        table,
        "--law",
        LAW,
        "--x",
        "params,tokens",
        "--y",
        "loss",
        "--n-resamples",
        "50",
        "--json",
    )
    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout)
    expected = sn.fit_scaling_law(table, LAW, x=("params", "tokens"), y="loss", n_resamples=50).to_dicts()
    assert rows == expected
    assert [row["parameter"] for row in rows] == ["A", "B", "alpha", "beta", "E"]
    contract = {
        "law",
        "parameter",
        "estimate",
        "low",
        "high",
        "at_bound",
        "objective",
        "n_points",
        "n_starts",
    }
    assert contract | {"n_starts_agree", "status"} <= set(rows[0])


def test_predictions_stand_beside_the_fit(table: str, tmp_path: Path) -> None:
    out = tmp_path / "fit.json"
    result = run(
        "fit",
        table,
        "--y",
        "loss",
        "--interval",
        "none",
        "--predict",
        "params=7B,tokens=4e12",
        "-o",
        str(out),
    )
    assert result.exit_code == 0, result.output
    rows = json.loads(out.read_text())
    assert [row["row"] for row in rows] == ["parameter"] * 5 + ["prediction"]
    last = rows[-1]
    assert last["params"] == 7e9
    assert last["predicted"] == pytest.approx(chinchilla(np.array(7e9), np.array(4e12)), rel=0.02)
    text = run(
        "fit", table, "--law", LAW, "--y", "loss", "--interval", "none", "--predict", "params=7e9,tokens=4e12"
    )
    assert text.exit_code == 0
    assert "predicted" in text.stdout
    assert "alpha" in text.stdout


def test_options_that_are_wrong(table: str) -> None:
    for arguments, message in (
        (["--predict", "params"], "NAME=NUMBER"),
        (["--predict", "params=many"], "is no number"),
        (["--bounds", "alpha=1"], "NAME=LOW:HIGH"),
        (["--interval", "magic"], "is not one of"),
    ):
        result = run("fit", table, "--law", LAW, "--y", "loss", *arguments)
        assert result.exit_code == 2
        assert message in result.output
    result = run("fit", table, "--y", "loss", "--law", "chinchila")
    assert result.exit_code == 1
    assert "did you mean" in result.output


def test_bounds_from_the_command_line(table: str) -> None:
    result = run(
        "fit", table, "--law", LAW, "--y", "loss", "--bounds", "alpha=0.5:", "--interval", "none", "--json"
    )
    assert result.exit_code == 0, result.output
    rows = {row["parameter"]: row for row in json.loads(result.stdout)}
    assert rows["alpha"]["estimate"] == 0.5
    assert rows["alpha"]["at_bound"] is True


def test_laws_are_listed() -> None:
    result = run("laws", "--json")
    assert result.exit_code == 0, result.output
    rows = {row["law"]: row for row in json.loads(result.stdout)}
    assert rows["chinchilla"]["n_starts"] == 4500
    assert {law.name for law in LAWS} <= set(rows)
    assert all(rows[law.name]["source"] and rows[law.name]["question"] for law in LAWS)


@pytest.mark.filterwarnings("ignore::signoise.DroppedRowsWarning")
def test_a_flat_bottom_is_told() -> None:
    """Two recipes at each size, one above the other: all curves between them have one sum of absolute residuals."""
    flops = np.geomspace(1e18, 1e21, 5)
    curve = 1.0 - 9.0 * flops**-0.08
    recipes = {"a": curve, "b": 0.9 * curve}
    rows = [
        {"run": f"{r}{i}", "flops": c, "acc": y}
        for r, ys in recipes.items()
        for i, (c, y) in enumerate(zip(flops, ys, strict=True))
    ]
    options = {"y": "acc", "interval": "none"}
    both = sn.fit_scaling_law(pl.DataFrame(rows), "ladder_accuracy_flops", **options)  # type: ignore[arg-type]
    assert "not_unique" in both["flags"][0]
    squares = sn.fit_scaling_law(pl.DataFrame(rows), "ladder_accuracy_flops", objective="lsq", **options)  # type: ignore[arg-type]
    assert "not_unique" not in squares["flags"][0]
    one = sn.fit_scaling_law(pl.DataFrame(rows[:5]), "ladder_accuracy_flops", **options)  # type: ignore[arg-type]
    assert "not_unique" not in one["flags"][0]
