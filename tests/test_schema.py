"""Other people's column names and dtypes become ours: every synonym, what overrides, and what is refused."""

from __future__ import annotations

import datetime
import math
import warnings
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

import signoise as sn
from signoise._schema import COLUMNS, find_columns, predicate, recognise

#: Section by section as documented; the first that a table has is the one.
SYNONYMS = {
    "run": "run model model_name model_path name",
    "step": "step checkpoint ckpt global_step",
    "tokens": "tokens train_tokens tokens_seen",
    "params": "params params_total n_params num_params size",
    "params_nonembedding": "params_nonembedding params_nonemb non_embedding_params",
    "flops": "flops compute",
    "recipe": "recipe mix data train_set",
    "seed": "seed train_seed",
    "task": "task benchmark dataset eval",
    "subtask": "subtask subset subject",
    "instance_id": "instance_id native_id doc_id id question_id item",
    "cluster": "cluster group passage_id",
    "repeat": "repeat epoch sample_id sample_index",
    "value": "value score",
}
PAIRS = [(ours, theirs) for ours, names in SYNONYMS.items() for theirs in names.split()]
TEXT = {"run", "recipe", "task", "subtask", "instance_id", "cluster"}

BASE = pl.DataFrame({"run": ["a", "b"], "task": ["t", "t"], "metric": ["acc", "acc"], "value": [0.1, 0.2]})


def ours(frame: pl.DataFrame, columns: dict[str, str] | None = None) -> pl.DataFrame:
    return recognise(frame.lazy(), columns).collect()


def base(**columns: Any) -> pl.DataFrame:
    return BASE.with_columns(
        **{k: v if isinstance(v, (pl.Series, pl.Expr)) else pl.Series(v) for k, v in columns.items()}
    )


def refusal(frame: pl.DataFrame, **options: Any) -> str:
    with pytest.raises(sn.SchemaError) as caught:
        sn.snr(frame, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(("name", "theirs"), PAIRS)
def test_every_name(name: str, theirs: str) -> None:
    content = ["7", "8"] if name in TEXT else [7, 8]
    frame = BASE.drop(name, strict=False).with_columns(pl.Series(theirs, content))
    found = ours(frame)
    assert found[name].to_list() == content
    assert found[name].dtype == COLUMNS.get(name, pl.Int64)
    assert found[theirs].to_list() == content  # the table's own name still works


@pytest.mark.parametrize("name", SYNONYMS)
def test_the_first_match_wins(name: str) -> None:
    names = SYNONYMS[name].split()
    for first in range(len(names)):
        # Later names stand to the left: it is their rank that counts.
        present = list(reversed(names[first:]))
        assert find_columns(present)[name] == names[first]


def test_every_column_of_ours_is_itself() -> None:
    assert find_columns(COLUMNS) == {name: name for name in COLUMNS}


@pytest.mark.parametrize("spelling", ["Model Name", "MODEL_NAME", "model-name", " model name "])
def test_case_and_punctuation_do_not_matter(spelling: str) -> None:
    assert ours(BASE.rename({"run": spelling}))["run"].to_list() == ["a", "b"]


def test_two_columns_with_one_bare_name() -> None:
    frame = BASE.rename({"run": "Model"}).with_columns(model=pl.lit("z"))
    assert ours(frame)["run"].to_list() == ["a", "b"]  # the one to the left


# --- overrides


def test_overrides_beat_recognition() -> None:
    frame = base(nick=["x", "y"])
    assert ours(frame, {"nick": "run"})["run"].to_list() == ["x", "y"]
    swapped = base(subtask=["p", "q"])
    found = ours(swapped, {"subtask": "task", "task": "subtask"})
    assert found.select("task", "subtask").rows() == [("p", "t"), ("q", "t")]


def test_an_overridden_column_is_not_used_twice() -> None:
    frame = BASE.rename({"run": "model", "task": "dataset"}).with_columns(name=pl.lit("n"))
    found = ours(frame, {"model": "recipe"})
    assert found["recipe"].to_list() == ["a", "b"]
    assert found["run"].to_list() == ["n", "n"]


def test_overrides_that_cannot_be() -> None:
    assert "the table has no column 'modle'; did you mean 'model'" in refusal(
        BASE.rename({"run": "model"}), columns={"modle": "run"}
    )
    assert "'model' is not a column of the score table" in refusal(BASE, columns={"run": "model"})
    assert "'tsak' is not a column of the score table; did you mean 'task'?" in refusal(
        BASE, columns={"run": "tsak"}
    )
    assert "both 'run' and 'task' are declared as 'run'" in refusal(
        BASE, columns={"run": "run", "task": "run"}
    )


@pytest.mark.parametrize("needed", ["run", "task"])
def test_what_must_be_there(needed: str) -> None:
    text = refusal(BASE.rename({needed: "thing"}))
    assert f"the table has no column for '{needed}'" in text
    assert "thing" in text
    assert 'columns={"' in text
    assert f"={needed}" in text


def test_no_score_at_all() -> None:
    assert "neither a value column (value, score) nor a numeric column named like a metric" in refusal(
        BASE.drop("value")
    )


# --- sizes, steps, seeds


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("150M", 150_000_000),
        ("1.4B", 1_400_000_000),
        ("70b", 70_000_000_000),
        ("1,000", 1000),
        ("14m", 14_000_000),
    ],
)
def test_sizes(text: str, count: int) -> None:
    found = ours(base(size=[text, None]))
    assert found["params"].to_list() == [count, None]
    assert found["size"].to_list() == [text, None]


def test_a_count_beats_a_size() -> None:
    assert ours(base(size=["150M", "1B"], params_total=[151, 1001]))["params"].to_list() == [151, 1001]


def test_a_size_that_is_none() -> None:
    assert refusal(base(size=["150M", "large"])) == (
        "params: cannot read the size 'large'; write a count (1400000000) or a size (1.4B)"
    )


@pytest.mark.parametrize(
    ("text", "step", "revision"),
    [
        ("143000", 143000, None),
        ("0", 0, None),
        ("1000.0", 1000, None),
        ("1e3", 1000, None),
        ("143,000", 143000, None),
        ("step143000", 143000, "step143000"),
        ("step0", 0, "step0"),
        ("step-955k", 955000, "step-955k"),
        ("iter_0001000", 1000, "iter_0001000"),
        ("checkpoint-500", 500, "checkpoint-500"),
        ("ba1000", 1000, "ba1000"),
        ("global_step7", 7, "global_step7"),
        ("stage1-step1610000-tokens3377B", 1610000, "stage1-step1610000-tokens3377B"),
        ("main", None, "main"),
        ("final", None, "final"),
        ("1.5", None, None),
        ("", None, ""),
        (None, None, None),
    ],
)
def test_steps_as_text(text: str | None, step: int | None, revision: str | None) -> None:
    found = ours(base(checkpoint=pl.Series([text, "step5"])))
    assert found["step"][0] == step
    assert found["revision"][0] == revision


def test_a_revision_of_the_table_is_kept() -> None:
    found = ours(base(step=["step1", "2"], revision=["r", None]))
    assert found.select("step", "revision").rows() == [(1, "r"), (2, None)]


def test_steps_that_became_floats() -> None:
    assert ours(base(step=[1000.0, math.nan]))["step"].to_list() == [1000, None]


def test_seeds_with_names() -> None:
    assert ours(base(seed=["default", "small-aux-2"]))["seed"].to_list() == [1, 2]
    assert ours(base(seed=["7", None]))["seed"].to_list() == [7, None]
    # Names without numbers are told apart, in lexical order.
    assert ours(base(seed=["pear", "apple"]))["seed"].to_list() == [1, 0]


# --- config


def test_config_is_joined_in_the_order_of_names() -> None:
    frame = base(variant=["main", None], num_fewshot=[5, 0], limit=[None, 10], Prompt=["p", None])
    assert ours(frame)["config"].to_list() == ["prompt=p,shots=5,variant=main", "limit=10,shots=0"]
    assert ours(base(shots=[None, 5]))["config"].to_list() == [None, "shots=5"]
    assert ours(base(template=["a", "b"]))["config"].to_list() == ["template=a", "template=b"]


def test_config_of_the_table_is_kept() -> None:
    assert ours(base(config=["x", "y"], shots=[0, 5]))["config"].to_list() == ["x", "y"]


def test_shots_that_became_floats() -> None:
    found = ours(base(shots=[5.0, math.nan], limit=[0.5, None]))
    assert found["config"].to_list() == ["limit=0.5,shots=5", None]


def test_a_declared_part_leaves_the_config() -> None:
    found = ours(base(prompt=["p", "q"], shots=[0, 5]), {"prompt": "subtask"})
    assert found.select("config", "subtask").rows() == [("shots=0", "p"), ("shots=5", "q")]


# --- metric and value


def test_one_column_a_metric() -> None:
    wide = pl.DataFrame(
        {
            "model": ["a", "b"],
            "task": ["t", "t"],
            "step": [1, 2],
            "acc": [0.5, None],
            "bits_per_byte": pl.Series([1, 2]),
            "solved": [True, False],
            "pass@1": [True, False],
            "acc_stderr": [0.01, 0.02],
            "note": ["x", "y"],
        }
    )
    found = ours(wide).sort("run", "metric")
    assert found.select("run", "metric", "value").rows() == [
        ("a", "acc", 0.5),
        ("a", "bits_per_byte", 1.0),
        ("a", "pass@1", 1.0),
        ("b", "bits_per_byte", 2.0),
        ("b", "pass@1", 0.0),
    ]
    assert found["note"].to_list() == ["x", "x", "x", "y", "y"]


def test_a_given_value_column_names_its_metric() -> None:
    frame = BASE.drop("metric", "value").with_columns(vibes=pl.Series([1, 2]))
    found = ours(frame, {"vibes": "value"})
    assert found.select("metric", "value").rows() == [("vibes", 1.0), ("vibes", 2.0)]
    assert ours(BASE.drop("metric").rename({"value": "score"}))["metric"].to_list() == ["score"] * 2


def test_a_value_column_beats_columns_of_metrics() -> None:
    assert ours(base(f1=[0.9, 0.8])).select("metric", "value").rows() == [("acc", 0.1), ("acc", 0.2)]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (pl.Series([1, 0], dtype=pl.Int64), [1.0, 0.0]),
        (pl.Series([1, 0], dtype=pl.UInt8), [1.0, 0.0]),
        (pl.Series([True, False]), [1.0, 0.0]),
        (pl.Series([Decimal("0.25"), Decimal("0.5")]), [0.25, 0.5]),
        (pl.Series([0.25, 0.5], dtype=pl.Float32), [0.25, 0.5]),
        (pl.Series(["0.25", "1e-3"]), [0.25, 0.001]),
        (pl.Series(["0.25", "0.5"], dtype=pl.Categorical), [0.25, 0.5]),
        (pl.Series([None, None]), [None, None]),
    ],
)
def test_dtypes_of_values(values: pl.Series, expected: list[float | None]) -> None:
    found = ours(base(value=values))["value"]
    assert found.dtype == pl.Float64
    assert found.to_list() == expected


@pytest.mark.parametrize(
    "dtype", [pl.Categorical(), pl.Enum(["step30", "step4", "150M", "9", "a", "t", "acc"])]
)
def test_categories_are_text(dtype: Any) -> None:
    text = pl.DataFrame(
        {
            "run": ["a", "a"],
            "step": ["step30", "step4"],
            "size": ["150M", "150M"],
            "seed": ["9", "9"],
            "task": ["t", "t"],
            "metric": ["acc", "acc"],
        }
    )
    value = pl.Series("value", [0.1, 0.2])
    coded = text.select(pl.all().cast(dtype)).with_columns(value)
    assert_frame_equal(
        ours(coded).select("run", "step", "params", "seed", "task", "metric", "value"),
        ours(text.with_columns(value)).select("run", "step", "params", "seed", "task", "metric", "value"),
    )
    assert sn.noise(coded, where="task = 't'")["n_runs"].to_list() == [1]


@pytest.mark.parametrize(
    ("column", "content", "found"),
    [
        ("value", ["0.5", "n/a"], "n/a"),
        ("step", pl.Series([[1], [2]]), "step"),
        ("tokens", ["1e9", "many"], "many"),
        ("params", [1e9, math.inf], "inf"),
        ("repeat", ["0", "x"], "x"),
    ],
)
def test_what_cannot_be_read_is_named(column: str, content: Any, found: str) -> None:
    text = refusal(base(**{column: content}))
    assert column in text
    assert found in text
    assert "columns=" in text or "write" in text


def test_a_time_is_no_score_and_a_list_no_name() -> None:
    assert "value: column 'value' holds Time, not numbers" in refusal(
        base(value=[datetime.time(1), datetime.time(2)])
    )
    assert "task: column 'task' holds List(Int64), not text" in refusal(base(task=pl.Series([[1], [2]])))


def test_unicode() -> None:
    frame = pl.DataFrame(
        {"модель": ["а", "б"], "task": ["数学", "数学"], "metric": ["acc"] * 2, "value": [0.1, 0.2]}
    )
    found = sn.signal(frame, columns={"модель": "run"}, by=("task", "metric"))
    assert found.select("task", "n_runs").rows() == [("数学", 2)]
    assert "модель" in refusal(frame)


def test_a_metric_for_each_row_needs_a_score() -> None:
    frame = BASE.rename({"value": "val"}).with_columns(nll=pl.lit(0.5))
    assert "nll beside it would be others. Say which holds the score" in refusal(frame)
    assert sn.snr(frame, columns={"val": "value"}).height == sn.snr(BASE).height


def test_empty_frames() -> None:
    assert refusal(BASE.head(0)) == "no rows are left"
    assert "no rows are left after where=value > 3" in refusal(BASE, where="value > 3")
    assert "its columns are " in refusal(pl.DataFrame())


# --- any table at all


@given(
    st.lists(
        st.sampled_from([theirs for _, theirs in PAIRS] + ["shots", "acc", "notes", "metric", "config"]),
        unique=True,
        min_size=1,
    ),
    st.randoms(use_true_random=False),
)
@settings(max_examples=80, deadline=None, derandomize=True)
def test_recognition_adds_ours_and_keeps_theirs(names: list[str], random: Any) -> None:
    frame = pl.DataFrame({name: ["1", "2"] for name in names}).with_columns(
        pl.col(c).cast(pl.Float64) for c in names if c == "acc"
    )
    try:
        found = ours(frame)
    except sn.SchemaError:
        assert not {"run", "task"} <= set(find_columns(names)) or not {"value", "score", "acc"} & set(names)
        return
    for name in found.columns:
        if name in COLUMNS:
            assert found[name].dtype == COLUMNS[name]
        elif name in names:
            assert found[name].to_list() == frame[name].to_list()
    shuffled = names[:]
    random.shuffle(shuffled)
    again = ours(frame.select(shuffled))
    assert_frame_equal(again, found, check_column_order=False)


def test_arrow_pandas_and_duckdb_objects_are_tables() -> None:
    pa, pd, duckdb = (pytest.importorskip(name) for name in ("pyarrow", "pandas", "duckdb"))
    scores = sn.example_scores()
    expected = sn.snr(scores)
    arrow = scores.to_arrow()
    assert isinstance(arrow, pa.Table)
    assert_frame_equal(sn.snr(arrow), expected)
    assert_frame_equal(sn.snr(pd.DataFrame(scores.to_dict(as_series=False))), expected)
    assert_frame_equal(sn.snr(duckdb.sql("SELECT * FROM arrow")), expected)
    assert_frame_equal(sn.snr(scores.lazy()), expected)
    with pytest.raises(sn.SchemaError, match="got int"):
        sn.snr(3)


# --- filters


def test_filters_know_their_columns() -> None:
    with pytest.raises(sn.SchemaError, match="where: the table has no column 'taks'; did you mean 'task'"):
        sn.snr(BASE, where="taks = 't'")
    with pytest.raises(sn.OptionError, match="where: cannot read 'task =' as a SQL predicate"):
        sn.snr(BASE, where="task =")
    with pytest.raises(sn.OptionError, match="must be a Polars expression or a SQL predicate, got int"):
        predicate(3, "where", pl.Schema())  # type: ignore[arg-type]
    assert predicate(None, "where", pl.Schema()) is None


def test_both_names_work_in_filters_and_keys() -> None:
    frame = sn.example_scores().rename({"run": "model", "task": "benchmark", "params": "params_total"})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        by_theirs = sn.snr(
            frame, where="benchmark != 'sim_arc' AND params_total > 2e8", by=("benchmark", "metric")
        )
        by_ours = sn.snr(frame, where="task != 'sim_arc' AND params > 2e8")
    assert_frame_equal(by_theirs.rename({"benchmark": "task"}), by_ours)


def test_a_fraction_of_a_step_is_not_cut_off() -> None:
    # 0.25 and 0.5 of an epoch would both become checkpoint 0.
    frame = pl.DataFrame({"run": ["a", "a"], "task": ["t", "t"], "step": [0.25, 0.5], "acc": [0.1, 0.2]})
    with pytest.raises(sn.SchemaError, match=r"step: column 'step' holds 0\.25, which is no whole number"):
        sn.snr(frame)
    whole = frame.with_columns(step=pl.Series([1000.0, 2000.0]))
    assert sn.noise(whole)["n_checkpoints"].to_list() == [2]
