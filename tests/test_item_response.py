"""The verb `item_response`: the maximum of the definition, planted truth, undefined cases, what must not matter."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from scipy import optimize, special

import signoise as sn
import signoise._core as core

NONE = {"discrimination_sd": np.inf, "difficulty_sd": np.inf}


def simulated(seed: int, runs: int, items: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Answers, abilities, discriminations, difficulties."""
    rng = np.random.default_rng(seed)
    theta, a, b = rng.normal(size=runs), np.exp(rng.normal(0, 0.3, items)), rng.normal(size=items)
    right = rng.random((runs, items)) < special.expit(a * (theta[:, None] - b))
    return right.astype(float), theta, a, b


def table(x: np.ndarray) -> pl.DataFrame:
    """Runs x instances; a NaN is no row."""
    run, item = np.indices(x.shape)
    frame = pl.DataFrame(
        {
            "run": [f"r{r:03}" for r in run.ravel()],
            "instance_id": [f"i{i:03}" for i in item.ravel()],
            "value": x.ravel(),
        }
    ).with_columns(task=pl.lit("t"), metric=pl.lit("acc"))
    return frame.filter(pl.col("value").is_not_nan())


def fit(x: np.ndarray, **options: object) -> dict[str, np.ndarray]:
    there = ~np.isnan(x)
    packed = [np.packbits(part, bitorder="little") for part in (x == 1, there)]
    return core.fit_item_response(packed[0], None if there.all() else packed[1], *x.shape, **options)


def log_posterior(a: np.ndarray, b: np.ndarray, x: np.ndarray, priors: bool) -> float:
    """The objective of the model written out, with its best scale and centre of the priors."""
    theta, weights = np.polynomial.hermite_e.hermegauss(101)
    eta = a * (theta[:, None] - b)
    per_run = np.where(np.isnan(x), 0.0, x) @ eta.T - (~np.isnan(x)).astype(float) @ np.logaddexp(0, eta).T
    value = float(special.logsumexp(per_run, axis=1, b=weights / np.sqrt(2 * np.pi)).sum())

    def penalty(at: np.ndarray) -> float:
        t, m = at
        if np.ptp(a) == 0:  # a 1PL, whose s is a
            t = np.log(a[0])
        items = ((np.log(a) - t) ** 2).sum() / 0.25 + ((np.exp(t) * b + m) ** 2).sum() / 4
        return float(items + t**2 / 1.0 + m**2 / 16) / 2

    return value - (optimize.minimize(penalty, np.zeros(2), tol=1e-12).fun if priors else 0.0)


@pytest.mark.parametrize("priors", [True, False])
@pytest.mark.parametrize("common", [True, False])
def test_no_other_parameters_are_more_likely(priors: bool, common: bool) -> None:
    x = simulated(0, 60 if priors else 300, 5)[0]
    x[:7, 2] = np.nan
    found = fit(x, common=common, tolerance=1e-8, **({} if priors else NONE))
    slopes = 1 if common else 5
    start = np.append(np.log(found["discrimination"][:slopes]), found["difficulty"])

    def cost(at: np.ndarray) -> float:
        return -log_posterior(np.broadcast_to(np.exp(at[:slopes]), 5), at[slopes:], x, priors)

    best = cost(start)
    for direction in np.eye(len(start)):
        ahead, behind = cost(start + 1e-3 * direction), cost(start - 1e-3 * direction)
        assert (ahead - behind) / 2e-3 == pytest.approx(0, abs=2e-4)
        assert ahead + behind > 2 * best
    if not priors:
        assert found["log_likelihood"] == pytest.approx(-best, abs=1e-6)


def test_girth_finds_the_same() -> None:
    # girth 0.8.0: `girth.twopl_mml(simulated(2, 500, 8)[0].astype(int).T)`, rounded.
    x = simulated(2, 500, 8)[0]
    found = fit(x, **NONE)
    np.testing.assert_allclose(found["discrimination"], GIRTH["discrimination"], atol=0.002)
    np.testing.assert_allclose(found["difficulty"], GIRTH["difficulty"], atol=0.002)


GIRTH = {
    "discrimination": [0.9574, 0.8896, 0.7522, 0.6672, 1.6577, 0.9848, 1.2545, 1.3297],
    "difficulty": [-0.5052, 0.6209, -0.3247, -0.7654, -1.0158, 0.906, -0.4657, -0.3168],
}


def test_planted_truth_is_found_and_standard_errors_hold_it() -> None:
    inside, z, abilities = [], [], []
    for seed in range(8):
        x, theta, a, b = simulated(seed, 400, 20)
        found = fit(x, **NONE)
        for name, truth in (("discrimination", a), ("difficulty", b)):
            error = (found[name] - truth) / found[f"{name}_stderr"]
            inside.append((np.abs(error) < 1.96).mean())
            z.append(error)
        abilities.append((np.abs(found["ability"] - theta) < 1.96 * found["ability_sd"]).mean())
    assert np.mean(inside) == pytest.approx(0.95, abs=0.035)
    assert np.median(np.concatenate(z)) == pytest.approx(0, abs=0.15)
    assert np.mean(abilities) == pytest.approx(0.95, abs=0.02)


def test_priors_float_with_the_items() -> None:
    """Thousands of easy, steep items do not move the abilities of few runs from mean 0 and deviation 1."""
    rng = np.random.default_rng(3)
    theta = rng.normal(size=12)
    theta = (theta - theta.mean()) / theta.std()
    odds = 2 * (theta[:, None] - rng.normal(-1.5, 1, 3000))
    found = fit((rng.random((12, 3000)) < special.expit(odds)).astype(float))
    assert found["converged"]
    assert found["ability"].mean() == pytest.approx(0, abs=0.1)
    assert found["ability"].std() == pytest.approx(1, abs=0.1)
    np.testing.assert_allclose(found["ability"], theta, atol=0.2)
    assert np.mean(found["difficulty"]) == pytest.approx(-1.5, abs=0.3)


def test_everybody_right_or_wrong() -> None:
    x = simulated(4, 40, 10)[0]
    x[:, 0], x[:, 1], x[0], x[1] = 1, 0, 1, 0
    x[0, 1], x[1, 0] = 0, 1
    weak = sn.item_response(table(x))
    assert weak["status"].unique().to_list() == ["ok"]
    assert weak["difficulty"][0] < weak["difficulty"][2:].min()  # type: ignore[operator]
    assert weak["difficulty"][1] > weak["difficulty"][2:].max()  # type: ignore[operator]
    runs = sn.item_response(table(x), per="run")
    assert runs["ability"].arg_max() == 0
    assert runs["ability"].arg_min() == 1
    none = sn.item_response(table(x), priors="none", model="1pl")
    assert none["status"].to_list()[:3] == ["constant", "constant", "ok"]
    assert none["difficulty"].is_null().to_list()[:3] == [True, True, False]
    expected = sn.item_response(table(x), priors="none", model="1pl", per="run")["expected_score"]
    assert expected.is_between(0.1, 0.9).all()  # one of ten is always right, one never


def test_an_item_that_divides_the_runs_cleanly_has_no_maximum() -> None:
    x = simulated(5, 200, 12)[0]
    x[:, 0] = x[:, 1:].sum(axis=1) > 5
    found = sn.item_response(table(x), priors="none")
    assert found.row(0, named=True)["status"] in {"at_bound", "not_converged"}
    assert found["discrimination"][0] is None
    assert sn.item_response(table(x))["discrimination"][0] > 1.5


def test_missing_answers_say_nothing() -> None:
    x = simulated(6, 300, 15)[0]
    rng = np.random.default_rng(0)
    gaps = np.where(rng.random(x.shape) < 0.3, np.nan, x)
    full, part = (sn.item_response(table(y)) for y in (x, gaps))
    assert part["n_runs"].to_list() == (~np.isnan(gaps)).sum(axis=0).tolist()
    apart = (full["difficulty"] - part["difficulty"]).abs() / part["difficulty_stderr"]
    assert apart.max() < 3  # type: ignore[operator]
    assert (part["difficulty_stderr"] > full["difficulty_stderr"]).mean() > 0.8  # type: ignore[operator]
    runs = sn.item_response(table(gaps), per="run")
    assert runs["n_items"].to_list() == (~np.isnan(gaps)).sum(axis=1).tolist()


@pytest.mark.parametrize("shape", [(2, 5), (2, 1), (9, 1)])
@pytest.mark.parametrize("model", ["1pl", "2pl"])
def test_few_runs_and_items_stay_finite(shape: tuple[int, int], model: str) -> None:
    x = np.indices(shape).sum(axis=0) % 2 * 1.0
    for per in ("item", "run"):
        found = sn.item_response(table(x), model=model, per=per)  # type: ignore[arg-type]
        assert found["status"].unique().to_list() == ["ok"]
        assert found["flags"][0].to_list() == ["few_members"]
        name = "difficulty" if per == "item" else "ability"
        assert found[name].abs().max() < 3  # type: ignore[operator]
    alone = sn.item_response(table(x[:1]), model=model)  # type: ignore[arg-type]
    assert alone["status"].unique().to_list() == ["too_few"]
    assert alone["difficulty"].null_count() == shape[1]


def test_order_of_rows_and_columns_does_not_matter() -> None:
    x = simulated(7, 30, 40)[0]
    frame = pl.concat([table(x[:15, :12]), table(simulated(8, 12, 10)[0]).with_columns(task=pl.lit("u"))])
    for per in ("item", "run"):
        found = sn.item_response(frame, per=per)  # type: ignore[arg-type]
        shuffled = frame.sample(fraction=1.0, shuffle=True, seed=1)
        assert found.equals(sn.item_response(shuffled, per=per, threads=1))  # type: ignore[arg-type]
        alone = sn.item_response(frame.filter(task="u"), per=per)  # type: ignore[arg-type]
        assert alone.equals(found.filter(task="u"))
        assert_frame_equal(sn.reference.item_response(frame, per=per), found, rel_tol=1e-4, abs_tol=1e-4)
    columns, rows = np.random.default_rng(0).permutation(40), np.random.default_rng(1).permutation(30)
    found, moved, turned = (fit(y) for y in (x, x[:, columns], x[rows]))
    np.testing.assert_array_equal(moved["difficulty"], found["difficulty"][columns])
    np.testing.assert_array_equal(moved["ability"], found["ability"])
    np.testing.assert_allclose(turned["difficulty"], found["difficulty"], rtol=1e-9)
    np.testing.assert_allclose(turned["ability"], found["ability"][rows], rtol=1e-9)


def test_right_and_wrong_exchanged_turn_the_scale() -> None:
    x = simulated(9, 80, 12)[0]
    found, mirrored = fit(x, tolerance=1e-8), fit(1 - x, tolerance=1e-8)
    np.testing.assert_allclose(mirrored["ability"], -found["ability"], atol=1e-6)
    np.testing.assert_allclose(mirrored["difficulty"], -found["difficulty"], atol=1e-5)
    np.testing.assert_allclose(mirrored["discrimination"], found["discrimination"], rtol=1e-5)


def test_narrow_posteriors_do_not_snap_to_nodes() -> None:
    """With 2,000 items an ability is known to 0.05: as many distinct ones as runs, and right on average."""
    x, theta, a, b = simulated(10, 60, 2000)
    found = core.item_abilities(np.packbits(x == 1, bitorder="little"), None, *x.shape, a, b)
    assert len(np.unique(np.round(found["ability"], 4))) == 60
    z = (found["ability"] - theta) / found["ability_sd"]
    assert np.abs(z).max() < 4
    assert z.std() == pytest.approx(1, abs=0.25)
    fitted = fit(x)["ability"]
    line = np.polyfit(found["ability"], fitted, 1)
    np.testing.assert_allclose(np.polyval(line, found["ability"]), fitted, atol=0.08)


def test_stores_and_errors(tmp_path) -> None:
    x = simulated(11, 12, 20)[0]
    frame = table(x).with_columns(step=pl.lit(1), metric=pl.lit("acc"))
    older = frame.with_columns(step=pl.lit(0), value=1 - pl.col("value"))
    both = pl.concat([older, frame])
    found = sn.item_response(both)
    assert found.drop("signature").equals(sn.item_response(frame).drop("signature"))
    path = tmp_path / "scores.parquet"
    both.write_parquet(path)
    sn.ingest(path, tmp_path / "store")
    assert_frame_equal(sn.item_response(sn.open_store(tmp_path / "store")), found)
    with pytest.raises(
        sn.SchemaError, match=r"scores that are 0 or 1, got 0\.5 for instance 'i000' of task=t"
    ):
        sn.item_response(frame.with_columns(value=pl.lit(0.5)))
    with pytest.raises(sn.SchemaError, match="item_response works on instances"):
        sn.item_response(sn.example_scores())
    with pytest.raises(sn.OptionError, match="model must be one of"):
        sn.item_response(frame, model="3pl")  # type: ignore[arg-type]
    with pytest.raises(sn.InsufficientDataError, match="not_converged"):
        sn.item_response(frame, max_iterations=1, strict=True)
    with pytest.raises(sn.OptionError, match="difficulty_sd"):
        fit(x, difficulty_sd=np.inf)


def test_a_run_without_any_score_is_listed() -> None:
    x = simulated(12, 12, 10)[0]
    frame = table(x).with_columns(value=pl.when(pl.col("run") == "r003").then(None).otherwise("value"))
    found = sn.item_response(frame, per="run")
    row = found.filter(run="r003").row(0, named=True)
    assert (row["n_items"], row["ability"], row["status"], row["flags"]) == (
        0,
        None,
        "too_few",
        ["missing_values"],
    )
    assert found.filter(status="ok").height == 11
