"""Shapes of scaling: two lines by hand and by SciPy, vertices, planted shapes, and monotone curves that only bend."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy import stats

import signoise as sn
from bench_modules import bench_module
from signoise._errors import DroppedRowsWarning, InsufficientDataError, SchemaError
from signoise._laws._two_lines import two_lines, vertex

study = bench_module("study_shape")


def table(y: list[float], name: str = "acc") -> pl.DataFrame:
    return pl.DataFrame({"flops": [1e18 * 4.0**at for at in range(len(y))], name: y})


def only(found: pl.DataFrame) -> dict[str, Any]:
    assert found.height == 1
    return found.row(0, named=True)


def shape(y: list[float], name: str = "acc", **options: Any) -> dict[str, Any]:
    return only(sn.scaling_shape(table(y, name), y=name, compare=False, **options))


# --- pieces ----------------------------------------------------------------------------------------------------


def test_two_lines_are_least_squares_at_the_best_place() -> None:
    rng = np.random.default_rng(0)
    x = np.linspace(0, 1, 15) ** 1.2
    y = np.abs(x - 0.4) + 0.02 * rng.standard_normal(15)
    found = two_lines(x, y)
    assert found is not None

    def squares(turn: float) -> float:
        basis = np.stack([np.ones(15), np.minimum(x - turn, 0), np.maximum(x - turn, 0)], axis=1)
        return float(np.sum((y - basis @ np.linalg.pinv(basis) @ y) ** 2))

    assert found.turn == min(x[3:-3], key=squares)
    assert (found.before, found.after) == pytest.approx((-1, 1), abs=0.2)
    ways = [
        stats.t.cdf(found.before / found.before_error, 12),
        stats.t.sf(found.after / found.after_error, 12),
    ]
    assert found.p_value == pytest.approx(2 * max(ways), rel=1e-6)
    assert two_lines(x, -y).p_value == pytest.approx(found.p_value)  # type: ignore[union-attr]
    assert two_lines(x[:6], y[:6]) is None


def test_the_vertex_and_its_limits() -> None:
    rng = np.random.default_rng(1)
    x, held = np.linspace(-1, 1, 12), 0
    quantile = float(stats.t.ppf(0.975, 9))
    for _ in range(400):
        place, low, high = vertex(x, (x - 0.2) ** 2 + 0.1 * rng.standard_normal(12), quantile)
        held += low <= 0.2 <= high
        assert low <= place <= high
    assert 0.92 <= held / 400 <= 0.98
    assert vertex(x, x + 0.1 * (-1.0) ** np.arange(12), quantile)[1:] == (-np.inf, np.inf)


# --- planted shapes --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("curve", "expected"),
    [("straight", "improving"), ("U", "u_shaped"), ("inverted U", "inverted_u"), ("levels off", "improving")],
)
def test_planted_shapes(curve: str, expected: str) -> None:
    scores = study.simulated(curve, 16, 0.03, 20)
    found = sn.scaling_shape(scores, y="acc", by="table", compare=False)
    assert found["shape"].value_counts(sort=True).row(0)[0] == expected
    assert found.filter(shape=expected).height >= 18
    # Of losses everything is the other way round.
    losses = sn.scaling_shape(scores.rename({"acc": "loss"}), y="loss", by="table", compare=False)
    turned = {"improving": "inverse", "u_shaped": "inverted_u", "inverted_u": "u_shaped"}
    assert losses["shape"].to_list() == [turned.get(word, word) for word in found["shape"]]
    assert losses["turn_p_value"].to_list() == pytest.approx(found["turn_p_value"].to_list())


@pytest.mark.parametrize("curve", ["flat", "levels off", "rises late", "early step"])
def test_bends_are_no_turns(curve: str) -> None:
    found = sn.scaling_shape(study.simulated(curve, 12, 0.05, 200), y="acc", by="table", compare=False)
    # At most .05: .09 is beyond it by two standard errors and more.
    assert (found["turn_p_value"] <= 0.05).mean() <= 0.09


def test_numbers_of_a_planted_turn() -> None:
    rng = np.random.default_rng(3)
    place = np.arange(12)
    scores = table((0.2 + 0.01 * (place - 4) ** 2 + 0.004 * rng.standard_normal(12)).tolist())
    found = only(sn.scaling_shape(scores, y="acc"))
    assert (found["shape"], found["best"]) == ("u_shaped", "quadratic")
    assert np.log(found["vertex"] / 1e18) / np.log(4) == pytest.approx(4, abs=0.3)
    assert found["vertex_low"] < 1e18 * 4.0**4 < found["vertex_high"]
    assert found["before_high"] < 0 < found["after_low"]
    assert found["aicc_quadratic"] < found["aicc_linear"]
    fit = sn.fit_scaling_law(
        table((0.2 + 0.01 * (place - 4) ** 2).tolist()), "u_shape", x="flops", y="acc", interval="none"
    )
    assert np.log(fit.filter(parameter="vertex")["estimate"].item() / 1e18) / np.log(4) == pytest.approx(4)


def test_laws_are_compared_ahead() -> None:
    scores = table([0.9 - 0.03 * at + 0.003 * at**2 for at in range(10)])
    found = only(sn.scaling_shape(scores, y="acc"))
    assert found["best_ahead"] == "quadratic"
    assert found["error_quadratic"] < 1e-6 < found["error_linear"]
    assert found["error_last"] > 0.001
    chosen = sn.choose_law(scores, y="acc", x="flops", laws=["log_linear"], objective="lsq", scale="flops")
    assert found["error_linear"] == pytest.approx(chosen.filter(law="log_linear")["error"].item())


def test_rows_scales_and_groups() -> None:
    scores = study.simulated("U", 12, 0.1, 3)
    found = sn.scaling_shape(scores, y="acc", by="table", compare=False)
    assert sn.scaling_shape(scores.reverse(), y="acc", by="table", compare=False).equals(found)
    alone = sn.scaling_shape(scores.filter(table=1), y="acc", by="table", compare=False)
    assert found.filter(table=1).equals(alone)
    moved = scores.with_columns(pl.col("acc") * 3 + 1, pl.col("flops") * 100)
    other = sn.scaling_shape(moved, y="acc", by="table", compare=False)
    assert other["turn_p_value"].to_list() == pytest.approx(found["turn_p_value"].to_list())
    assert other["before"].to_list() == pytest.approx([3 * value for value in found["before"]])
    assert other["turn"].to_list() == pytest.approx([100 * value for value in found["turn"]])


def test_undefined() -> None:
    few = shape([0.1, 0.2, 0.4, 0.3, 0.5, 0.6])
    assert (few["status"], few["turn_p_value"]) == ("too_few", None)
    assert few["spearman"] is not None
    level = shape([0.5] * 10)
    assert (level["status"], level["shape"], level["spearman"]) == ("constant", None, None)
    with pytest.raises(InsufficientDataError):
        shape([0.1, 0.2, 0.4, 0.3], strict=True)
    with pytest.raises(SchemaError):
        sn.scaling_shape(table([0.1, 0.2]), y="f1")


def test_published_benchmarks_improve_with_compute(shared: Path) -> None:
    """Base models of many families: no turn on the benchmarks of the leaderboard."""
    runs = pl.read_parquet(shared / "data" / "obs_scaling.parquet").filter(
        pl.col("flops_1e21").is_not_null(), pl.col("metric").is_in(["MMLU", "HellaSwag", "ARC-C"])
    )
    first = runs.unique(["model", "metric"], keep="first", maintain_order=True)
    with pytest.warns(DroppedRowsWarning, match="several values"):
        found = sn.scaling_shape(
            first, x="flops_1e21", y="value", by="metric", direction={"value": "higher"}, compare=False
        )
    assert found.height == 3
    assert set(found["shape"]) == {"improving"}
