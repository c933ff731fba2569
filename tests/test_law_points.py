"""From tables as people have them to points: what is left out, computed, refused and told, each in one sentence."""

from __future__ import annotations

import gzip
import math
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import signoise as sn

Change = Callable[[pl.DataFrame], pl.DataFrame]


def table(copies: int = 1) -> pl.DataFrame:
    params = np.repeat(np.outer([1e8, 2e8, 5e8, 1e9, 4e9], np.linspace(1, 1.2, copies)), 4)
    tokens = params * np.tile([5.0, 20.0, 80.0, 320.0], 5 * copies)
    loss = 1.8 + 480 * params**-0.35 + 2100 * tokens**-0.37
    return pl.DataFrame({"params": params, "tokens": tokens, "loss": loss})


def fit(source: Any, law: str = "hitchhiker", **options: Any) -> tuple[dict[str, Any], list[str]]:
    """The first row of a fit, and what was said."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        rows = sn.fit_scaling_law(source, law, **{"y": "loss", "interval": "none", **options})
    assert all(issubclass(one.category, sn.SignoiseWarning) for one in told)
    # Every warning is of the line that called the verb.
    assert {Path(one.filename).name for one in told} <= {Path(__file__).name}
    return rows.row(0, named=True), [str(one.message) for one in told]


def some(column: str, value: Any, rows: int = 3) -> Change:
    """The first rows with another value in a column."""
    return lambda frame: frame.with_columns(
        pl.when(pl.int_range(pl.len()) < rows).then(value).otherwise(pl.col(column)).alias(column)
    )


# --- left out and counted -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "n", "said"),
    [
        (some("params", None), 17, "3 rows without params were left out"),
        (some("tokens", float("nan")), 17, "3 rows without tokens were left out"),
        (some("loss", None), 17, "3 rows without loss were left out"),
        (some("loss", float("inf")), 17, "3 rows with infinite loss were left out"),
        (some("tokens", 0.0), 17, "3 rows with tokens of 0 or less were left out"),
        (some("params", -1.0), 17, "3 rows with params of 0 or less were left out"),
        (
            lambda frame: pl.concat([frame, frame[:3]]),
            20,
            "3 rows repeat another one exactly and were left out",
        ),
    ],
    ids=["no params", "nan tokens", "no loss", "infinite loss", "zero tokens", "negative params", "repeats"],
)
def test_rows_that_are_no_points(change: Change, n: int, said: str) -> None:
    row, told = fit(change(table()))
    assert told == [said]
    assert row["n_points"] == n
    assert row["status"] == "ok"


def test_a_rung_that_is_missing() -> None:
    rungs = table().with_columns(rung=pl.Series([1, 2, 3, 4, None] * 4))
    row, told = fit(rungs, scale="rung")
    assert told == ["4 rows without rung were left out"]
    assert (row["n_points"], row["n_scales"]) == (16, 4)


def test_everything_that_was_left_out_is_one_warning() -> None:
    _, told = fit(some("loss", float("inf"), 2)(some("params", None, 1)(table())))
    assert told == ["1 rows without params were left out; 1 rows with infinite loss were left out"]


# --- computed and told ----------------------------------------------------------------------------------


def test_flops_are_computed_and_said() -> None:
    row, told = fit(table(), "ladder_loss_flops")
    assert told == ["flops was computed as 6 x params x tokens"]
    given, silent = fit(
        table().with_columns(flops=6 * pl.col("params") * pl.col("tokens")), "ladder_loss_flops"
    )
    assert silent == []
    assert given["objective"] == row["objective"]


@pytest.mark.parametrize("name", ["params_nonembedding", "params_nonemb", "non_embedding_params"])
def test_two_counts_of_parameters(name: str) -> None:
    both = table().with_columns((pl.col("params") * 0.7).alias(name))
    row, told = fit(both)
    assert told == [f"params were taken, not {name}; x='{name},tokens' takes those"]
    other, silent = fit(both, x=[name, "tokens"])
    assert silent == []
    assert other["objective"] == pytest.approx(row["objective"], abs=1e-12)
    assert row["estimate"] == pytest.approx(480, rel=1e-2)
    assert other["estimate"] == pytest.approx(480 * 0.7**0.35, rel=1e-2)


def test_parameters_without_embeddings_are_not_taken_silently() -> None:
    with pytest.raises(sn.SchemaError, match=r"no column 'params'.*params_nonemb.*x=.YOURS"):
        fit(table().rename({"params": "params_nonemb"}))


def test_checkpoints_of_runs() -> None:
    runs = table().with_columns(run=pl.Series([f"run{row // 4}" for row in range(20)]))
    row, told = fit(runs)
    assert len(told) == 1
    assert told[0].startswith("5 of 5 runs have several checkpoints (up to 4): all are points")
    assert (row["n_points"], row["n_clusters"]) == (20, 5)
    last, silent = fit(runs, checkpoints="last")
    assert (last["n_points"], silent) == (5, [])
    assert "few_scales" in last["flags"]


def test_a_sweep_with_bad_members() -> None:
    sweep = pl.concat(
        [table(), table().with_columns(pl.col("loss") * 1.3), table().with_columns(pl.col("loss") * 2)]
    )
    row, told = fit(sweep)
    assert len(told) == 1
    assert told[0].startswith(
        "20 places have several values, up to 100% apart, and all were taken: if this is a sweep"
    )
    best, said = fit(sweep, repeats="best")
    assert said == ["20 places have several values: the lowest of each was taken"]
    assert best["objective"] < 1e-9 < row["objective"]
    _, said = fit(sweep, repeats="mean")
    assert said == ["20 places have several values: their means were taken"]


def test_published_runs_with_sweeps_and_checkpoints(shared: Path) -> None:
    runs = pl.read_parquet(shared / "data" / "misfitting_runs.parquet")
    row, told = fit(runs, cluster="sweep", where="portion_steps_elapsed > 0.5")
    assert len(told) == 1
    said = told[0]
    assert "params were taken, not params_nonemb" in said
    assert "places have several values" in said
    assert "runs have several checkpoints" in said
    best, said_best = fit(runs, cluster="sweep", where="portion_steps_elapsed > 0.5", repeats="best")
    assert "the lowest of each was taken" in said_best[0]
    assert best["n_points"] < row["n_points"]
    assert best["residual_sd"] < row["residual_sd"]


# --- refused ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (
            lambda f: f.with_columns(pl.col("tokens") / 1e9),
            {},
            "tokens: the middle value is .* looks like billions",
        ),
        (
            lambda f: f.with_columns(pl.col("params") / 1e6),
            {},
            "params: the middle value is 500, which looks like",
        ),
        (
            lambda f: f.with_columns(pl.col("params") * 1e9),
            {},
            "params: the middle value is 5e.17, .*other units",
        ),
        (some("tokens", 0.5), {}, "tokens: 3 of 20 values, such as 0.5, do not go with the others"),
        (
            lambda f: pl.concat([f, f.with_columns(pl.col("loss") / math.log(2))]),
            {},
            "20 places have two values in the ratio 1.4427 = 1/ln 2: the same loss in bits and in nats",
        ),
        (some("loss", 0.0), {"law": "chinchilla"}, "lowest value of loss is 0; use objective='lsq'"),
        (
            lambda f: f.with_columns(loss=pl.Series(["2.0"] * 4 + ["diverged"] + ["2.0"] * 15)),
            {},
            "column 'loss', row 5: 'diverged' is no number",
        ),
        (
            lambda f: f.with_columns(params=pl.Series(["150M"] * 6 + ["big"] + ["1B"] * 13)),
            {},
            "column 'params', row 7: .*cannot read the size 'big'",
        ),
        (lambda f: f.with_columns(loss=pl.date(2024, 1, 1)), {}, "column 'loss' holds Date, not numbers"),
        (lambda f: f.drop("tokens"), {}, "no column 'tokens'"),
        (lambda f: f, {"y": "los"}, "y: the table has no column 'los'; did you mean 'loss'"),
        (lambda f: f, {"by": "mix"}, "by: the table has no column 'mix'"),
        (lambda f: f, {"cluster": "seed"}, "cluster: the table has no column 'seed'"),
        (lambda f: f, {"scale": "rung"}, "scale: the table has no column 'rung'"),
        (lambda f: f, {"columns": {"N": "params"}}, "columns: the table has no column 'N'"),
        (
            lambda f: f,
            {"where": "prams > 1"},
            "where: the table has no column 'prams'; did you mean 'params'",
        ),
        (lambda f: f, {"where": "params > 1e13"}, "no rows are left after where=params > 1e13"),
        (lambda f: f[:0], {}, "the table has no rows"),
        (
            lambda f: f.with_columns(loss=pl.lit(None, dtype=pl.Float64)),
            {},
            "no row has all of params, tokens, loss",
        ),
        (lambda f: f, {"x": "params"}, "takes 2 columns .* x names 1"),
        (lambda f: f, {"law": "power_law"}, "is of any amount: say which column it is"),
    ],
)
def test_one_clear_sentence(change: Change, options: dict[str, Any], message: str) -> None:
    with pytest.raises((sn.SchemaError, sn.OptionError), match=message) as error:
        fit(change(table()), **options)
    assert "\n" not in str(error.value)


def test_units_that_are_right_after_all() -> None:
    row, _ = fit(table().with_columns(pl.col("tokens") / 1e9), check_units=False)
    assert row["n_points"] == 20


@pytest.mark.parametrize("law", ["hitchhiker", "ladder_loss"])
@pytest.mark.parametrize("seed", [0, 1, 4])
def test_some_losses_in_bits_are_flagged(law: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    runs = table(4)
    other = pl.Series(rng.random(80) < 0.3)
    bits = pl.when(other).then(pl.col("loss") / math.log(2)).otherwise("loss")
    assert "bits_and_nats" in fit(runs.with_columns(loss=bits), law)[0]["flags"]
    scattered = pl.col("loss") * pl.Series(np.exp(rng.normal(0, 0.15, 80)))
    for sound in (runs, runs.with_columns(loss=scattered)):
        assert "bits_and_nats" not in fit(sound, law)[0]["flags"]


# --- where tables come from ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["csv", "tsv", "ndjson", "parquet", "json", "csv.gz"])
def test_files(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"runs.{kind}"
    match kind:
        case "csv":
            table().write_csv(path)
        case "tsv":
            table().write_csv(path, separator="\t")
        case "ndjson":
            table().write_ndjson(path)
        case "parquet":
            table().write_parquet(path)
        case "json":
            table().write_json(path)
        case _:
            path.write_bytes(gzip.compress(table().write_csv().encode()))
    row, told = fit(path)
    assert told == []
    assert row["estimate"] == pytest.approx(fit(table())[0]["estimate"], rel=1e-6)


def test_a_directory_a_glob_a_list_and_frames(tmp_path: Path) -> None:
    paths = [tmp_path / "a.csv", tmp_path / "b.csv"]
    for path, part in zip(paths, (table()[:10], table()[10:]), strict=True):
        part.write_csv(path)
    wanted = fit(table())[0]["estimate"]
    for source in (
        tmp_path,
        str(tmp_path),
        str(tmp_path / "*.csv"),
        paths,
        table().lazy(),
        table().to_arrow(),
    ):
        row, told = fit(source)
        assert told == []
        assert row["n_points"] == 20
        assert row["estimate"] == pytest.approx(wanted, rel=1e-6)


def test_a_line_that_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    path.write_text(table().write_csv() + "1e8,2e9\n")
    row, told = fit(path)
    assert row["n_points"] == 20
    assert len(told) == 1
    assert "dropped 1 row" in told[0]
    assert "line 22" in told[0]


def test_a_score_table_names_metrics() -> None:
    runs = table().with_columns(
        pl.col("params", "tokens").cast(pl.Int64), run=pl.Series([f"run{row}" for row in range(20)])
    )
    scores = pl.concat(
        [
            runs.select(
                "run", "params", "tokens", task=pl.lit(task), metric=pl.lit(metric), value=pl.col("loss") * k
            )
            for task, metric, k in (("arc", "loss", 1.0), ("arc", "bpb", 0.5), ("piqa", "loss", 0.8))
        ]
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        both = sn.fit_scaling_law(scores, "hitchhiker", y="loss", interval="none")
        every = sn.fit_scaling_law(scores, "hitchhiker", interval="none")
    assert both.select("task", "metric").unique().sort("task").rows() == [("arc", "loss"), ("piqa", "loss")]
    assert every.select("task", "metric").unique().height == 3
    # The plain table is the same fit.
    plain, _ = fit(runs)
    assert both["objective"][0] == pytest.approx(plain["objective"], abs=1e-12)
    with pytest.raises(
        sn.SchemaError, match="y: 'los' is neither a column of the table nor one of its metrics"
    ):
        sn.fit_scaling_law(scores, "hitchhiker", y="los")


def test_where_by_and_columns() -> None:
    theirs = table().rename({"params": "N", "tokens": "D", "loss": "L"})
    row, _ = fit(theirs, x=["N", "D"], y="L")
    again, _ = fit(theirs, columns={"N": "params", "D": "tokens"}, y="L")
    assert row["estimate"] == again["estimate"]
    few, _ = fit(table(), where="params > 3e8")
    assert few["n_points"] == 12
    same, _ = fit(table(), where=pl.col("params") > 3e8)
    assert same["estimate"] == few["estimate"]
    nobody = table()[:2].with_columns(mix=pl.lit(None, dtype=pl.String))
    mixes = pl.concat([*(table().with_columns(mix=pl.lit(mix)) for mix in ("b", "a")), nobody])
    rows = sn.fit_scaling_law(mixes, "hitchhiker", y="loss", by="mix", interval="none")
    assert rows["mix"].unique(maintain_order=True).to_list() == ["a", "b", None]
    assert rows.filter(pl.col("mix").is_null())["status"].unique().to_list() == ["too_few"]


def test_cells_that_are_no_numbers_are_found_where_they_stand(tmp_path: Path) -> None:
    """The file and the row in it, also behind another file; the row of a frame, also behind a filter."""
    (tmp_path / "a.csv").write_text("params,tokens,loss\n1e8,2e9,3\n1e9,2e9,2.5\n")
    (tmp_path / "b.csv").write_text("params,tokens,loss\n1e8,2e9,3\n2e9,3e9,oops\n")
    with pytest.raises(
        sn.SchemaError, match=r"b\.csv, row 2 below the header, column 'loss': 'oops' is no number;"
    ):
        sn.fit_scaling_law(str(tmp_path), "ladder_loss", y="loss")
    frame = pl.DataFrame({"params": [1e8, 1e9, 1e9], "tokens": [1e9] * 3, "loss": ["a", "3", "x"]})
    with pytest.raises(sn.SchemaError, match=r"column 'loss', row 3: 'x' is no number; correct it"):
        sn.fit_scaling_law(frame, "ladder_loss", y="loss", where="params > 2e8")


def test_the_best_of_several_scores_is_the_highest_where_higher_is_better() -> None:
    runs = table()
    twice = pl.concat([runs, runs.with_columns(pl.col("loss") * 1.01)])
    scores = twice.with_columns(accuracy=1 - pl.col("loss") / 10).drop("loss")
    with pytest.warns(sn.DroppedRowsWarning, match="the highest of each was taken"):
        fit = sn.fit_scaling_law(
            scores, "ladder_accuracy_flops", x="flops", y="accuracy", repeats="best", interval="none"
        )
    # Other sizes stand at the same flops: the best of each place is taken of a single copy too.
    with pytest.warns(sn.DroppedRowsWarning, match="the highest of each was taken"):
        once = sn.fit_scaling_law(
            runs.with_columns(accuracy=1 - pl.col("loss") / 10),
            "ladder_accuracy_flops",
            x="flops",
            y="accuracy",
            repeats="best",
            interval="none",
        )
    assert fit["n_points"].to_list() == once["n_points"].to_list()
    assert fit["estimate"].to_list() == once["estimate"].to_list()
