"""The contract's table of undefined results, row by row: what is null, what stays, which status says so."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings

import plain
import signoise as sn
from strategies import frame_of, score_tables

INF, NAN = math.inf, math.nan
SIDES = {"small": "step <= 2", "target": "step > 2"}


def table(runs: dict[str, list[float | None]], metric: str | None = "acc", **extra: Any) -> pl.DataFrame:
    return frame_of(
        [
            {"run": run, "step": step, "task": "t", "metric": metric, "value": value, **extra}
            for run, values in runs.items()
            for step, value in enumerate(values, start=1)
        ]
    )


def quiet(verb: Any, *args: Any, **kwargs: Any) -> pl.DataFrame:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", sn.SignoiseWarning)
        return verb(*args, **kwargs)


def row_of(verb: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
    found = quiet(verb, *args, **kwargs)
    assert found.height == 1, found
    return found.row(0, named=True)


def nulls(row: dict[str, Any], *, but: tuple[str, ...] = ()) -> set[str]:
    """Statistics that are null; no interval is looked at where `but` names it."""
    return {name for name, value in row.items() if value is None and name not in but}


def assert_finite(frame: pl.DataFrame) -> None:
    for name, dtype in frame.schema.items():
        if dtype.is_float():
            column = frame[name].drop_nulls()
            assert column.is_finite().all(), (name, column)


LIMITS = {"snr_low", "snr_high", "signal_low", "signal_high", "noise_low", "noise_high"}
#: No estimate of autocorrelation on so few values.
ALWAYS = {"autocorrelation"}


# --- too_few -------------------------------------------------------------------------------------------------------


def test_one_member_has_noise_but_no_signal() -> None:
    row = row_of(sn.snr, table({"a": [0.1, 0.2, 0.4]}))
    assert row["status"] == "too_few"
    assert nulls(row) == {"signal", "snr", "snr_low", "snr_high", "signal_low", "signal_high"} | ALWAYS
    assert row["n_runs"] == 1
    assert row["noise"] > 0
    side = row_of(sn.signal, table({"a": [0.1, 0.2, 0.4]}))
    assert side["status"] == "too_few"
    assert nulls(side) == {"signal", "signal_low", "signal_high", "signal_excess", "range_p_value"}
    assert row_of(sn.noise, table({"a": [0.1, 0.2, 0.4]}))["status"] == "ok"


def test_single_checkpoints_have_signal_but_no_noise() -> None:
    scores = table({"a": [0.1], "b": [0.2], "c": [0.4]})
    row = row_of(sn.snr, scores)
    assert row["status"] == "too_few"
    assert nulls(row) == {"noise", "noise_absolute", "snr", "trend"} | LIMITS | ALWAYS
    assert row["signal"] == pytest.approx(0.3 / (0.7 / 3))
    assert (row["n_runs"], row["n_checkpoints"]) == (3, 1)
    assert row_of(sn.signal, scores)["status"] == "ok"
    side = row_of(sn.noise, scores)
    assert side["status"] == "too_few"
    assert side["n_runs"] == 0
    assert side["mean"] is not None
    per_run = sn.noise(scores, per="run")
    assert per_run["status"].to_list() == ["too_few"] * 3
    curves = sn.smoothness(scores)
    assert curves["status"].to_list() == ["too_few"] * 3
    assert curves["n_checkpoints"].to_list() == [1] * 3
    assert all(curves[name].null_count() == 3 for name in curves.columns if curves[name].dtype.is_float())


def test_detrended_noise_needs_three_values() -> None:
    scores = table({"a": [0.1, 0.3], "b": [0.2, 0.3]})
    assert row_of(sn.noise, scores, noise="detrended")["status"] == "too_few"
    assert row_of(sn.noise, scores)["status"] == "ok"


def test_one_usable_run_is_enough_for_noise() -> None:
    row = row_of(sn.snr, table({"a": [0.1, 0.3], "b": [0.4]}))
    assert row["status"] == "ok"
    assert row["n_checkpoints"] == 1
    assert row["noise_absolute"] == pytest.approx(math.sqrt(0.02))


def test_one_common_member_decides_nothing() -> None:
    row = row_of(sn.decision_accuracy, table({"a": [0.1, 0.2, 0.3], "b": [0.1]}), **SIDES)
    assert row["status"] == "too_few"
    assert (row["n_members"], row["n_pairs"], row["n_ties"]) == (1, 0, 0)
    limits = {"low", "high", "checkpoint_low", "checkpoint_high"}
    assert nulls(row) == {"decision_accuracy", *limits, "expected", "tau_a", "tau_b"}
    for score in ("mean", "sample"):
        assert row_of(sn.decision_accuracy, table({"a": [0.1, 0.2, 0.3]}), score=score, **SIDES)[
            "status"
        ] == ("too_few")


def test_a_population_without_members() -> None:
    row = row_of(sn.snr, table({"a": [0.1, 0.2], "b": [0.3, 0.5]}), population="run = 'z'")
    assert (row["status"], row["n_runs"], row["mean"]) == ("too_few", 0, None)
    assert row["noise"] is not None
    row = row_of(sn.snr, table({"a": [0.1, 0.2], "b": [0.3, 0.5]}), noise_runs="run = 'z'")
    assert (row["status"], row["n_runs"], row["noise"]) == ("too_few", 2, None)
    assert row["signal"] is not None


@pytest.mark.parametrize("gap", [None, NAN])
def test_nothing_but_gaps_keeps_its_row(gap: float | None) -> None:
    scores = table({"a": [gap, gap], "b": [gap, gap]})
    for verb in (sn.snr, sn.signal, sn.noise):
        row = row_of(verb, scores)
        assert (row["status"], row["n_runs"], row["n_checkpoints"], row["mean"]) == ("too_few", 0, 0, None)
        assert (row["n_missing"], row["n_nan"]) == ((4, 0) if gap is None else (0, 4))
        assert "missing_values" in row["flags"]
    assert sn.smoothness(scores)["status"].to_list() == ["too_few", "too_few"]
    assert row_of(sn.decision_accuracy, scores, small="step = 1", target="step = 2")["status"] == "too_few"
    assert sn.average_checkpoints(scores).height == 0
    assert sn.report(scores)["status"].to_list() == ["too_few"]


# --- constant ------------------------------------------------------------------------------------------------------


def test_equal_members_have_a_signal_of_zero() -> None:
    scores = table({"a": [0.1, 0.3], "b": [0.3, 0.1], "c": [0.2, 0.2]})
    row = row_of(sn.snr, scores)
    assert (row["status"], row["signal"], row["snr"]) == ("constant", 0.0, 0.0)
    assert row["noise"] > 0
    side = row_of(sn.signal, scores)
    assert (side["status"], side["signal"], side["signal_low"], side["signal_excess"]) == (
        "constant",
        0.0,
        0.0,
        0.0,
    )
    assert side["range_p_value"] == pytest.approx(1.0)


def test_equal_values_have_neither_signal_nor_noise() -> None:
    scores = table({"a": [0.3, 0.3, 0.3], "b": [0.3, 0.3, 0.3]})
    row = row_of(sn.snr, scores)
    assert (row["status"], row["signal"], row["noise"], row["snr"]) == ("constant", 0.0, 0.0, None)
    assert row_of(sn.noise, scores)["status"] == "zero_noise"
    curve = sn.smoothness(scores).row(0, named=True)
    assert (curve["status"], curve["total_variation"]) == ("constant", 0.0)
    assert nulls(curve) == {
        "monotonicity_sign",
        "monotonicity_tau",
        "monotonicity_p",
        "total_variation_normalised",
        "total_variation_improvement",
        "monotonicity_p_ar1",
        "autocorrelation",
    }


@pytest.mark.parametrize(("ties", "value"), [("half", 0.5), ("zero", 0.0), ("drop", None), ("compat", 2 / 3)])
def test_members_equal_on_one_side_are_all_tied(ties: str, value: float | None) -> None:
    scores = table({"a": [0.3, 0.3, 0.1], "b": [0.3, 0.3, 0.3], "c": [0.3, 0.3, 0.2]})
    row = row_of(sn.decision_accuracy, scores, ties=ties, **SIDES)
    assert row["status"] == "constant"
    assert (row["n_pairs"], row["n_ties"]) == (3, 3)
    assert row["decision_accuracy"] == (None if value is None else pytest.approx(value))
    assert (row["tau_a"], row["tau_b"]) == (0.0, None)


# --- zero_noise ----------------------------------------------------------------------------------------------------


def test_zero_noise_leaves_the_signal() -> None:
    scores = table({"a": [0.1, 0.1, 0.1], "b": [0.3, 0.3, 0.3], "c": [0.7, 0.7, 0.7]})
    row = row_of(sn.snr, scores)
    assert (row["status"], row["noise"], row["noise_absolute"], row["snr"]) == ("zero_noise", 0.0, 0.0, None)
    assert row["signal"] == pytest.approx(0.6 / (1.1 / 3))
    assert (row["snr_low"], row["snr_high"]) == (None, None)
    assert row_of(sn.snr, scores, relative=False)["snr"] is None
    assert row_of(sn.noise, scores)["status"] == "zero_noise"
    assert row_of(sn.signal, scores)["status"] == "ok"
    assert row_of(sn.decision_accuracy, scores, **SIDES)["decision_accuracy"] == 1.0
    for variant in ("compat:mpd", "textbook:mpd"):
        row = row_of(sn.snr, scores, signal=variant)
        assert (row["status"], row["noise"], row["snr"]) == ("zero_noise", 0.0, None)
        assert row["signal"] > 0


@pytest.mark.parametrize("noise", ["within", "mean_sd", "detrended", "successive_difference"])
def test_noise_of_rounding_alone_is_none(noise: str) -> None:
    """Means of the same numbers in another order."""
    third, tenth = [0.1 + 0.2, 0.3, 0.3], [0.7, 0.1 * 7, 0.7]
    row = row_of(sn.snr, table({"a": third, "b": tenth}), noise=noise)
    assert (row["status"], row["noise"], row["snr"]) == ("zero_noise", 0.0, None)
    assert row["signal"] == pytest.approx(0.8)
    # What is more than rounding stays.
    row = row_of(sn.snr, table({"a": [0.3, 0.3 + 1e-13, 0.3], "b": tenth}), noise=noise)
    assert (row["status"], row["noise"] > 0) == ("ok", True)
    row = row_of(sn.noise, table({"a": [math.inf, 1.0, 1.0]}, metric="perplexity"), noise=noise)
    assert row["noise"] is None


# --- zero_mean and its neighbours ----------------------------------------------------------------------------------


def test_a_mean_of_zero_has_no_relative_forms() -> None:
    scores = table({"a": [-0.5, -0.25], "b": [0.5, 0.25]})
    row = row_of(sn.snr, scores)
    assert row["status"] == "zero_mean"
    assert nulls(row) == {"signal", "noise", "snr"} | LIMITS | ALWAYS
    assert (row["mean"], row["noise_absolute"]) == (0.0, pytest.approx(math.sqrt(0.03125)))
    assert "near_zero_mean" in row["flags"]
    for verb, name in ((sn.signal, "signal"), (sn.noise, "noise")):
        side = row_of(verb, scores)
        assert (side["status"], side[name]) == ("zero_mean", None)
    absolute = row_of(sn.snr, scores, relative=False)
    assert absolute["status"] == "ok"
    assert absolute["signal"] == 0.75
    assert absolute["snr"] == pytest.approx(0.75 / math.sqrt(0.03125))
    decided = row_of(sn.decision_accuracy, scores, small="step = 1", target="step = 2")
    assert (decided["status"], decided["decision_accuracy"]) == ("ok", 1.0)


def test_scores_that_are_all_zero_say_what_is_null() -> None:
    scores = table({"a": [0.0, 0.0], "b": [0.0, 0.0]})
    row = row_of(sn.snr, scores)
    assert (row["status"], row["signal"], row["noise"], row["noise_absolute"]) == (
        "zero_mean",
        None,
        None,
        0.0,
    )
    assert row_of(sn.noise, scores)["status"] == "zero_mean"
    row = row_of(sn.snr, scores, relative=False)
    assert (row["status"], row["signal"], row["noise"], row["snr"]) == ("constant", 0.0, 0.0, None)


def test_one_side_with_a_mean_of_zero_leaves_the_other() -> None:
    scores = table({"a": [-0.5, 0.5], "b": [0.5, 0.25], "c": [0.75, 0.5]})
    row = row_of(sn.snr, scores, noise_runs="run = 'a'")
    assert row["status"] == "zero_mean"
    assert (row["noise"], row["snr"]) == (None, None)
    assert row["signal"] is not None
    row = row_of(sn.snr, scores, population="step = 1 AND run != 'c'")
    assert row["status"] == "zero_mean"
    assert (row["signal"], row["snr"]) == (None, None)
    assert row["noise"] is not None


def test_negative_means_count_by_their_size() -> None:
    positive = row_of(sn.snr, table({"a": [0.1, 0.3], "b": [0.5, 0.6]}))
    negative = row_of(sn.snr, table({"a": [-0.1, -0.3], "b": [-0.5, -0.6]}, metric="logprob"))
    for name in ("signal", "noise", "snr", "snr_low", "snr_high"):
        assert negative[name] == pytest.approx(positive[name])
    assert "negative_mean" in negative["flags"]
    assert "negative_mean" not in positive["flags"]


def test_near_chance_and_near_zero() -> None:
    scores = table({"a": [0.24, 0.26], "b": [0.26, 0.24], "c": [0.25, 0.26]}).with_columns(
        task=pl.lit("arc_easy")
    )
    assert "near_chance" in row_of(sn.snr, scores)["flags"]
    better = scores.with_columns(pl.col("value") + 0.3)
    assert "near_chance" not in row_of(sn.snr, better)["flags"]
    assert "near_chance" in row_of(sn.snr, better, chance={"arc_easy": 0.55})["flags"]
    assert "near_chance" not in row_of(sn.snr, scores.with_columns(metric=pl.lit("perplexity")))["flags"]


# --- duplicate_key -------------------------------------------------------------------------------------------------


def conflicting() -> pl.DataFrame:
    """Task t holds two values of one key; task u is sound."""
    sound = table({"a": [0.1, 0.2, 0.3, 0.4], "b": [0.3, 0.2, 0.5, 0.6], "c": [0.2, 0.2, None, 0.1]})
    other = sound[:1].with_columns(value=pl.lit(0.9))
    return pl.concat([sound, other, sound.with_columns(task=pl.lit("u"))])


VERBS: dict[str, Callable[..., pl.DataFrame]] = {
    "snr": sn.snr,
    "signal": sn.signal,
    "noise": sn.noise,
    "noise per run": lambda scores, **k: sn.noise(scores, per="run", **k),
    "decision_accuracy": lambda scores, **k: sn.decision_accuracy(scores, **SIDES, **k),
    "smoothness": sn.smoothness,
    "plateau": lambda scores, **k: sn.plateau(scores, **({"delta": 0.01, "autocorrelation": 0.0} | k)),
    "average_checkpoints": sn.average_checkpoints,
}


@pytest.mark.parametrize("verb", VERBS)
def test_conflicting_duplicates_raise_unless_settled(verb: str) -> None:
    run = VERBS[verb]
    scores = conflicting()
    with pytest.raises(sn.DuplicateKeyError, match=r"1 keys carry different values: .*run=a.*0\.1, 0\.9"):
        run(scores)
    settled = {"first": 0.1, "last": 0.9, "mean": 0.5}
    for how, value in settled.items():
        with pytest.warns(sn.DroppedRowsWarning, match=f"took the {how} of each"):
            found = run(scores, duplicates=how)
        alone = pl.concat([scores[:1].with_columns(value=pl.lit(value)), scores[1:12], scores[13:]])
        expected = run(alone)
        assert found.drop("signature", strict=False).equals(expected.drop("signature", strict=False)), how
    # `where` comes before the check.
    assert run(scores, where="task = 'u'").height


@pytest.mark.parametrize("verb", VERBS)
def test_exact_duplicates_are_dropped_and_counted(verb: str) -> None:
    sound = table({"a": [0.1, None, 0.3, NAN], "b": [0.3, 0.2, 0.5, 0.6]})
    with pytest.warns(sn.DroppedRowsWarning, match="3 exact duplicate rows were dropped"):
        found = VERBS[verb](pl.concat([sound, sound[1:4]]))
    assert found.equals(VERBS[verb](sound))


@pytest.mark.parametrize("verb", [name for name in VERBS if name != "average_checkpoints"])
def test_conflicts_as_a_status_blank_their_group_alone(verb: str) -> None:
    scores = conflicting()
    found = quiet(
        VERBS[verb],
        scores,
        duplicates="status",
        autocorrelation=0.0,
    )
    bad = found.filter(status="duplicate_key")
    assert bad["task"].unique().to_list() == ["t"]
    assert bad.height == 1
    for name, dtype in bad.schema.items():
        if dtype.is_float():
            assert bad[name].null_count() == bad.height, name
    good = found.filter(task="u")
    expected = VERBS[verb](scores.filter(task="u"), autocorrelation=0.0)
    assert good.equals(expected)


def test_report_says_duplicate_key() -> None:
    with pytest.warns(sn.SignoiseWarning, match="1 keys carry different values"):
        found = sn.report(conflicting())
    bad, good = found.filter(task="t").row(0, named=True), found.filter(task="u").row(0, named=True)
    assert bad["status"] == "duplicate_key"
    for name in ("signal", "noise", "snr", "snr_low", "snr_high", "decision_accuracy"):
        assert bad[name] is None, name
    assert good["status"] == "ok"
    assert good["snr"] is not None
    assert good["decision_accuracy"] is not None
    shuffled = conflicting().sample(fraction=1.0, shuffle=True, seed=3)
    assert quiet(sn.report, shuffled).equals(found)


def test_a_missing_value_conflicts_with_a_score() -> None:
    sound = table({"a": [0.1, 0.2], "b": [0.3, 0.2]})
    with pytest.raises(sn.DuplicateKeyError, match=r"has values 0\.1, null"):
        sn.snr(pl.concat([sound, sound[:1].with_columns(value=pl.lit(None, pl.Float64))]))


def test_settling_by_the_mean_leaves_other_gaps_alone() -> None:
    scores = conflicting().filter(task="t")
    row = row_of(sn.snr, scores, duplicates="mean")
    assert (row["n_missing"], row["n_nan"]) == (1, 0)


# --- missing and infinite values -----------------------------------------------------------------------------------


def test_infinities_of_bounded_metrics_are_missing() -> None:
    scores = table({"a": [0.1, INF, 0.3], "b": [0.3, 0.2, -INF], "c": [None, NAN, 0.5]})
    row = row_of(sn.snr, scores)
    assert (row["n_missing"], row["n_nan"]) == (3, 1)
    assert row["mean"] == pytest.approx((0.2 + 0.25 + 0.5) / 3)
    assert "missing_values" in row["flags"]
    assert sn.smoothness(scores)["n_checkpoints"].to_list() == [2, 2, 1]


def test_infinities_of_unbounded_metrics_are_scores_and_counted() -> None:
    scores = table({"a": [12.0, 11.0, INF], "b": [13.0, 12.0, 11.0], "c": [14.0, 13.0, 12.0]}, "perplexity")
    for relative in (True, False):
        row = row_of(sn.snr, scores, relative=relative)
        assert row["status"] == "not_finite"
        assert (row["n_missing"], row["n_runs"], row["n_checkpoints"]) == (1, 3, 3)
        assert [row[name] for name in ("mean", "signal", "snr", "snr_low", "snr_high", "signal_high")] == [
            None
        ] * 6
        assert row["noise"] is None if relative else row["noise"] > 0
        assert row_of(sn.signal, scores, relative=relative)["status"] == "not_finite"
    by_run = sn.noise(scores, per="run")
    assert by_run["status"].to_list() == [
        "not_finite",
        "ok",
        "ok",
    ]  # three values are enough, were they finite
    # The worst score there is: it ranks last.
    row = row_of(sn.decision_accuracy, scores, **SIDES)
    assert (row["n_members"], row["decision_accuracy"]) == (3, pytest.approx(1 / 3))
    curve = sn.smoothness(scores).row(0, named=True)
    assert (curve["status"], curve["total_variation"]) == ("not_finite", None)
    assert curve["monotonicity_tau"] == pytest.approx(-1 / 3)
    # Minus infinity is below the bound of a perplexity: no score.
    row = row_of(sn.snr, scores.with_columns(pl.col("value").replace(INF, -INF)))
    assert (row["status"], row["n_missing"]) == ("ok", 1)


def test_infinities_of_a_metric_without_a_name_or_a_home() -> None:
    for metric in (None, "vibes"):
        row = row_of(sn.snr, table({"a": [0.1, INF], "b": [0.3, 0.2]}, metric=metric))
        assert (row["status"], row["n_missing"]) == ("not_finite", 1)


@given(scores=score_tables(infinite=True))
@settings(max_examples=15)
def test_nothing_is_ever_nan_or_infinite(scores: pl.DataFrame) -> None:
    by = plain.identity(scores)
    counts = plain.counts_of(plain.distinct(scores), by)
    for verb, options in (
        (sn.snr, {}),
        (sn.snr, {"relative": False, "score": "final"}),
        (sn.snr, {"noise": "detrended"}),
        (sn.snr, {"signal": "compat:rel_dispersion"}),
        (sn.snr, {"signal": "textbook:entropy", "noise": "pooled"}),
        (sn.signal, {}),
        (sn.noise, {"noise": "successive_difference"}),
    ):
        found = quiet(verb, scores, by=by, **options)
        assert_finite(found)
        for row in found.iter_rows(named=True):
            assert (row["n_missing"], row["n_nan"]) == counts[tuple(row[name] for name in by)]
            value = row["signal" if verb is sn.signal else "noise" if verb is sn.noise else "snr"]
            # Undefined if and only if the status says why; all members equal is the one defined oddity.
            if row["status"] == "constant":
                assert value in (0.0, None)
            else:
                assert (value is None) == (
                    row["status"] not in ("ok", *(("zero_noise",) if verb is sn.noise else ()))
                )
    assert_finite(quiet(sn.noise, scores, by=by, per="run"))
    assert_finite(quiet(sn.smoothness, scores, by=by))
    assert_finite(quiet(sn.report, scores))


@given(scores=score_tables(infinite=True, scales=True, seeds=False))
@settings(max_examples=15)
def test_no_decision_is_ever_nan_or_infinite(scores: pl.DataFrame) -> None:
    by = plain.identity(scores)
    sides = {"small": "params = 150000000", "target": "params = 1000000000"}
    for options in (
        {},
        {"ties": "drop"},
        {"score": "mean"},
        {"score": "sample", "n_resamples": 5},
        {"pairs": "weighted"},
        {"pairs": "decidable"},
    ):
        found = quiet(sn.decision_accuracy, scores, by=by, **sides, **options)
        assert_finite(found)
        for row in found.iter_rows(named=True):
            assert row["decision_accuracy"] is None or 0 <= row["decision_accuracy"] <= 1
            if row["status"] == "too_few":
                assert row["decision_accuracy"] is None
    assert_finite(quiet(sn.report, scores))


# --- strict --------------------------------------------------------------------------------------------------------


def test_strict_raises_the_first_undefined_group() -> None:
    scores = pl.concat(
        [
            table({"a": [0.1, 0.2], "b": [0.3, 0.5]}),
            table({"a": [0.1, 0.2]}).with_columns(task=pl.lit("alone")),
        ]
    )
    for verb in (sn.snr, sn.signal):
        with pytest.raises(sn.InsufficientDataError, match=r"1 of 2 groups .* task=alone.* 'too_few'"):
            verb(scores, strict=True)
        assert verb(scores, strict=True, where="task = 't'").height == 1
    with pytest.raises(sn.InsufficientDataError, match="too_few"):
        sn.smoothness(table({"a": [0.1]}), strict=True)
    with pytest.raises(sn.InsufficientDataError, match="zero_noise"):
        sn.noise(table({"a": [0.1, 0.1]}), strict=True)
    with pytest.raises(sn.InsufficientDataError):
        sn.report(scores, strict=True)


# --- tables that are no tables -------------------------------------------------------------------------------------

EVERY = {
    **VERBS,
    "roll_up": sn.roll_up,
    "aggregate": sn.aggregate,
    "report": lambda scores, **k: quiet(sn.report, scores, **k),
}


@pytest.mark.parametrize("verb", EVERY)
def test_empty_tables_and_filters_that_leave_nothing(verb: str) -> None:
    scores = table({"a": [0.1, 0.2, 0.3, 0.4], "b": [0.3, 0.2, 0.5, 0.6]})
    with pytest.raises(sn.SchemaError, match="no rows are left"):
        EVERY[verb](scores.clear())
    with pytest.raises(sn.SchemaError, match="no rows are left after where=step > 99"):
        EVERY[verb](scores, where="step > 99")
    with pytest.raises(sn.SchemaError, match=r"where: .*no column 'stepp'; did you mean 'step'\?"):
        EVERY[verb](scores, where="stepp > 99")
    with pytest.raises(sn.SchemaError, match=r"no column 'valeu'; did you mean 'value'\?"):
        EVERY[verb](scores, columns={"valeu": "value"})


@pytest.mark.parametrize("verb", EVERY)
@pytest.mark.parametrize(
    "wrong",
    [
        pl.lit("high").alias("value"),
        pl.concat_list("value").alias("value"),
        pl.struct("value").alias("value"),
        pl.lit("soon").alias("tokens"),
        pl.lit("huge").alias("params"),
    ],
    ids=["text", "list", "struct", "tokens", "params"],
)
def test_columns_of_a_wrong_dtype(verb: str, wrong: pl.Expr) -> None:
    scores = table({"a": [0.1, 0.2, 0.3, 0.4], "b": [0.3, 0.2, 0.5, 0.6]})
    with pytest.raises(sn.SchemaError):
        EVERY[verb](scores.with_columns(wrong))


@pytest.mark.parametrize("verb", EVERY)
def test_columns_of_a_harmless_dtype(verb: str) -> None:
    scores = table({"a": [0.1, 0.2, 0.3, 0.4], "b": [0.3, 0.2, 0.5, 0.6]})
    other = scores.with_columns(
        pl.col("value").cast(pl.String),
        pl.col("step").cast(pl.UInt16),
        pl.col("run").cast(pl.Categorical),
        pl.col("task").cast(pl.Enum(["t"])),
    )
    assert EVERY[verb](other).equals(EVERY[verb](scores))
    whole = scores.with_columns((pl.col("value") * 10).cast(pl.Int8))
    assert EVERY[verb](whole).equals(EVERY[verb](whole.with_columns(pl.col("value").cast(pl.Float64))))


@pytest.mark.parametrize("verb", EVERY)
def test_percentages_do_not_crash(verb: str) -> None:
    scores = table({"a": [10.0, 20.0, 30.0, 40.0], "b": [30.0, 20.0, 50.0, 60.0]})
    found = EVERY[verb](scores)
    assert found.height
    if "snr" in found.columns:
        fractions = EVERY[verb](scores.with_columns(pl.col("value") / 100))
        assert found["snr"].to_list() == pytest.approx(fractions["snr"].to_list())


@pytest.mark.parametrize("scores", [[math.inf, math.inf, 5.0], [1e308, -1e308, 1e308]])
def test_enough_values_without_a_finite_spread_are_not_too_few(scores: list[float]) -> None:
    frame = pl.DataFrame(
        {"run": ["a"] * 3 + ["b"] * 3, "step": [1, 2, 3] * 2, "task": "t", "perplexity": [*scores, *scores]}
    )
    row = sn.noise(frame).row(0, named=True)
    assert (row["status"], row["noise"], row["noise_absolute"]) == ("not_finite", None, None)
