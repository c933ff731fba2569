"""The verb `sample_size`: subsets written out, curves, limits, stores, undefined cases."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

import signoise as sn
from signoise import reference
from signoise._addresses import SAMPLE_SIZES
from signoise._interventions import _sample_sizes as sizes_of

SIDES: dict[str, Any] = {"small": "params = 100000000", "target": "params = 1000000000"}


@pytest.fixture(scope="module")
def scores() -> pl.DataFrame:
    frame, _ = sn.simulate(
        tasks=["a", "b"],
        recipes=9,
        params=(1e8, 1e9),
        checkpoints=4,
        instances=120,
        signal=0.06,
        step_noise=0.01,
    )
    return frame


# --- parts ---------------------------------------------------------------------------------------


@given(values=st.lists(st.floats(-1, 2, allow_nan=False), min_size=1, max_size=9))
def test_the_rising_curve_equals_its_twin(values: list[float]) -> None:
    found = sizes_of.isotone(np.array(values))
    np.testing.assert_allclose(found, reference.isotone(np.array(values)), rtol=1e-9, atol=1e-12)
    assert (np.diff(found) >= -1e-12).all()


def test_crossings() -> None:
    sizes = [30, 60, 120, 240]
    for curve in ([0.2, 0.6, 0.9, 1.0], [0.5, 0.97, 0.9, 1.0], [0.96, 0.97, 0.98, 1.0], [0.1, 0.2, 0.3, 1.0]):
        assert sizes_of.crossing(sizes, np.array(curve), 0.95) == reference.crossing(
            sizes, np.array(curve), 0.95
        )
    assert sizes_of.crossing(sizes, np.array([0.96, 0.97, 0.98, 1.0]), 0.95) == 30
    # Half way between 60 and 120 on the scale of logarithms.
    assert sizes_of.crossing(sizes, np.array([0.2, 0.9, 1.0, 1.0]), 0.95) == int(np.ceil(60 * np.sqrt(2)))
    assert sizes_of.crossing(sizes, np.array([0.1, 0.2, 0.3, 0.9]), 0.95) is None
    assert sizes_of.crossing(sizes, np.array([0.1, np.nan, 0.3, 1.0]), 0.95) is None


def test_log_spaced_sizes() -> None:
    assert sizes_of.log_spaced(30, 3000, 3) == [30, 300, 3000]
    assert sizes_of.log_spaced(30, 3000, 1) == [3000]
    assert sizes_of.log_spaced(30, 30, 10) == [30]
    assert sizes_of.log_spaced(30, 12, 10) == [12]
    few = sizes_of.log_spaced(30, 33, 10)
    assert few == [30, 31, 32, 33]


def test_subsets_equal_their_twin_and_are_all_different() -> None:
    found = sizes_of.subset_counts(40, 15, 120, 7, 3, replacement=False)
    assert (found.sum(axis=1) == 15).all()
    assert set(np.unique(found)) == {0.0, 1.0}
    for row in (0, 49, 50, 119):
        expected = reference.subset_of(40, 15, row, 120, 7, SAMPLE_SIZES, 3)
        assert np.flatnonzero(found[row]).tolist() == expected
    assert len(np.unique(found, axis=0)) == 120
    assert (found != sizes_of.subset_counts(40, 15, 120, 8, 3, replacement=False)).any()
    # Each instance is in 15 of 40 subsets, give or take.
    assert abs(found.mean(axis=0) - 15 / 40).max() < 5 * np.sqrt(15 / 40 * 25 / 40 / 120)
    drawn = sizes_of.subset_counts(40, 60, 120, 7, 3, replacement=True)
    assert (drawn.sum(axis=1) == 60).all()
    assert drawn.max() > 1


# --- the verb ------------------------------------------------------------------------------------


def test_all_instances_are_what_the_other_verbs_say(scores: pl.DataFrame) -> None:
    found = sn.sample_size(scores, **SIDES, sizes=2, n_subsets=3, score="final")
    whole = found.filter(size=120)
    expected = sn.decision_accuracy(scores, **SIDES)
    assert whole["decision_accuracy"].to_list() == expected["decision_accuracy"].to_list()
    snr = sn.snr(scores, where=SIDES["small"], across="recipe", score="final")
    np.testing.assert_allclose(whole["snr"], snr["snr"])
    assert whole["kept"].to_list() == [1.0, 1.0]
    assert whole["snr_sd"].null_count() == 2
    assert found["n_instances"].unique().to_list() == [120]
    assert found.filter(size=30)["n_subsets"].to_list() == [3, 3]


def test_subsets_written_out(scores: pl.DataFrame) -> None:
    """Decisions on each subset by the verb itself, on rows of these instances alone."""
    frame = scores.filter(task="a")
    found = sn.sample_size(frame, **SIDES, sizes=[40], n_subsets=4, score="final", rng_seed=5)
    names = frame["instance_id"].unique().sort()
    from signoise._addresses import group_addresses

    unit = int(group_addresses(pl.DataFrame({"task": ["a"]}))[0])
    decisions, snrs = [], []
    for row in range(4):
        chosen = names[reference.subset_of(120, 40, row, 4, 5, SAMPLE_SIZES, unit)]
        part = frame.filter(pl.col("instance_id").is_in(chosen.implode()))
        decisions.append(sn.decision_accuracy(part, **SIDES)["decision_accuracy"][0])
        snrs.append(sn.snr(part, where=SIDES["small"], across="recipe", score="final")["snr"][0])
    finite = np.sqrt(1 - 40 / 120)
    row = found.row(0, named=True)
    assert row["decision_accuracy"] == pytest.approx(np.mean(decisions))
    assert row["decision_accuracy_sd"] == pytest.approx(np.std(decisions, ddof=1) / finite)
    assert row["snr"] == pytest.approx(np.mean(snrs))
    assert row["snr_sd"] == pytest.approx(np.std(snrs, ddof=1) / finite)


def test_kept_and_its_limits(scores: pl.DataFrame) -> None:
    frame = scores.filter(task="a")
    recipes = frame["recipe"].unique().sort().to_list()

    def kept(part: pl.DataFrame) -> dict[str, Any]:
        return sn.sample_size(part, **SIDES, sizes=[30, 120], n_subsets=20, score="final").row(0, named=True)

    row = kept(frame)
    left_out = np.array([kept(frame.filter(pl.col("recipe") != recipe))["kept"] for recipe in recipes])
    full = sn.decision_accuracy(frame, **SIDES)["decision_accuracy"][0]
    assert row["kept"] == pytest.approx((row["decision_accuracy"] - 0.5) / (full - 0.5))
    over_members = 8 / 9 * ((left_out - left_out.mean()) ** 2).sum()
    between = row["decision_accuracy_sd"] * np.sqrt(1 - 30 / 120)
    stderr = np.sqrt(over_members + (between / (full - 0.5)) ** 2 / 20)
    assert row["kept_high"] - row["kept"] == pytest.approx(2.306004135 * stderr)
    assert row["enough_low"] <= row["enough"] <= row["enough_high"] <= 120


def test_more_instances_help(scores: pl.DataFrame) -> None:
    found = sn.sample_size(scores, **SIDES, n_subsets=60)
    for part in found.partition_by("task"):
        assert part["size"].is_sorted()
        assert part["snr"].to_list()[-1] > 1.3 * part["snr"][0]
        assert part["decision_accuracy"][0] < part["decision_accuracy"][-1]
        assert part["enough"].n_unique() == 1
    # Repeated instances are noise that counts twice: 120 of 120 are worth 60.
    drawn = sn.sample_size(scores, **SIDES, sizes=[120], n_subsets=100, replacement=True)
    half = sn.sample_size(scores, **SIDES, sizes=[60], n_subsets=100)
    np.testing.assert_allclose(drawn["snr"], half["snr"], rtol=0.15)
    assert drawn["snr_sd"].null_count() == 0


def test_signal_and_noise_alone(scores: pl.DataFrame) -> None:
    found = sn.sample_size(scores, by=("task", "metric", "params"), sizes=[60, 120], n_subsets=5)
    assert "enough" not in found.columns
    assert found.height == 8
    expected = sn.snr(scores, by=("task", "metric", "params"))
    np.testing.assert_allclose(found.filter(size=120)["snr"], expected["snr"])


def test_stores_order_twins_and_other_groups(scores: pl.DataFrame, tmp_path: Path) -> None:
    options = {**SIDES, "sizes": [30, 120], "n_subsets": 5}
    found = sn.sample_size(scores, **options)
    assert found.equals(
        sn.sample_size(scores.sample(fraction=1.0, shuffle=True, seed=1), **options, threads=2)
    )
    assert_frame_equal(found.filter(task="b"), sn.sample_size(scores, where="task = 'b'", **options))
    assert_frame_equal(sn.reference.sample_size(scores, **options), found)
    sn.ingest(scores, tmp_path / "store")
    assert_frame_equal(sn.sample_size(tmp_path / "store", **options), found)
    other = sn.sample_size(scores, **options, rng_seed=1)
    assert (other.filter(size=30)["snr"] != found.filter(size=30)["snr"]).all()


def test_losses_rank_downwards() -> None:
    frame, _ = sn.simulate(
        tasks=1, recipes=6, params=(1e8, 1e9), checkpoints=3, instances=80, metric="bits_per_byte", signal=0.1
    )
    found = sn.sample_size(frame, **SIDES, sizes=[80], score="final")
    assert (
        found["decision_accuracy"].to_list()
        == sn.decision_accuracy(frame, **SIDES)["decision_accuracy"].to_list()
    )


def test_undefined(scores: pl.DataFrame) -> None:
    alone = sn.sample_size(scores.filter(recipe="recipe-00"), **SIDES, sizes=[60]).row(0, named=True)
    assert (alone["status"], alone["decision_accuracy"], alone["enough"]) == ("too_few", None, None)
    short = sn.sample_size(scores, **SIDES, sizes=[500]).row(0, named=True)
    assert (short["status"], short["size"], short["snr"]) == ("too_few", None, None)
    flat = scores.with_columns(value=pl.lit(1.0))
    row = sn.sample_size(flat, **SIDES, sizes=[60]).row(0, named=True)
    assert (row["status"], row["snr"], row["decision_accuracy"]) == ("zero_noise", None, 0.5)
    assert (row["kept"], row["enough"]) == (None, None)
    with pytest.raises(sn.SchemaError, match="no instance_id"):
        sn.sample_size(sn.example_scores())
    for options, message in (
        ({"sizes": 0}, "sizes must be"),
        ({"sizes": [1]}, "sizes must be"),
        ({"sizes": "30"}, "sizes must be"),
        ({"n_subsets": 0}, "n_subsets"),
        ({"keep": 95}, "keep must be"),
        ({"small": "params = 100000000"}, "small and target"),
        ({"match": "recipe"}, "match joins"),
    ):
        with pytest.raises(sn.OptionError, match=message):
            sn.sample_size(scores, **options)


# --- prediction errors -----------------------------------------------------------------------------

SCALES = [1e8, 2e8, 4e8, 8e8, 1.6e9, 7e9]
LADDER: dict[str, Any] = {"ladder_train": "params < 7e9 AND seed = 0", "ladder_target": "params = 7e9"}


@pytest.fixture(scope="module")
def ladder() -> pl.DataFrame:
    """Two recipes that share their names with the members of the sides, one of them with a target."""
    frame, _ = sn.simulate(
        tasks=["a", "b"],
        metric="bits_per_byte",
        recipes=4,
        params=SCALES,
        checkpoints=3,
        instances=90,
        step_noise=1e-3,
    )
    seeds = pl.col("recipe").replace_strict({"recipe-00": 0}, default=1, return_dtype=pl.Int64)
    # Of the targets one is there, and none for the second task.
    return frame.with_columns(seed=seeds).filter(
        (pl.col("params") < 7_000_000_000) | ((pl.col("seed") == 0) & (pl.col("task") == "a"))
    )


def test_prediction_errors_on_subsets_written_out(ladder: pl.DataFrame) -> None:
    from signoise._addresses import group_addresses

    sides = {"small": "params = 100000000", "target": "params = 800000000"}
    found = sn.sample_size(ladder, **sides, **LADDER, sizes=[40, 90], n_subsets=3, window=2, rng_seed=4)
    frame = ladder.filter(task="a")
    names = frame["instance_id"].unique().sort()
    unit = int(group_addresses(pl.DataFrame({"task": ["a"]}))[0])

    def error(part: pl.DataFrame) -> float:
        table = sn.prediction_error(
            part,
            train=LADDER["ladder_train"],
            target=LADDER["ladder_target"],
            window=2,
            interval="none",
            n_resamples=0,
        )
        return float(table["prediction_error"].item())

    chosen = [names[reference.subset_of(90, 40, row, 3, 4, SAMPLE_SIZES, unit)] for row in range(3)]
    errors = [error(frame.filter(pl.col("instance_id").is_in(some.implode()))) for some in chosen]
    row, whole = found.filter(task="a").rows(named=True)
    assert row["prediction_error"] == pytest.approx(np.mean(errors), rel=1e-6)
    assert row["prediction_error_sd"] == pytest.approx(
        np.std(errors, ddof=1) / np.sqrt(1 - 40 / 90), rel=1e-6
    )
    assert whole["prediction_error"] == pytest.approx(error(frame), rel=1e-6)
    assert whole["prediction_error_sd"] is None
    # Without a target there is nothing to predict; the rest is as it was.
    assert found.filter(task="b")["prediction_error"].to_list() == [None, None]
    without = sn.sample_size(ladder, **sides, sizes=[40, 90], n_subsets=3, window=2, rng_seed=4)
    columns = [name for name in without.columns if name != "signature"]
    assert_frame_equal(found.select(columns), without.select(columns))


def test_prediction_errors_from_a_store_and_without_sides(ladder: pl.DataFrame, tmp_path: Path) -> None:
    frame = ladder.filter(task="a")
    sn.ingest(frame, tmp_path / "store")
    options: dict[str, Any] = {**LADDER, "sizes": [45], "n_subsets": 2}
    found = sn.sample_size(frame, **options)
    assert found["prediction_error"].is_finite().all()
    assert "decision_accuracy" not in found.columns
    assert_frame_equal(sn.sample_size(tmp_path / "store", **options), found)
    assert_frame_equal(sn.reference.sample_size(frame, **options), found)


def test_a_ladder_needs_both_filters(ladder: pl.DataFrame) -> None:
    with pytest.raises(sn.OptionError, match="both needed"):
        sn.sample_size(ladder, ladder_train="params < 7e9")
    with pytest.raises(sn.SchemaError, match="no column 'parms'; did you mean 'params'"):
        sn.sample_size(ladder, ladder_train="parms < 7e9", ladder_target="params = 7e9")
    with pytest.raises(sn.SchemaError, match="ladder_target: no row satisfies"):
        sn.sample_size(ladder, ladder_train="params < 7e9", ladder_target="params = 9e9")
