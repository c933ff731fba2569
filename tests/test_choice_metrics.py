"""Metrics of choices: the definitions, their identities, and the harnesses' own values of real dumps, one by one."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import signoise as sn
from signoise._errors import DroppedRowsWarning, OptionError, ReadError, ShapeError, SignoiseWarning
from signoise._interventions._proxy_metrics import NEEDS
from signoise._interventions._proxy_metrics import choice_metrics as proxy_metrics
from signoise._metrics import lookup
from signoise.reference import choice_metrics as reference_metrics

LIKELIHOODS = st.one_of(st.floats(-800, 0), st.sampled_from([-math.inf, math.nan, 0.0, -1.0]))
LENGTHS = st.one_of(st.integers(1, 300).map(float), st.sampled_from([math.nan, 0.0]))


@st.composite
def instances(draw: st.DrawFn, *, sound: bool = False, several: bool = False) -> dict[str, Any]:
    sizes = draw(st.lists(st.integers(2 if several else 1, 5), min_size=1, max_size=6))
    n = sum(sizes)
    values = st.floats(-60, 0) if sound else LIKELIHOODS
    lengths = st.integers(1, 300).map(float) if sound else LENGTHS
    columns = {"characters": lengths, "bytes": lengths, "tokens": lengths, "scored_bytes": lengths}
    held = {
        name: np.array(draw(st.lists(kind, min_size=n, max_size=n)))
        for name, kind in {"loglikelihoods": values, "unconditional": values, **columns}.items()
    }
    correct = [draw(st.integers(0, size - 1)) for size in sizes]
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    return {"offsets": offsets, "correct": np.array(correct, dtype=np.int64), **held}


@given(instances())
def test_all_at_once_is_one_by_one(case: dict[str, Any]) -> None:
    fast, slow = proxy_metrics(**case), reference_metrics(**case)
    assert set(fast) == set(slow) == set(NEEDS)
    for name, values in slow.items():
        np.testing.assert_allclose(fast[name], values, rtol=1e-9, atol=1e-300, err_msg=name)


@given(instances(sound=True, several=True), st.floats(-20, 20))
def test_a_shift_of_all_choices_changes_no_comparison(case: dict[str, Any], shift: float) -> None:
    # Halves, so that sums are exact and ties stay ties.
    case |= {name: np.round(case[name] * 2) / 2 for name in ("loglikelihoods", "unconditional")}
    shift = round(shift * 2) / 2
    before = reference_metrics(**case)
    after = reference_metrics(**{**case, "loglikelihoods": case["loglikelihoods"] + shift})
    for name in ("acc_raw", "acc_uncond"):
        np.testing.assert_array_equal(
            after[name][~np.isnan(before[name])], before[name][~np.isnan(before[name])]
        )
    for name in ("norm_correct_prob", "brier_score"):
        np.testing.assert_allclose(after[name], before[name], rtol=1e-9, atol=1e-12)
    for name in ("correct_prob", "total_prob", "margin"):
        np.testing.assert_allclose(after[name], before[name] * math.exp(shift), rtol=1e-9, atol=1e-300)


@given(instances(sound=True, several=True))
def test_shares_of_all_choices_add_up_to_one(case: dict[str, Any]) -> None:
    sizes = np.diff(case["offsets"])
    total = np.zeros(len(sizes))
    for k in range(int(sizes.max())):
        inside = sizes > k
        out = reference_metrics(**{**case, "correct": np.where(inside, k, 0)})
        total += np.where(inside, out["norm_correct_prob"], 0.0)
        np.testing.assert_allclose(
            out["correct_prob"], out["norm_correct_prob"] * out["total_prob"], rtol=1e-9, atol=1e-300
        )
        assert (out["margin"] <= out["correct_prob"]).all()
        assert (out["brier_score"] >= 0).all()
        assert (out["brier_score"] <= 2 + 1e-12).all()
        both = np.exp(out["sum_logits_incorr"]) + out["correct_prob"]
        np.testing.assert_allclose(both, out["total_prob"], rtol=1e-9, atol=1e-300)
    np.testing.assert_allclose(total, 1.0, rtol=1e-9)


@given(instances(sound=True, several=True))
def test_a_right_answer_has_a_positive_margin(case: dict[str, Any]) -> None:
    out = reference_metrics(**case)
    for suffix in ("", "_per_char", "_per_byte", "_per_token"):
        accuracy, margin = out[f"acc{suffix or '_raw'}"], out[f"margin{suffix}"]
        # A small margin vanishes in the last digits of a probability, and a tie is the first choice's.
        assert (margin[accuracy == 1] >= 0).all()
        assert (margin[accuracy == 0] <= 0).all()


def test_values_by_hand() -> None:
    out = proxy_metrics(
        np.log([0.5, 0.25, 0.2]),
        np.array([0, 3]),
        np.array([1]),
        characters=np.array([1.0, 4.0, 2.0]),
        bytes=np.array([1.0, 5.0, 2.0]),
        tokens=np.array([1.0, 2.0, 1.0]),
        unconditional=np.log([0.6, 0.1, 0.3]),
        scored_bytes=np.array([2.0, 6.0, 3.0]),
    )
    expected = {
        "acc_raw": 0,
        "acc_per_char": 1,
        "acc_per_byte": 1,
        "acc_per_token": 0,  # log(1/4)/2 = log(1/2): a tie, and the first choice takes it
        "acc_uncond": 1,
        "correct_prob": 0.25,
        "total_prob": 0.95,
        "norm_correct_prob": 0.25 / 0.95,
        "margin": -0.25,
        "correct_prob_per_token": 0.5,
        "total_prob_per_token": 1.2,
        "brier_score": ((0.5 / 0.95) ** 2 + (0.7 / 0.95) ** 2 + (0.2 / 0.95) ** 2),
        "bits_per_byte": 2 / 6,
        "sum_logits_corr": math.log(0.25),
        "logits_per_char_corr": math.log(0.25) / 4,
        "sum_logits_incorr": math.log(0.7),
    }
    for name, value in expected.items():
        assert out[name][0] == pytest.approx(value, rel=1e-12), name


def test_misfits_are_refused() -> None:
    with pytest.raises(ShapeError, match="do not fit"):
        proxy_metrics(np.zeros(3), np.array([0, 3, 3]), np.array([0, 0]))
    with pytest.raises(ShapeError, match="index of a choice"):
        proxy_metrics(np.zeros(3), np.array([0, 3]), np.array([3]))


def test_every_metric_is_in_the_table() -> None:
    for name in NEEDS:
        metric = lookup(name)
        assert metric is not None
        assert metric.direction == {
            "brier_score": "lower",
            "bits_per_byte": "lower",
            "sum_logits_incorr": None,
        }.get(name, "higher")
        assert metric.accuracy == name.startswith("acc")
    total = lookup("total_prob_per_char")
    assert total is not None
    assert total.high is None


# --- what the harnesses stored of the same instances

OWN = {
    "lm_eval/v0.4.13": ({"acc": "acc_raw", "acc_norm": "acc_per_char"}, 2740),
    "lm_eval/v0.4.13_hf": ({"acc": "acc_raw", "acc_norm": "acc_per_char"}, 80),
    "lm_eval/v0.4.8": ({"acc": "acc_raw", "acc_norm": "acc_per_char"}, 280),
    "lm_eval/v0.4.2": ({"acc": "acc_raw", "acc_norm": "acc_per_char"}, 280),
    "olmes_handmade": (
        {
            name: name
            for name in (
                *("acc_raw", "acc_per_char", "acc_per_token", "acc_uncond"),
                *("sum_logits_corr", "logits_per_char_corr", "logits_per_token_corr", "bits_per_byte"),
            )
        },
        1440,
    ),
    "lighteval": ({"acc": "acc_raw"}, 160),
}
INSTANCE = ["run", "revision", "step", "task", "subtask", "config", "instance_id"]


@pytest.mark.parametrize("folder", OWN)
@pytest.mark.filterwarnings("ignore::signoise.SignoiseWarning")
def test_values_are_the_harness_own(shared: Path, folder: str) -> None:
    names, count = OWN[folder]
    path = shared / "data" / "dumps" / folder
    ours = sn.choice_metrics(path, metrics=list(names.values()))
    theirs = (
        sn.scan_scores(path)
        .filter(pl.col("instance_id").is_not_null() & pl.col("metric").is_in(list(names)))
        .with_columns(pl.col("metric").replace(names))
        .collect()
    )
    key = [name for name in INSTANCE if name in ours.columns and name in theirs.columns]
    both = ours.join(theirs, on=[*key, "metric"], how="inner", nulls_equal=True, suffix="_own")
    assert both.height == count
    accuracies = both.filter(pl.col("metric").str.starts_with("acc"))
    assert accuracies.height
    assert accuracies["value"].equals(accuracies["value_own"])
    # OLMES takes log2(e) to 12 digits.
    assert ((both["value"] - both["value_own"]).abs() <= 1e-11 * both["value_own"].abs()).all()


@pytest.mark.filterwarnings("ignore::signoise.SignoiseWarning")
def test_bits_per_byte_of_a_task_are_those_of_all_its_bytes(shared: Path) -> None:
    path = shared / "data" / "dumps" / "lm_eval" / "v0.4.13"
    rows = sn.choice_metrics(path, metrics=["bits_per_byte", "sum_logits_corr"], where="task = 'toy_mc'")
    assert (rows.filter(pl.col("metric") == "sum_logits_corr")["weight"] == 1).all()
    score = sn.aggregate(rows, by=("run", "step", "task", "metric")).sort("run", "step", "metric")
    bits, logits = (
        rows.filter(pl.col("metric") == name).sort("run", "step", "instance_id")
        for name in ("bits_per_byte", "sum_logits_corr")
    )
    expected = (
        logits.with_columns(n=bits["weight"])
        .group_by("run", "step")
        .agg(-pl.col("value").sum() / pl.col("n").sum() / math.log(2))
        .sort("run", "step")["value"]
    )
    found = score.filter(pl.col("metric") == "bits_per_byte")["mean"]
    np.testing.assert_allclose(found.to_numpy(), expected.to_numpy(), rtol=1e-12)


# --- lm-eval by hand


def sample(doc_id: int, values: list[Any], texts: list[str], target: Any, **more: Any) -> dict[str, Any]:
    arguments = {
        f"gen_args_{k}": {"arg_0": more.get("contexts", ["Q:"] * len(texts))[k], "arg_1": text}
        for k, text in enumerate(texts)
    }
    scores = {name: value for name, value in more.items() if name.startswith("acc")}
    return {
        "doc_id": doc_id,
        "doc": {},
        "target": target,
        "arguments": arguments,
        "resps": [[[str(value), "False"]] for value in values],
        "filtered_resps": [[str(value), "False"] for value in values],
        "filter": "none",
        "metrics": list(scores),
        **scores,
    }


def read(folder: Path, rows: list[dict[str, Any]], **options: Any) -> pl.DataFrame:
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "samples_task.jsonl").write_text(text, encoding="utf-8")
    return sn.choice_metrics(folder, **options)


def values(table: pl.DataFrame, metric: str) -> dict[str, float]:
    rows = table.filter(pl.col("metric") == metric)
    return dict(zip(rows["instance_id"].to_list(), rows["value"].to_list(), strict=True))


def test_the_blank_counts_in_bits_per_byte_alone(tmp_path: Path) -> None:
    rows = [sample(0, [-2.0, -2.2], [" ab", " abc"], "0"), sample(1, [-4.0, -1.0], [" é", " x"], "0")]
    table = read(tmp_path, rows, metrics=["acc_norm", "acc_bytes", "bits_per_byte", "logits_per_char_corr"])
    assert values(table, "acc_per_char") == {"0": 0.0, "1": 0.0}
    assert values(table, "logits_per_char_corr") == {"0": -1.0, "1": -4.0}
    bits = table.filter(pl.col("metric") == "bits_per_byte").sort("instance_id")
    assert bits["weight"].to_list() == [3.0, 3.0]  # a blank and two bytes each
    assert bits["value"].to_list() == pytest.approx([2 / 3 / math.log(2), 4 / 3 / math.log(2)])


def results(**more: Any) -> str:
    config = {"target_delimiter": more.pop("delimiter")} if "delimiter" in more else {}
    return json.dumps(
        {
            "results": {"task": {"acc,none": 1.0}},
            "configs": {"task": config},
            "versions": {"task": 1},
            "n-shot": {"task": 0},
            "config": {"model_args": "pretrained=org/m,revision=step7"},
            **more,
        }
    )


@pytest.mark.parametrize(
    ("more", "length"),
    [({}, 2), ({"delimiter": "\n"}, 3), ({"delimiter": ""}, 3), ({"chat_template": "x"}, 3)],
)
def test_the_delimiter_is_that_of_the_task(tmp_path: Path, more: dict[str, Any], length: int) -> None:
    (tmp_path / "results_2026-01-01T10-00-00.000000.json").write_text(results(**more))
    row = sample(0, [-6.0, -7.0], [" ab", " cd"], "0")
    (tmp_path / "samples_task_2026-01-01T10-00-00.000000.jsonl").write_text(json.dumps(row))
    table = sn.choice_metrics(tmp_path, metrics="logits_per_char_corr")
    assert table["value"].item() == -6.0 / length
    assert table.select("run", "step").row(0) == ("org/m", 7)


def test_what_is_right_by_number_or_text(tmp_path: Path) -> None:
    texts = [" red", " blue"]
    rows = [
        sample(0, [-1.0, -2.0], texts, 0),
        sample(1, [-1.0, -2.0], texts, "1"),
        sample(2, [-1.0, -2.0], texts, "red"),
        sample(3, [-1.0, -2.0], texts, " blue"),
    ]
    table = read(tmp_path, rows, metrics="acc_raw")
    assert values(table, "acc_raw") == {"0": 1.0, "1": 0.0, "2": 1.0, "3": 0.0}


def test_what_is_right_is_not_guessed(tmp_path: Path) -> None:
    rows = [
        sample(0, [-1.0, -2.0, -3.0], [" a", " b", " c"], "d"),
        sample(1, [-1.0, -2.0, -3.0], [" 1", " 0", " 5"], "1"),  # the index 1, or the text of choice 0
        sample(2, [-1.0, -2.0, -3.0], [" a", " b", " c"], "[0, 2]"),
        sample(3, [-1.0, -2.0, -3.0], [" a", " b", " c"], 7),
        sample(4, [-1.0, -2.0, -3.0], [" a", " b", " c"], "2"),
    ]
    with pytest.warns(DroppedRowsWarning, match="dropped 4 rows: the target must say which choice is right"):
        table = read(tmp_path, rows, metrics="acc_raw")
    assert values(table, "acc_raw") == {"4": 0.0}
    with pytest.raises(ReadError, match="the target must say"):
        read(tmp_path, rows, strict=True)


def test_the_verdict_tells_which_of_two_contexts_is_right(tmp_path: Path) -> None:
    rows = [
        sample(k, pair, [" because"] * 2, "because", contexts=["the cup", "the saucer"], acc=acc)
        for k, (pair, acc) in enumerate([([-1.0, -2.0], 1.0), ([-1.0, -2.0], 0.0), ([-3.0, -2.0], 1.0)])
    ]
    table = read(tmp_path, rows, metrics=["acc_raw", "correct_prob", "acc_per_char"])
    assert values(table, "acc_raw") == values(table, "acc_per_char") == {"0": 1.0, "1": 0.0, "2": 1.0}
    assert values(table, "correct_prob") == pytest.approx(
        {"0": math.exp(-1), "1": math.exp(-2), "2": math.exp(-2)}
    )


def test_unconditional_pairs(tmp_path: Path) -> None:
    row = sample(
        0,
        [-1.0, -2.0, -0.5, -5.0],
        [" a", " bb", "a", "bb"],
        "1",
        contexts=["Q:", "Q:", "", ""],
        acc=0.0,
        acc_mutual_info=1.0,
    )
    mixed = sample(1, [-1.0, -0.5, -2.0, -5.0], [" a", "a", " bb", "bb"], "1", contexts=["Q:", "", "Q:", ""])
    table = read(tmp_path, [row, mixed], metrics=["acc_raw", "acc_mutual_info", "bits_per_byte"])
    assert values(table, "acc_raw") == {"0": 0.0, "1": 0.0}
    assert values(table, "acc_uncond") == {"0": 1.0, "1": 1.0}
    assert table.filter(pl.col("metric") == "bits_per_byte")["weight"].to_list() == [3.0, 3.0]


def test_nan_and_impossible_choices(tmp_path: Path) -> None:
    rows = [
        sample(0, ["nan", -2.0], [" a", " b"], "1", acc=0.0),
        sample(1, ["-inf", -2.0], [" a", " b"], "0", acc=0.0),
        sample(2, [0.5, -2.0], [" a", " b"], "0", acc=1.0),
    ]
    with pytest.warns(DroppedRowsWarning) as caught:
        table = read(tmp_path, rows, metrics=["acc_raw", "bits_per_byte", "correct_prob"])
    told = " ".join(str(one.message) for one in caught)
    assert "a log-likelihood is nan" in told
    assert "a log-likelihood above 0" in told
    assert math.isnan(values(table, "acc_raw")["0"])
    assert math.isnan(values(table, "correct_prob")["0"])
    assert values(table, "bits_per_byte")["1"] == math.inf
    assert values(table, "correct_prob")["1"] == 0.0


def test_another_verdict_than_the_harness_own_is_told(tmp_path: Path) -> None:
    rows = [sample(0, [-1.0, -2.0], [" a", " b"], "1", acc=1.0)]
    with pytest.warns(DroppedRowsWarning, match="own value of the instance is another"):
        table = read(tmp_path, rows, metrics="acc_raw")
    assert values(table, "acc_raw") == {"0": 0.0}


def test_one_continuation_has_nothing_to_be_compared_with(tmp_path: Path) -> None:
    rows = [sample(0, [-2.0], [" word"], " word", acc=1.0)]
    table = read(
        tmp_path, rows, metrics=["acc_raw", "correct_prob", "bits_per_byte", "brier_score", "margin"]
    )
    assert sorted(table["metric"]) == ["bits_per_byte", "correct_prob"]


def test_tokens_that_are_not_recorded_give_no_rows(tmp_path: Path) -> None:
    rows = [sample(k, [-1.0, -2.0], [" a", " b"], "1") for k in range(3)]
    with pytest.warns(
        SignoiseWarning, match="no row of acc_per_token, .* for 3 instances without token counts"
    ):
        table = read(tmp_path, rows)
    assert not table.filter(pl.col("metric").str.contains("token")).height
    with pytest.warns(DroppedRowsWarning, match="acc_uncond for 3 instances without unconditional"):
        read(tmp_path, rows, metrics=["acc_raw", "acc_uncond"])


def test_rows_without_texts_keep_what_needs_none(tmp_path: Path) -> None:
    broken = sample(0, [-1.0, -2.0], [" a"], "1")
    generated = sample(1, [], [], "1") | {"resps": [["text"]], "filtered_resps": ["text"]}
    with pytest.warns(DroppedRowsWarning, match="as many log-likelihoods as continuations"):
        table = read(tmp_path, [broken, generated, sample(2, [-1.0, -2.0], [" a", " b"], "1")], metrics="acc")
    assert table["instance_id"].to_list() == ["2"]


def test_rows_that_repeat_are_dropped_and_conflicts_told(tmp_path: Path) -> None:
    rows = [sample(0, [-1.0, -2.0], [" a", " b"], "1")] * 2 + [sample(0, [-3.0, -2.0], [" a", " b"], "1")]
    with pytest.warns(DroppedRowsWarning, match=r"dropped 1 row: rows that repeat .* conflicts: 1 instances"):
        table = read(tmp_path, rows, metrics="acc_raw")
    assert table["value"].to_list() == [0.0, 1.0]


# --- OLMES and lighteval by hand


def prediction(doc_id: int, outputs: list[dict[str, float]], **metrics: Any) -> dict[str, Any]:
    return {"doc_id": doc_id, "native_id": f"q{doc_id}", "metrics": metrics, "model_output": outputs}


def olmes(folder: Path, rows: list[dict[str, Any]], requests: list[dict[str, Any]] | None = None) -> None:
    for kind, held in (("predictions", rows), ("requests", requests)):
        if held is not None:
            path = folder / f"task-000-arc-{kind}.jsonl"
            path.write_text("".join(json.dumps(row) + "\n" for row in held))


def test_bytes_of_olmes(tmp_path: Path) -> None:
    outputs = [
        {"sum_logits": -4.0, "num_chars": 3, "num_tokens": 1},
        {"sum_logits": -6.0, "num_chars": 4, "num_tokens": 2},
    ]
    counted = [{**one, "num_bytes": 7} for one in outputs]
    divided = [{**one, "logits_per_byte": -one["sum_logits"] / math.log(2) / 5} for one in outputs]
    crooked = [{**one, "logits_per_byte": 0.1234} for one in outputs]
    olmes(
        tmp_path,
        [
            prediction(0, counted, correct_choice=1),
            prediction(1, outputs, correct_choice=1),
            prediction(2, divided, correct_choice=1),
            prediction(3, crooked, correct_choice=1),
        ],
        [
            {"doc_id": 1, "native_id": "q1", "idx": k, "request": {"continuation": text}}
            for k, text in enumerate([" é", " été"])
        ],
    )
    with pytest.warns(
        DroppedRowsWarning, match="no row of bits_per_byte for 1 instance whose choices have no"
    ):
        table = sn.choice_metrics(tmp_path, metrics=["bits_per_byte", "acc_per_token"])
    bits = table.filter(pl.col("metric") == "bits_per_byte")
    assert bits.select("instance_id", "weight").rows() == [("q0:0", 7.0), ("q1:1", 6.0), ("q2:2", 5.0)]
    assert set(values(table, "acc_per_token").values()) == {1.0}


def test_predictions_without_a_right_choice(tmp_path: Path) -> None:
    outputs = [{"sum_logits": -4.0}, {"sum_logits": -6.0}]
    olmes(
        tmp_path,
        [
            prediction(0, outputs, correct_choice=5),
            prediction(1, outputs) | {"label": 0},
            prediction(2, [{"continuation": "text"}], exact_match=1.0),
        ],
    )
    with pytest.warns(DroppedRowsWarning, match="dropped 1 row: a prediction must say which choice is right"):
        table = sn.choice_metrics(tmp_path, metrics="acc_raw")
    assert table.select("instance_id", "value").rows() == [("q1:1", 1.0)]


def test_details_of_lighteval(tmp_path: Path) -> None:
    doc = [
        {"id": "7", "choices": [" a", " bb"], "gold_index": 1},
        {"id": "8", "choices": [" a", " bb"], "gold_index": 2},
    ]
    response = [
        {
            "logprobs": [-1.0, -2.0],
            "output_tokens": [[5], [6, 7, 8]],
            "unconditioned_logprobs": [-1.0, -4.0],
        }
    ] * 2
    frame = pl.DataFrame({"doc": doc, "model_response": response, "metric": [{"acc": 0}] * 2})
    path = tmp_path / "details_task|0_2026-01-01T10-00-00.000000.parquet"
    frame.write_parquet(path)
    with pytest.warns(DroppedRowsWarning, match="dropped 1 row: a document must have one right choice"):
        table = sn.choice_metrics(
            tmp_path, metrics=["acc_raw", "acc_per_char", "acc_per_token", "acc_uncond"]
        )
    assert dict(table.select("metric", "value").rows()) == {
        "acc_raw": 0.0,
        "acc_per_char": 0.0,
        "acc_per_token": 1.0,
        "acc_uncond": 1.0,
    }
    assert table["instance_id"].unique().to_list() == ["7"]


# --- options


def test_names_and_filters(tmp_path: Path) -> None:
    rows = [sample(k, [-1.0, -2.0], [" a", " b"], "1") for k in range(3)]
    table = read(tmp_path, rows, metrics=["prob_vocab_correct", "logp_vocab_correct", "bpb", "correct_prob"])
    assert table["metric"].unique(maintain_order=True).to_list() == [
        "correct_prob",
        "sum_logits_corr",
        "bits_per_byte",
    ]
    assert read(tmp_path, rows, metrics="acc", where="instance_id = '2'").height == 1
    with pytest.raises(OptionError, match="'margins' is no metric of choices; did you mean 'margin'"):
        read(tmp_path, rows, metrics=["margins"])


def test_nothing_to_read(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match="no file holds log-likelihoods of choices"):
        read(tmp_path, [sample(0, [], [], "x") | {"resps": [["text"]], "filtered_resps": ["text"]}])
    sn.example_scores().write_parquet(tmp_path / "scores.parquet")
    with pytest.raises(ReadError, match="no file holds log-likelihoods of choices"):
        sn.choice_metrics(tmp_path)
