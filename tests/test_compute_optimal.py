"""How a law splits compute: closed form, search, intervals, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest

import signoise as sn
from signoise import Law, Parameter
from signoise._laws._law import find_law

HOFFMANN = {"A": 406.4, "B": 410.7, "alpha": 0.34, "beta": 0.28, "E": 1.69}
BUDGET = 5.76e23


@pytest.fixture(scope="module")
def runs() -> pl.DataFrame:
    params = np.repeat(np.geomspace(5e7, 2e9, 6), 4)
    tokens = params * np.tile([5.0, 20.0, 80.0, 320.0], 6)
    noise = np.random.default_rng(3).normal(0, 0.003, len(params))
    loss = (1.8 + 480 * params**-0.35 + 2100 * tokens**-0.37) * np.exp(noise)
    return pl.DataFrame({"params": params, "tokens": tokens, "loss": loss})


def spelled_differently() -> Law:
    """The same form where the closed one is not recognised."""
    formula = "E + A * exp(-alpha * log(params)) + B * exp(-beta * log(tokens))"
    return replace(find_law("chinchilla"), name="other", formula=formula)


def test_published_coefficients(oracle: Any) -> None:
    want = oracle("chinchilla_refit")
    out = sn.compute_optimal(parameters={name: want[name] for name in HOFFMANN}, flops=BUDGET)
    row = out.row(0, named=True)
    assert row["params"] == pytest.approx(73190437432.2, rel=1e-9)
    assert row["exponent"] == pytest.approx(0.513899514119, rel=1e-9)
    assert row["params"] == pytest.approx(0.113207792722 * (BUDGET / 6) ** row["exponent"], rel=1e-9)
    assert row["tokens"] == pytest.approx(BUDGET / 6 / row["params"], rel=1e-12)
    assert row["status"] == "ok"
    assert row["params_low"] is None
    assert row["extrapolation"] is None


def test_hoffmann_and_its_replication_disagree_about_chinchilla() -> None:
    """Known from 2404.10102: the published coefficients want 90 tokens a parameter, the replication 20."""
    theirs = sn.compute_optimal(parameters=HOFFMANN, flops=BUDGET)
    epoch = {"A": 482.01, "B": 2085.43, "alpha": 0.3478, "beta": 0.3658, "E": 1.8172}
    again = sn.compute_optimal(parameters=epoch, flops=BUDGET)
    assert theirs["tokens_per_param"].item() == pytest.approx(92.6, abs=0.1)
    assert again["tokens_per_param"].item() == pytest.approx(18.3, abs=0.3)
    assert theirs["exponent"].item() == pytest.approx(0.28 / 0.62, rel=1e-12)


def test_the_search_finds_the_closed_form() -> None:
    budgets = [1e18, 1e21, BUDGET]
    closed = sn.compute_optimal(parameters=HOFFMANN, flops=budgets)
    found = sn.compute_optimal(law=spelled_differently(), parameters=HOFFMANN, flops=budgets)
    for name in ("params", "tokens", "tokens_per_param"):
        assert found[name].to_list() == pytest.approx(closed[name].to_list(), rel=1e-6)
    assert found["predicted"].to_list() == pytest.approx(closed["predicted"].to_list(), rel=1e-13)
    assert found["exponent"].to_list() == pytest.approx(closed["exponent"].to_list(), rel=1e-5)


def test_replicates_of_the_search_are_those_of_the_closed_form(runs: pl.DataFrame) -> None:
    few = {"bounds": {"E": (1.8, 1.8)}, "n_resamples": 40, "y": "loss", "flops": 1e22}
    start = replace(
        find_law("chinchilla"),
        parameters=tuple(replace(p, starts=p.starts[1:3]) for p in find_law("chinchilla").parameters),
    )
    closed = sn.compute_optimal(runs, start, **few).row(0, named=True)
    formula = spelled_differently().formula
    found = sn.compute_optimal(runs, replace(start, formula=formula), **few).row(0, named=True)
    for name in ("params", "tokens", "predicted", "exponent"):
        for end in ("", "_low", "_high"):
            assert found[name + end] == pytest.approx(closed[name + end], rel=1e-4), name + end


def test_intervals_hold_the_planted_split(runs: pl.DataFrame) -> None:
    out = sn.compute_optimal(runs, "hitchhiker", y="loss", flops=[1e21, 1e22], n_resamples=200)
    g = (0.35 * 480 / (0.37 * 2100)) ** (1 / 0.72)
    for row in out.iter_rows(named=True):
        truth = g * (row["flops"] / 6) ** (0.37 / 0.72)
        assert row["params_low"] < truth < row["params_high"]
        assert row["tokens_low"] < row["flops"] / 6 / truth < row["tokens_high"]
        assert row["exponent_low"] < 0.37 / 0.72 < row["exponent_high"]
        assert row["predicted_low"] < row["predicted"] < row["predicted_high"]
        assert row["status"] == "ok"
    assert out["extrapolation"].to_list() == pytest.approx((out["params"] / 2e9).to_list())


def test_accuracies_are_to_be_high() -> None:
    law = Law(
        "accuracy_of_both",
        "c - a * params**-0.3 - b * tokens**-0.3",
        {"params": "N", "tokens": "D"},
        (Parameter("a", (1.0,)), Parameter("b", (1.0,)), Parameter("c", (1.0,))),
        y="accuracy",
    )
    out = sn.compute_optimal(law=law, parameters={"a": 50.0, "b": 50.0, "c": 0.9}, flops=6e20)
    assert out["params"].item() == pytest.approx(1e10, rel=1e-5)
    assert out["tokens_per_param"].item() == pytest.approx(1, rel=1e-5)


@pytest.mark.parametrize("law", ["chinchilla", spelled_differently()], ids=["closed", "search"])
def test_no_split_is_best_where_parameters_never_pay(law: Any) -> None:
    out = sn.compute_optimal(law=law, parameters={**HOFFMANN, "alpha": -0.1}, flops=[1e20, 1e21])
    assert out["status"].to_list() == ["no_optimum"] * 2
    assert out["params"].to_list() == [None, None]
    assert out["predicted"].to_list() == [None, None]


def test_groups_stand_apart(runs: pl.DataFrame) -> None:
    both = pl.concat(
        [runs.with_columns(mix=pl.lit("a")), runs.with_columns(pl.col("loss") + 1, mix=pl.lit("b"))]
    )
    out = sn.compute_optimal(both, "hitchhiker", y="loss", by="mix", flops=1e21, n_resamples=20)
    assert out["mix"].to_list() == ["a", "b"]
    alone = sn.compute_optimal(
        both.filter(mix="a"), "hitchhiker", y="loss", by="mix", flops=1e21, n_resamples=20
    )
    assert alone.row(0) == out.row(0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"flops": 1e21}, "needs scores to fit, or parameters"),
        ({"flops": 0.0, "parameters": HOFFMANN}, "flops must be a budget above 0"),
        ({"flops": [], "parameters": HOFFMANN}, "flops must be a budget above 0"),
        ({"flops": 1e21, "parameters": {"A": 1.0}}, "needs B, alpha, beta, E too"),
        ({"flops": 1e21, "parameters": {**HOFFMANN, "alfa": 1.0}}, "has no 'alfa'.*alpha"),
        (
            {"flops": 1e21, "law": "power_law", "parameters": {}},
            "'power_law' is of x: a split of compute needs",
        ),
        ({"flops": 1e21, "law": "lr_annealing", "parameters": {}}, "is of step, learning_rate"),
    ],
)
def test_what_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(sn.OptionError, match=message):
        sn.compute_optimal(**arguments)


def test_scores_and_parameters_exclude_each_other(runs: pl.DataFrame) -> None:
    with pytest.raises(sn.OptionError, match="exclude each other"):
        sn.compute_optimal(runs, flops=1e21, parameters=HOFFMANN)
