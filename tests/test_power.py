"""Power: published values, statsmodels, inversion in every direction, and simulation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.power import normal_power

import signoise as sn
from signoise._cli import main
from signoise._power import detectable


def one(**options: Any) -> dict[str, Any]:
    table = sn.power(**options)
    assert table.height == 1
    return table.row(0, named=True)


def test_published_values() -> None:
    # Miller 2024, section 5
    assert one(mde=0.03, variance_items=1 / 9)["n"] == 969
    assert one(mde=0.03, variance_items=1 / 9, variance_samples=1 / 6)["n"] == 3876
    assert one(n=198, variance_items=1 / 9)["mde"] == pytest.approx(0.06637, abs=5e-6)
    assert one(n=164, p=0.5, design="unpaired")["mde"] == pytest.approx(0.15469, abs=5e-6)


def test_power_equals_statsmodels() -> None:
    # statsmodels adds the rejections on the wrong side: below 1e-6 here
    for n, mde in ((300, 0.1), (1000, 0.05)):
        found = one(n=n, mde=mde, variance_items=0.25)["power"]
        expected = normal_power(mde / 0.5, n, 0.05, alternative="two-sided")
        assert found == pytest.approx(expected, abs=1e-6)


@given(
    st.integers(10, 100_000),
    st.floats(0.01, 1.0),
    st.floats(0.001, 0.3),
    st.integers(1, 8),
    st.floats(0.1, 0.99),
)
def test_every_direction_inverts_the_others(
    n: int, items: float, noise: float, samples: int, goal: float
) -> None:
    common: dict[str, Any] = {"variance_items": items, "variance_samples": noise, "design_effect": 1.7}
    mde = one(n=n, power=goal, samples=samples, **common)["mde"]
    assert one(mde=mde, power=goal, samples=samples, **common)["n"] == n
    assert one(n=n, mde=mde, samples=samples, **common)["power"] == pytest.approx(goal, rel=1e-9)
    solved = one(n=n, mde=mde, power=goal, **common)
    assert solved["samples_a"] == solved["samples_b"] == samples
    assert solved["solved_for"] == "samples"


def test_seeds_and_checkpoints_that_no_instances_can_replace() -> None:
    settings: dict[str, Any] = {"mde": 0.02, "variance_items": 0.1, "variance_seed": 1e-4}
    hopeless = one(**settings)
    assert (hopeless["status"], hopeless["n"], hopeless["stderr"]) == ("unreachable", None, None)
    reached = one(**settings, seeds=8)
    assert reached["status"] == "ok"
    assert reached["stderr"] ** 2 == pytest.approx(0.1 / reached["n"] + 2e-4 / 8)
    step = one(n=1000, variance_items=0.1, variance_step=3e-4, checkpoints=3, seeds=2)
    assert step["stderr"] ** 2 == pytest.approx(1e-4 + 1e-4)
    # more generations cannot beat the variance between instances either
    assert (
        one(n=100, mde=0.02, power=0.8, variance_items=0.1, variance_samples=0.2)["status"] == "unreachable"
    )


def test_binary_scores() -> None:
    paired = one(n=200, p=(0.6, 0.7), correlation=0.5)
    by_hand = 0.24 + 0.21 - 2 * 0.5 * np.sqrt(0.24 * 0.21)
    assert paired["variance_items"] == pytest.approx(by_hand)
    assert paired["stderr"] ** 2 == pytest.approx(by_hand / 200)
    unrelated = one(n=200, p=(0.6, 0.7), correlation=0.0)
    assert unrelated["stderr"] == pytest.approx(one(n=200, p=(0.6, 0.7), design="unpaired")["stderr"])
    split = one(n=200, p=0.5, correlation=0.2, variance_samples=0.1, samples=4)
    assert split["variance_items"] == pytest.approx(0.5 - 0.1 - 0.2)
    assert split["stderr"] ** 2 == pytest.approx((0.2 + 2 * 0.1 / 4) / 200)


def test_lists_make_a_grid() -> None:
    table = sn.power(n=[100, 400], mde=[0.1, 0.05, 0.02], variance_items=0.2, samples=[1, 2])
    assert table.height == 12
    assert table["n"].to_list() == [100] * 6 + [400] * 6
    assert table.filter(pl.col("n") == 400)["power"].min() > 0.0  # type: ignore[operator]
    different = one(n=100, variance_items=0.2, variance_samples=(0.1, 0.3), samples=2, samples_b=6)
    assert different["stderr"] ** 2 == pytest.approx((0.2 + 0.05 + 0.05) / 100)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "give n"),
        ({"power": 0.8, "variance_items": 1.0}, "give n"),
        ({"n": 10}, "either variance_items, or p"),
        ({"n": 10, "p": 0.5, "variance_items": 0.2}, "either variance_items, or p"),
        ({"n": 10, "mde": 0.1, "power": 0.8, "samples": 2, "variance_items": 0.2}, "leave out the one"),
        ({"n": 10, "mde": 0.1, "power": 0.8, "samples_b": 2, "variance_items": 0.2}, "leave out the one"),
        ({"n": 10, "p": 0.5}, "need correlation"),
        ({"n": 10, "p": 1.5, "correlation": 0.1}, "must be a probability"),
        ({"n": 10, "p": 0.5, "correlation": 2.0}, "between -1 and 1"),
        ({"n": 10, "p": 0.5, "correlation": 0.1, "design": "unpaired"}, "share no instances"),
        ({"n": 10, "p": 0.5, "correlation": 0.9, "variance_samples": 0.2}, "leaves no room"),
        ({"n": 10, "p": 0.5, "correlation": 0.0, "variance_samples": 0.3}, "more than the whole variance"),
        ({"n": 10, "variance_items": 0.2, "correlation": 0.3}, "goes with p"),
        ({"n": 10, "variance_items": (0.2, 0.2)}, "one number, the variance of the differences"),
        ({"n": 10, "variance_items": -1.0}, "at least 0"),
        ({"n": 10.5, "variance_items": 0.2}, "n must be a whole number"),
        ({"n": 10, "power": 0.01, "variance_items": 0.2}, "power must be between 0.025"),
        ({"mde": 0.0, "variance_items": 0.2}, "mde must be a positive"),
        ({"n": 10, "variance_items": 0.2, "design_effect": 0.5}, "design_effect must be"),
        ({"n": [], "variance_items": 0.2}, "empty list"),
        ({"n": "ten", "variance_items": 0.2}, "a number or a list"),
    ],
)
def test_wrong_options_are_told(options: dict[str, Any], message: str) -> None:
    with pytest.raises(sn.OptionError, match=message):
        sn.power(**options)


def test_simulated_power() -> None:
    rng = np.random.default_rng(4)
    n, mde = 150, 0.06
    expected = one(n=n, mde=mde, variance_items=0.05, variance_samples=0.1, samples=2)["power"]
    d = mde + rng.normal(0, np.sqrt(0.05), (4000, n))
    d += rng.normal(0, np.sqrt(0.1), (4000, n, 2)).mean(axis=2) - rng.normal(
        0, np.sqrt(0.1), (4000, n, 2)
    ).mean(axis=2)
    z = d.mean(axis=1) / (d.std(axis=1, ddof=1) / np.sqrt(n))
    assert np.mean(np.abs(z) > 1.96) == pytest.approx(expected, abs=0.025)


def test_detectable_difference_of_a_standard_error() -> None:
    np.testing.assert_allclose(detectable(np.array([np.sqrt(1 / 9 / 198)])), 0.06637, atol=5e-6)


def run(*arguments: str) -> Any:
    return CliRunner().invoke(main, ["power", *arguments])


def test_command_line(tmp_path: Path) -> None:
    done = run("--mde", "0.03", "--variance-items", "0.11111", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)[0]["n"] == 969
    path = tmp_path / "grid.csv"
    done = run("--n", "100,200", "--p", "0.6,0.7", "--correlation", "0.5", "-o", str(path))
    assert done.exit_code == 0, done.output
    assert pl.read_csv(path)["n"].to_list() == [100, 200]
    assert run("--mde", "0.03").exit_code == 1
    assert run("--mde", "three").exit_code == 2
