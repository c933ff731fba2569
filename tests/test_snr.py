"""`snr`, `signal` and `noise`: golden values, plain recomputation, every option and every form of input."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from scipy import stats

import plain
import signoise as sn
from signoise import reference
from strategies import score_tables

NOISES = ("within", "mean_sd", "pooled", "detrended", "successive_difference")


def table(runs: dict[str, list[float]], task: str = "t", metric: str = "acc", **extra: Any) -> pl.DataFrame:
    rows = [
        {"run": run, "step": step, "task": task, "metric": metric, "value": value, **extra}
        for run, values in runs.items()
        for step, value in enumerate(values)
    ]
    return pl.DataFrame(rows, schema_overrides={"value": pl.Float64})


def only(frame: pl.DataFrame) -> dict[str, Any]:
    assert frame.height == 1, frame
    return frame.row(0, named=True)


def quiet(verb: Any, *args: Any, **kwargs: Any) -> pl.DataFrame:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", sn.SignoiseWarning)
        return verb(*args, **kwargs)


#: External models against one reference run.
GOLDEN = pl.concat(
    [
        table({"m1": [0.5], "m2": [0.55], "m3": [0.6]}, kind="external"),
        table({"ref": [0.50, 0.52, 0.51]}, kind="reference"),
    ]
)
SIDES = {"population": "kind = 'external'", "noise_runs": "kind = 'reference'"}


# --- golden values -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("ddof", "noise", "ratio"), [(0, 0.0160097, 11.356725), (1, 0.0196078, 9.272727)])
def test_golden_example(ddof: int, noise: float, ratio: float) -> None:
    row = only(sn.snr(GOLDEN, ddof=ddof, **SIDES))
    assert row["signal"] == pytest.approx(0.1818182, abs=5e-8)
    assert row["noise"] == pytest.approx(noise, abs=5e-8)
    assert row["snr"] == pytest.approx(ratio, abs=5e-7)
    assert row["n_runs"] == 3
    assert row["status"] == "ok"
    assert only(sn.signal(GOLDEN, ddof=ddof, **SIDES))["signal"] == row["signal"]
    assert only(sn.noise(GOLDEN, ddof=ddof, noise_runs=SIDES["noise_runs"]))["noise"] == row["noise"]


def test_golden_variants() -> None:
    c, last = [0.40, 0.42, 0.45, 0.47, 0.50], [0.44, 0.46, 0.45]
    scores = pl.concat(
        [
            table({f"m{i}": [x] for i, x in enumerate(c)}, kind="external"),
            table({"ref": last}, kind="reference"),
        ]
    )
    step_noise = [np.std(last)]
    for name, value in (("dispersion", 0.1), ("rel_dispersion", 0.222222), ("mpd", 0.05), ("iqr", 0.111111)):
        row = only(sn.snr(scores, signal=f"compat:{name}", **SIDES))
        assert row["signal"] == pytest.approx(value, abs=5e-7)
        expected = reference.signal_variant(f"compat:{name}", c, last, step_noise, [np.std(c)])
        assert (row["signal"], row["noise"], row["snr"]) == pytest.approx(expected, rel=1e-12)


# --- plain recomputation -------------------------------------------------------------------------------------------


def compare(frame: pl.DataFrame, found: pl.DataFrame, verb: str, **options: Any) -> None:
    by = plain.identity(frame)
    rows = plain.distinct(frame)
    expected = plain.snr_of(rows, by, **options)
    counts = plain.counts_of(rows, by)
    assert {tuple(row[name] for name in by) for row in found.iter_rows(named=True)} == set(expected)
    relative = options.get("relative", True)
    for row in found.iter_rows(named=True):
        group = tuple(row[name] for name in by)
        want = expected[group]
        assert (row["n_missing"], row["n_nan"]) == counts[group]
        assert row["n_runs"] == (want["noise_runs"] if verb == "noise" else want["n_runs"])
        assert row["mean"] == (
            None
            if (m := want["noise_mean" if verb == "noise" else "mean"]) is None
            else pytest.approx(m, abs=1e-12)
        )
        scales = [want["mean"], want["noise_mean"]] if verb != "noise" else [want["noise_mean"]]
        if relative and any(m is not None and abs(m) < 1e-9 for m in scales):
            continue  # rounding decides whether such a mean is exactly 0
        for name in ("signal", "noise", "noise_absolute"):
            if name in row:
                assert row[name] == (
                    None if want[name] is None else pytest.approx(want[name], rel=1e-9, abs=1e-10)
                ), name
        degenerate = any(
            want[name] is not None and want[name] < 1e-9 for name in ("noise_absolute", "spread")
        )
        if "snr" in row and not degenerate:
            assert row["snr"] == (None if want["snr"] is None else pytest.approx(want["snr"], rel=1e-6))


@given(scores=score_tables())
@settings(max_examples=15)
@pytest.mark.parametrize("noise", NOISES)
def test_every_estimator_against_plain_python(noise: str, scores: pl.DataFrame) -> None:
    by = plain.identity(scores)
    compare(scores, quiet(sn.snr, scores, by=by, noise=noise), "snr", noise=noise)
    compare(scores, quiet(sn.noise, scores, by=by, noise=noise), "noise", noise=noise)


@given(
    scores=score_tables(),
    window=st.integers(1, 8),
    ddof=st.integers(0, 3),
    score=st.sampled_from(("mean", "final")),
    relative=st.booleans(),
    order=st.sampled_from(("step", "tokens")),
)
def test_options_against_plain_python(
    scores: pl.DataFrame, window: int, ddof: int, score: str, relative: bool, order: str
) -> None:
    by = plain.identity(scores)
    if order not in scores.columns:
        order = "step"
    options = {"window": window, "ddof": ddof, "score": score, "relative": relative}
    compare(scores, quiet(sn.snr, scores, by=by, order=order, **options), "snr", **options)
    found = quiet(sn.signal, scores, by=by, order=order, **options)
    compare(scores, found, "signal", **options)


@given(scores=score_tables(scales=True, seeds=False))
def test_across_recipes_and_sides_against_plain_python(scores: pl.DataFrame) -> None:
    by = plain.identity(scores)
    found = quiet(
        sn.snr,
        scores,
        by=by,
        across="recipe",
        population="params = 150000000",
        noise_runs=pl.col("params") == 1_000_000_000,
    )
    compare(
        scores,
        found,
        "snr",
        across=("recipe",),
        population=lambda row: row["params"] == 150_000_000,
        noise_runs=lambda row: row["params"] == 1_000_000_000,
    )


@given(scores=score_tables(parts=False))
@settings(max_examples=12)
def test_one_row_a_run_is_that_run_alone(scores: pl.DataFrame) -> None:
    found = quiet(sn.noise, scores, per="run", autocorrelation=0.0)
    assert "run" in found.columns
    for run in scores["run"].unique():
        alone = quiet(sn.noise, scores.filter(run=run), autocorrelation=0.0)
        here = found.filter(run=run).select(alone.columns)
        assert_frame_equal(here.drop("signature"), alone.drop("signature"), check_exact=True)


@given(
    scores=score_tables(missing=False, metrics=("acc",)), shift=st.floats(-2, 2), scale=st.floats(0.1, 100)
)
def test_absolute_snr_does_not_know_shift_and_scale(scores: pl.DataFrame, shift: float, scale: float) -> None:
    by = plain.identity(scores)
    first = quiet(sn.snr, scores, by=by, relative=False)
    other = scores.with_columns(pl.col("value") * scale + shift)
    second = quiet(sn.snr, other, by=by, relative=False)
    kept = (first["noise"].fill_null(0) > 1e-6) & (first["signal"].fill_null(0) > 1e-6)
    assert second.filter(kept)["snr"].to_list() == pytest.approx(
        first.filter(kept)["snr"].to_list(), rel=1e-6
    )


# --- windows, order, members ---------------------------------------------------------------------------------------


def test_window_takes_the_last_checkpoints_with_a_score() -> None:
    scores = table({"a": [9.0, 0.1, 0.3, math.nan], "b": [9.0, 0.5, 0.7, 0.9]})
    row = only(sn.snr(scores, window=2))
    assert row["mean"] == pytest.approx((0.2 + 0.8) / 2)
    assert row["n_checkpoints"] == 2
    assert row["n_nan"] == 1
    assert row["flags"] == ["missing_values", "few_members"]


def test_fewer_checkpoints_than_the_window_are_flagged() -> None:
    row = only(sn.snr(table({"a": [0.1, 0.2, 0.3], "b": [0.5, 0.7]})))
    assert row["n_checkpoints"] == 2
    assert "few_checkpoints" in row["flags"]
    assert "few_checkpoints" not in only(sn.snr(table({"a": [0.1, 0.2], "b": [0.5, 0.7]}), window=2))["flags"]


def test_tokens_order_before_steps_and_steps_where_a_run_lacks_tokens() -> None:
    rows = table({"a": [0.1, 0.2, 0.3], "b": [0.4, 0.5, 0.6]})
    backwards = rows.with_columns(tokens=10.0 - pl.col("step"))
    assert only(sn.snr(backwards, score="final"))["mean"] == pytest.approx(0.25)
    assert only(sn.snr(backwards, score="final", order="step"))["mean"] == pytest.approx(0.45)
    lacking = backwards.with_columns(
        tokens=pl.when((pl.col("run") == "a") & (pl.col("step") == 1)).then(None).otherwise("tokens")
    )
    assert only(sn.snr(lacking, score="final"))["mean"] == pytest.approx((0.3 + 0.4) / 2)


def test_checkpoints_without_tokens_stay_apart_where_nothing_else_orders_them() -> None:
    scores = pl.DataFrame(
        {
            "run": ["a", "a", "a", "b", "b", "b"],
            "tokens": [None, 1.0, 2.0, 1.0, 2.0, 3.0],
            "task": "t",
            "metric": "acc",
            "value": [0.1, 0.1, 0.2, 0.4, 0.5, 0.6],
        }
    )
    row = only(sn.snr(scores))
    assert row["n_checkpoints"] == 3
    assert row["mean"] == pytest.approx((0.4 / 3 + 0.5) / 2)


def test_revisions_order_where_there_is_nothing_else() -> None:
    scores = pl.DataFrame(
        {
            "run": ["a", "a", "b", "b"],
            "revision": ["r2", "r1", "r1", "r2"],
            "task": "t",
            "metric": "acc",
            "value": [0.2, 0.1, 0.3, 0.4],
        }
    )
    assert only(sn.snr(scores, score="final"))["mean"] == pytest.approx(0.3)


def test_seeds_under_one_name_are_one_member_and_several_runs() -> None:
    scores = pl.concat(
        [
            table({"a": [0.1, 0.3]}, seed=0),
            table({"a": [0.5, 0.9]}, seed=1),
            table({"b": [0.2, 0.2]}, seed=0),
        ]
    )
    row = only(sn.snr(scores))
    assert row["n_runs"] == 2
    assert row["mean"] == pytest.approx((0.45 + 0.2) / 2)
    assert row["noise_absolute"] == pytest.approx(math.sqrt((0.02 + 0.08 + 0) / 3))
    assert only(sn.noise(scores))["n_runs"] == 3
    assert sn.noise(scores, per="run")["n_runs"].to_list() == [2, 1]
    assert only(sn.signal(scores))["range_null"] == "equal_members"


def test_groups_are_means_over_their_tasks() -> None:
    a = table({"x": [0.1, 0.2, 0.3], "y": [0.4, 0.4, 0.5]}, task="mmlu-a")
    b = table({"x": [0.3, 0.2, 0.5], "y": [0.2, 0.6, 0.1]}, task="mmlu-b")
    other = table({"x": [0.9, 0.8, 0.7], "y": [0.4, 0.3, 0.2]}, task="other")
    mean = a.with_columns(task=pl.lit("mmlu"), value=(a["value"] + b["value"]) / 2)
    expected = sn.snr(pl.concat([mean, other]))
    scores = pl.concat([other, b, a])
    for chosen in ("mmlu-*", ["mmlu-b", "mmlu-a"]):
        found = sn.snr(scores, groups={"mmlu": chosen})
        assert_frame_equal(found, expected, rel_tol=1e-12)
    with pytest.warns(sn.DroppedRowsWarning, match="1 of 6 checkpoints lack some of the 2 tasks"):
        found = sn.snr(pl.concat([other, b, a[1:]]), groups={"mmlu": "mmlu-*"})
    assert found.filter(task="mmlu")["n_checkpoints"].to_list() == [2]
    with pytest.raises(sn.SchemaError, match=r"'mmlu-c', which is no task here; did you mean 'mmlu-"):
        sn.snr(scores, groups={"mmlu": ["mmlu-c"]})
    with pytest.raises(sn.SchemaError, match="matches none of the 3 tasks"):
        sn.snr(scores, groups={"x": "arc*"})


def test_columns_that_would_be_mixed_join_the_key() -> None:
    scores = pl.concat(
        [
            table({"a": [0.1, 0.2], "b": [0.3, 0.5]}, shots=0),
            table({"a": [0.2, 0.1], "b": [0.6, 0.5]}, shots=5),
        ]
    )
    with pytest.warns(sn.MixedKeyWarning, match=r"config joined the key .*shots=0, shots=5"):
        found = sn.snr(scores)
    assert found["config"].to_list() == ["shots=0", "shots=5"]
    assert all("mixed_config" in flags for flags in found["flags"])
    assert only(sn.snr(scores, where="shots = 5"))["mean"] == pytest.approx(0.35)
    assert sn.snr(scores, by=["task", "metric", "shots"], where="shots = 5")["shots"].to_list() == [5]


# --- names and filters ---------------------------------------------------------------------------------------------


def theirs() -> pl.DataFrame:
    return pl.DataFrame(
        {
            "model": ["a", "a", "b", "b", "c", "c"],
            "ckpt": [1, 2, 1, 2, 1, 2],
            "benchmark": "arc",
            "score": [0.1, 0.2, 0.4, 0.5, 0.7, 0.7],
            "size": ["150M", "150M", "150M", "150M", "1.4B", "1.4B"],
            "family": ["x", "x", "y", "y", "y", "y"],
        }
    )


def test_their_names_work_in_by_where_and_filters() -> None:
    found = sn.noise(theirs(), by=("benchmark", "model"))
    assert found.columns[:2] == ["benchmark", "model"]
    assert found["model"].to_list() == ["a", "b", "c"]
    for where in ("family = 'y'", pl.col("family") == "y", "model != 'a'", "params = 1.4e9 OR run = 'b'"):
        assert only(sn.snr(theirs(), where=where))["mean"] == pytest.approx((0.45 + 0.7) / 2)
    row = only(sn.snr(theirs(), population="size = '150M'", noise_runs="model = 'a'"))
    assert row["mean"] == pytest.approx(0.3)
    assert row["noise_absolute"] == pytest.approx(math.sqrt(0.005))
    assert sn.noise(theirs(), by="family")["family"].to_list() == ["x", "y"]


def test_columns_declares_names() -> None:
    odd = theirs().rename({"model": "who", "score": "points"})
    with pytest.raises(sn.SchemaError, match=r"no column for 'run'"):
        sn.snr(odd.rename({"points": "value"}))
    with pytest.raises(sn.SchemaError, match="neither a value column"):
        sn.snr(odd)
    found = sn.snr(odd, columns={"who": "run", "points": "value"})
    assert found["snr"].to_list() == sn.snr(theirs())["snr"].to_list()
    with pytest.raises(sn.SchemaError, match=r"no column 'wo'; did you mean 'who'\?"):
        sn.snr(odd, columns={"wo": "run"})


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"by": "tsk"}, sn.SchemaError, r"no column 'tsk'; did you mean 'task'\?"),
        ({"across": "runs"}, sn.SchemaError, r"no column 'runs'; did you mean 'run'\?"),
        ({"order": "stepp"}, sn.SchemaError, r"no column 'stepp'; did you mean 'step'\?"),
        ({"where": "familly = 'x'"}, sn.SchemaError, r"where: .*did you mean 'family'\?"),
        ({"by": "famly"}, sn.SchemaError, r"no column 'famly'; did you mean 'family'\?"),
        ({"across": "recipe"}, sn.SchemaError, r"across.*no column 'recipe'"),
        ({"population": "siz = 1"}, sn.SchemaError, r"no column 'siz'; did you mean 'size'\?"),
        ({"where": "step >"}, sn.OptionError, "where: cannot read"),
        ({"noise_runs": "a b c"}, sn.OptionError, "noise_runs: cannot read"),
        ({"where": "step"}, sn.OptionError, "where must be true or false"),
        ({"population": "step + 1"}, sn.OptionError, "population must be true or false"),
        ({"noise_runs": 5}, sn.OptionError, "noise_runs must be a Polars expression"),
        ({"where": "step = 'x'"}, sn.OptionError, "where: .*does not fit the table's dtypes"),
        ({"population": "step = 'x'"}, sn.OptionError, "population: .*does not fit the table's dtypes"),
    ],
)
def test_names_and_filters_that_do_not_fit(
    options: dict[str, Any], error: type[Exception], text: str
) -> None:
    scores = theirs()
    with pytest.raises(error, match=text):
        sn.snr(scores.with_columns(pl.col("ckpt").alias("step")), **options)


# --- forms of input ------------------------------------------------------------------------------------------------


def forms(tmp_path: Path) -> dict[str, Any]:
    frame = sn.example_scores()
    import duckdb
    import pandas as pd

    frame.write_parquet(tmp_path / "s.parquet")
    frame.write_csv(tmp_path / "s.csv")
    frame.write_ndjson(tmp_path / "s.ndjson")
    frame.write_ipc(tmp_path / "s.arrow")
    half = frame.height // 2
    (tmp_path / "parts").mkdir()
    frame[:half].write_parquet(tmp_path / "parts" / "1.parquet")
    frame[half:].write_parquet(tmp_path / "parts" / "2.parquet")
    arrow = frame.to_arrow()
    return {
        "lazy": frame.lazy(),
        "pandas": pd.DataFrame({name: frame[name].to_list() for name in frame.columns}),
        "pyarrow": arrow,
        "batches": arrow.to_reader(max_chunksize=100),
        "duckdb": duckdb.sql("select * from arrow"),
        "parquet": tmp_path / "s.parquet",
        "text path": str(tmp_path / "s.parquet"),
        "csv": tmp_path / "s.csv",
        "ndjson": tmp_path / "s.ndjson",
        "ipc": tmp_path / "s.arrow",
        "list": [tmp_path / "parts" / "1.parquet", tmp_path / "parts" / "2.parquet"],
        "directory": tmp_path / "parts",
        "glob": str(tmp_path / "parts" / "*.parquet"),
    }


def test_every_form_of_input_gives_the_same_table(tmp_path: Path) -> None:
    expected = sn.snr(sn.example_scores(), by=("task", "metric", "params"))
    for name, scores in forms(tmp_path).items():
        found = sn.snr(scores, by=("task", "metric", "params"))
        assert found.equals(expected, null_equal=True), name


def test_missing_values_of_pandas_are_missing() -> None:
    import pandas as pd

    frame = pd.DataFrame(
        {
            "model": ["a", "a", "b", "b"],
            "tokens": [1e9, 2e9, float("nan"), float("nan")],
            "step": [1, 2, 1, 2],
            "task": "t",
            "acc": [0.5, float("nan"), 0.25, 0.75],
        }
    )
    row = only(sn.snr(frame))
    assert row["mean"] == pytest.approx(0.5)
    assert row["n_checkpoints"] == 1


def test_what_is_no_table_says_so() -> None:
    with pytest.raises(sn.SchemaError, match="scores must be a Polars frame, a path or an object"):
        sn.snr(3)
    with pytest.raises(sn.ReadError):
        sn.snr("/no/such/file.parquet")


# --- variants ------------------------------------------------------------------------------------------------------

VARIANTS = list(reference._dispersion.SIGNAL_VARIANTS)


@pytest.fixture(scope="module")
def noisy() -> pl.DataFrame:
    rng = np.random.default_rng(3)
    return pl.concat(
        table({f"r{i}": list(rng.uniform(0.2, 0.8) + rng.normal(0, 0.02, 8)) for i in range(9)}, task=task)
        for task in ("t1", "t2")
    )


@pytest.mark.parametrize("name", VARIANTS)
def test_variants_are_the_reference_functions(name: str, noisy: pl.DataFrame) -> None:
    found = sn.snr(noisy, signal=name)
    for row in found.iter_rows(named=True):
        runs = {
            run: values[-5:]
            for run, values in noisy.filter(task=row["task"]).group_by("run").agg("value").iter_rows()
        }
        means = [float(np.mean(runs[run])) for run in sorted(runs)]
        signal, noise, ratio = reference.signal_variant(
            name,
            means,
            [x for run in sorted(runs) for x in runs[run]],
            [float(np.std(x)) for x in runs.values()],
            [float(np.std(means))],
        )
        if name.startswith("textbook:"):
            noise = only(sn.noise(noisy.filter(task=row["task"])))["noise"]
            ratio = signal / noise
        assert (row["signal"], row["noise"], row["snr"]) == pytest.approx((signal, noise, ratio), rel=1e-9)
        assert row["snr_low"] is None
        assert f"signal:{name}|" in row["signature"]


@pytest.mark.parametrize("noise", NOISES)
def test_a_textbook_signal_stands_over_the_noise_asked_for(noise: str, noisy: pl.DataFrame) -> None:
    found = sn.snr(noisy, signal="textbook:gini", noise=noise)
    assert found["noise"].to_list() == sn.noise(noisy, noise=noise)["noise"].to_list()
    assert found["snr"].to_list() == pytest.approx((found["signal"] / found["noise"]).to_list())


# --- options that contradict each other ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"signal": "compat:mpd", "ddof": 1}, "implies ddof=0"),
        ({"signal": "compat:mpd", "noise": "within"}, "implies noise='mean_sd'"),
        ({"signal": "compat:mpd", "score": "final"}, "implies score='mean'"),
        ({"signal": "compat:mpd", "relative": False}, "implies relative=True"),
        ({"signal": "compat:nonesuch"}, "nonesuch"),
        ({"signal": "textbook:mad"}, "mad"),
        ({"signal": "dispersion"}, "signal must be"),
        ({"noise": "withn"}, "did you mean 'within'"),
        ({"score": "sample"}, "score must be one of"),
        ({"window": 0}, "window must be a whole number"),
        ({"window": 2.5}, "window must be a whole number"),
        ({"ddof": -1}, "ddof must be a whole number"),
        ({"confidence_level": 95}, "confidence_level must be a fraction"),
        ({"confidence_level": 1.0}, "confidence_level must be a fraction"),
        ({"autocorrelation": 1.0}, "autocorrelation must be"),
        ({"autocorrelation": None}, "autocorrelation must be"),
        ({"autocorrelation": "own"}, "autocorrelation must be one of"),
        ({"duplicates": "drop"}, "duplicates must be"),
    ],
)
def test_options_out_of_range(options: dict[str, Any], text: str, noisy: pl.DataFrame) -> None:
    with pytest.raises(sn.OptionError, match=text):
        sn.snr(noisy, **options)


def test_what_compat_implies_may_be_said(noisy: pl.DataFrame) -> None:
    plainly = sn.snr(noisy, signal="compat:mpd")
    aloud = sn.snr(noisy, signal="compat:mpd", ddof=0, noise="mean_sd", score="mean", relative=True)
    assert_frame_equal(plainly, aloud, check_exact=True)


def test_pooled_noise_has_no_runs(noisy: pl.DataFrame) -> None:
    with pytest.raises(sn.OptionError, match="pooled"):
        sn.noise(noisy, per="run", noise="pooled")


# --- intervals -----------------------------------------------------------------------------------------------------

J, N, LEVEL = 6, 5, 0.9


@pytest.fixture(scope="module")
def balanced() -> pl.DataFrame:
    rng = np.random.default_rng(11)
    return table({f"r{i}": list(0.4 + 0.03 * i + rng.normal(0, 0.02, N)) for i in range(J)})


def correction(rho: float, n: int) -> tuple[float, float]:
    """f and nu_1 of A3.6."""
    r = rho ** np.abs(np.subtract.outer(np.arange(n), np.arange(n))) if rho else np.eye(n)
    cr = (np.eye(n) - 1 / n) @ r
    return float(np.trace(cr)) / (n - 1), float(np.trace(cr) ** 2 / np.trace(cr @ cr))


@pytest.mark.parametrize("relative", [True, False])
@pytest.mark.parametrize("rho", [0.0, 0.4])
def test_intervals_are_those_of_the_methods(rho: float, relative: bool, balanced: pl.DataFrame) -> None:
    options: dict[str, Any] = {"autocorrelation": rho, "confidence_level": LEVEL, "relative": relative}
    row = only(sn.snr(balanced, **options))
    runs = np.array([balanced.filter(run=f"r{i}")["value"].to_numpy() for i in range(J)])
    f, nu_1 = correction(rho, N)
    nu = J * nu_1
    sigma2 = runs.var(axis=1, ddof=1).mean() / f
    spread = np.ptp(runs.mean(axis=1))
    scale = abs(runs.mean()) if relative else 1.0
    upper, lower = (1 + LEVEL) / 2, (1 - LEVEL) / 2

    # A3.6: random models, in units of the expected range.
    d2 = float(np.mean(np.ptp(np.random.default_rng(0).normal(size=(200_000, J)), axis=1)))
    ratio = spread / math.sqrt(sigma2)
    for name, quantile in (("snr_low", upper), ("snr_high", lower)):
        wide = ratio / stats.studentized_range.ppf(quantile, J, nu)
        assert row[name] / wide == pytest.approx(d2, rel=3e-3)
    assert row["snr_low"] / row["snr_high"] == pytest.approx(
        stats.studentized_range.ppf(lower, J, nu) / stats.studentized_range.ppf(upper, J, nu), rel=1e-6
    )
    # A2.2: chi-square limits of the noise.
    for name, quantile in (("noise_low", upper), ("noise_high", lower)):
        assert row[name] == pytest.approx(
            math.sqrt(sigma2 * nu / stats.chi2.ppf(quantile, nu)) / scale, rel=1e-9
        )
    # A1.3: fixed models.
    n_eff = min(N, max(1.5, N * (1 - rho) / (1 + rho)))
    stderr = math.sqrt(sigma2 / n_eff)
    low = max(0.0, spread - stats.studentized_range.ppf(upper, J, nu) * stderr)
    high = spread + stats.t.ppf(upper, nu) * math.sqrt(2) * stderr
    assert row["signal_low"] == pytest.approx(low / scale, rel=1e-6, abs=1e-12)
    assert row["signal_high"] == pytest.approx(high / scale, rel=1e-9)
    assert row["autocorrelation"] == rho

    side = only(sn.signal(balanced, **options))
    assert (side["signal_low"], side["signal_high"]) == (row["signal_low"], row["signal_high"])
    sd = runs.mean(axis=1).std(ddof=1)
    assert side["signal_excess"] == pytest.approx(math.sqrt(max(0, sd**2 - stderr**2)) / scale, rel=1e-9)
    assert side["range_p_value"] == pytest.approx(
        stats.studentized_range.sf(spread / stderr, J, nu), rel=1e-5, abs=1e-9
    )
    assert side["range_null"] == "equal_runs"
    other = only(sn.noise(balanced, **options))
    assert (other["noise_low"], other["noise_high"]) == (row["noise_low"], row["noise_high"])
    assert other["n_effective"] == pytest.approx(n_eff)


@pytest.mark.parametrize("ddof", [0, 1])
@pytest.mark.parametrize("noise", ["within", "mean_sd"])
def test_intervals_rest_on_the_unbiased_variance_whatever_the_estimate(
    noise: str, ddof: int, balanced: pl.DataFrame
) -> None:
    first = only(sn.snr(balanced, autocorrelation=0.0))
    other = only(sn.snr(balanced, autocorrelation=0.0, noise=noise, ddof=ddof))
    for name in ("snr_low", "snr_high", "noise_low", "noise_high", "signal_low", "signal_high"):
        assert other[name] == pytest.approx(first[name], rel=1e-12)


def test_final_scores_carry_the_noise_of_one_checkpoint(balanced: pl.DataFrame) -> None:
    row = only(sn.signal(balanced, score="final", autocorrelation=0.0))
    runs = np.array([balanced.filter(run=f"r{i}")["value"].to_numpy() for i in range(J)])
    nu, stderr = J * (N - 1), math.sqrt(runs.var(axis=1, ddof=1).mean())
    last = runs[:, -1]
    high = np.ptp(last) + stats.t.ppf(0.975, nu) * math.sqrt(2) * stderr
    assert row["signal_high"] == pytest.approx(high / last.mean(), rel=1e-9)


def test_detrended_noise_loses_a_degree_of_freedom_a_run(balanced: pl.DataFrame) -> None:
    row = only(sn.noise(balanced, noise="detrended", autocorrelation=0.0))
    nu = J * (N - 2)
    ratio = math.sqrt(stats.chi2.ppf(0.975, nu) / stats.chi2.ppf(0.025, nu))
    assert row["noise_high"] / row["noise_low"] == pytest.approx(ratio, rel=1e-9)
    assert row["noise"] == pytest.approx(
        row["noise_low"] * math.sqrt(stats.chi2.ppf(0.975, nu) / nu), rel=1e-9
    )


@pytest.mark.parametrize("noise", ["pooled", "successive_difference"])
def test_noises_without_a_normal_theory_have_no_interval(noise: str, balanced: pl.DataFrame) -> None:
    row = only(sn.snr(balanced, noise=noise))
    limits = ("snr_low", "snr_high", "noise_low", "noise_high", "signal_low", "signal_high")
    assert [row[name] for name in limits] == [None] * 6
    assert row["snr"] is not None


def test_trend_is_the_mean_slope_per_checkpoint() -> None:
    scores = table({"a": [0.1, 0.2, 0.3, 0.4, 0.5], "b": [0.2, 0.24, 0.28, 0.32, 0.36001]})
    row = only(sn.snr(scores, autocorrelation=0.0))
    assert row["trend"] == pytest.approx(0.07, abs=1e-5)
    assert "trend" in row["flags"]


def test_checkpoints_of_another_phase_are_no_noise() -> None:
    """Other data at the end of training: the last checkpoints rise, and their spread is told to be a trend."""
    wobble = [0.0, 0.004, -0.003, 0.002, -0.004, 0.003, -0.002, 0.001, 0.0, -0.003, 0.004, -0.001]
    level = [0.5 + noise + late for noise, late in zip(wobble, [0.0] * 9 + [0.03, 0.05, 0.07], strict=True)]
    scores = table({run: [value + shift for value in level] for run, shift in (("a", 0.0), ("b", 0.1))})
    before = only(sn.noise(scores, where="step <= 8", autocorrelation=0.0))
    after = only(sn.noise(scores, autocorrelation=0.0))
    assert ("trend" in before["flags"], "trend" in after["flags"]) == (False, True)
    assert after["noise"] > 3 * before["noise"]
    detrended = only(sn.noise(scores, noise="detrended", autocorrelation=0.0))
    assert detrended["noise"] < after["noise"] / 1.5
