"""Which laws a table admits, what they foretold, and what is said of them together."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import signoise as sn
from signoise._laws._forecasts import blocks, weighted_median
from signoise._laws._points import Points

LAWS = ["hitchhiker", "overtraining", "power_law", "pure_power_law"]
TARGET = {"params": 7e9, "tokens": 1.4e11}


@pytest.fixture(scope="module")
def runs() -> pl.DataFrame:
    params = np.repeat(np.geomspace(1e8, 4e9, 6), 4)
    tokens = params * np.tile([5.0, 20.0, 80.0, 320.0], 6)
    noise = np.random.default_rng(5).normal(0, 0.003, len(params))
    loss = (1.8 + 60 * params**-0.25 + 12000 * tokens**-0.45) * np.exp(noise)
    return pl.DataFrame({"params": params, "tokens": tokens, "loss": loss})


@pytest.fixture(scope="module")
def chosen(runs: pl.DataFrame) -> pl.DataFrame:
    return choose(runs, at=TARGET)


def choose(table: pl.DataFrame, **options: Any) -> pl.DataFrame:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", sn.SignoiseWarning)
        return sn.choose_law(table, **{"y": "loss", **options})


def row(table: pl.DataFrame, law: str) -> dict[str, Any]:
    return table.filter(pl.col("law") == law).row(0, named=True)


def note(table: pl.DataFrame, law: str = "selected") -> str:
    return str(row(table, law)["note"])


# --- what was foretold ------------------------------------------------------------------------------


def test_the_planted_form_comes_first(chosen: pl.DataFrame) -> None:
    laws = chosen.filter(kind="law", status="ok")
    assert row(chosen, laws["law"][0])["law"] in ("chinchilla", "hitchhiker", "ladder_loss")
    truth = 1.8 + 60 * 7e9**-0.25 + 12000 * 1.4e11**-0.45
    assert laws["predicted"][0] == pytest.approx(truth, rel=0.01)
    assert laws["skill"].is_sorted(descending=True)
    assert chosen["skill"].drop_nulls().is_sorted(descending=True)
    assert row(chosen, "predict_last")["skill"] <= 0
    assert chosen["weight"].sum() == pytest.approx(1)


def test_errors_are_those_of_validate_law(runs: pl.DataFrame) -> None:
    ours = choose(runs, laws=LAWS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", sn.SignoiseWarning)
        theirs = sn.validate_law(
            runs.with_columns(flops=6 * pl.col("params") * pl.col("tokens")),
            LAWS,
            y="loss",
            x={"power_law": "flops", "pure_power_law": "flops"},
            methods="rolling",
            scale="params",
            interval="none",
        )
    for law in (*LAWS, "predict_best"):
        for name in ("error", "worst", "bias"):
            assert row(ours, law)[name] == pytest.approx(row(theirs, law)[name], rel=1e-3), (law, name)
        assert row(ours, law)["n_scales"] == row(theirs, law)["n_scales"] == 4
        assert row(ours, law)["n_points"] == 16
    # The largest model at its last place; validate_law takes the first law's inputs for that.
    assert row(ours, "predict_last")["error"] == pytest.approx(row(theirs, "predict_last")["error"])


def test_combinations_use_what_was_known(runs: pl.DataFrame) -> None:
    """Selected, weighted and median written out from the predictions of each law at each scale."""
    line = runs.group_by("params", maintain_order=True).first()
    line = line.with_columns(flops=6 * pl.col("params") * pl.col("tokens")).select("flops", "loss")
    laws = ["ladder_loss_flops", "pure_power_law", "ladder_loss_flops_pure"]
    out = choose(line, laws=laws)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", sn.SignoiseWarning)
        each = sn.validate_law(
            line,
            laws,
            y="loss",
            x={"pure_power_law": "flops"},
            methods="rolling",
            per="scale",
            interval="none",
        )
    errors: dict[str, list[float]] = {"selected": [], "weighted": [], "median": []}
    past: dict[str, list[float]] = {law: [] for law in [*laws, "predict_last"]}
    for scale in each["scale"].unique().sort():
        rows = {row["law"]: row for row in each.filter(scale=scale).iter_rows(named=True)}
        able = {law: rows[law]["predicted"] for law in laws if rows[law]["predicted"] is not None}
        mean = {law: float(np.mean(own)) if own else np.nan for law, own in past.items()}
        near = list(able)
        if past[laws[0]]:
            ahead = [law for law in able if mean[law] < mean["predict_last"]]
            best = min(ahead, key=lambda law: mean[law])
            room = np.std(past[best], ddof=1) / np.sqrt(len(past[best])) if len(past[best]) > 1 else np.inf
            near = [law for law in ahead if mean[law] <= mean[best] + room]
        middle = _median(able, near, dict.fromkeys(laws, 1.0))
        said = {
            "selected": middle,
            "median": middle,
            "weighted": _median(able, list(able), dict.fromkeys(laws, 1.0)),
        }
        if past[laws[0]]:
            said["selected"] = able[min(able, key=lambda law: mean[law])]
            squares = {law: 1 / float(np.mean(np.square(past[law]))) for law in able}
            said["weighted"] = _median(able, list(able), squares)
        actual = rows["predict_last"]["actual"]
        for name, value in said.items():
            errors[name].append(abs(value - actual) / actual)
        for law, own in past.items():
            own.append(rows["predict_last"]["error"] if rows[law]["error"] is None else rows[law]["error"])
    for name, found in errors.items():
        assert row(out, name)["error"] == pytest.approx(np.mean(found), rel=1e-3), name
        assert row(out, name)["error_largest"] == pytest.approx(found[-1], rel=1e-3), name


def _median(predicted: dict[str, float], laws: list[str], weight: dict[str, float]) -> float:
    """The weighted median; the two laws without a floor are one form."""
    pure = [law for law in laws if law != "ladder_loss_flops"]
    weights = [weight[law] / (len(pure) if law in pure else 1) for law in laws]
    values = np.array([[predicted[law]] for law in laws])
    return float(weighted_median(values, np.array(weights) / sum(weights))[0])


def test_what_comes_later_changes_nothing(runs: pl.DataFrame) -> None:
    """Errors up to a scale do not depend on larger ones: here the sum over scales, less the last."""
    largest = pl.col("params") == pl.col("params").max()
    changed = runs.with_columns(loss=pl.when(largest).then(pl.col("loss") * 1.3).otherwise("loss"))
    first, second = (choose(table, laws=LAWS) for table in (runs, changed))
    for law in (*LAWS, "selected", "weighted", "median"):
        before, after = (
            4 * row(table, law)["error"] - row(table, law)["error_largest"] for table in (first, second)
        )
        assert before == pytest.approx(after, rel=2e-3, abs=1e-5), law


def test_errors_as_far_ahead_as_the_target(runs: pl.DataFrame) -> None:
    """All pairs of scales that are at least as far apart as the target is from the largest, by hand."""
    sizes = runs["params"].unique().sort().to_list()
    target = {"params": sizes[-1] * (sizes[1] / sizes[0]) ** 2 * 0.99}
    line = runs.group_by("params").agg(pl.col("loss").mean())
    found = row(choose(line, laws=["power_law"], x="params", at=target), "predict_last")
    losses = line.sort("params")["loss"].to_list()
    # The last known scale is i, two scales or more ahead lies j.
    pairs = [(i, j) for i in range(1, 6) for j in range(i + 2, 6)]
    assert found["n_far"] == len(pairs) == 6
    assert found["error_far"] == pytest.approx(
        np.mean([(losses[i] - losses[j]) / losses[j] for i, j in pairs])
    )


def test_tasks_are_apart_and_rows_may_come_in_any_order(runs: pl.DataFrame) -> None:
    scores = runs.with_row_index("run").select(
        pl.col("run").cast(pl.String),
        pl.col("params").round(),
        "tokens",
        pl.lit("t").alias("task"),
        metric=pl.lit("loss"),
        value="loss",
    )
    noise = np.random.default_rng(0).normal(3, 0.3, scores.height)
    both = pl.concat([scores, scores.with_columns(task=pl.lit("noise"), value=pl.Series(noise))])
    laws = ["power_law", "pure_power_law"]
    out = choose(both, y=None, laws=laws)
    alone = choose(scores, y=None, laws=laws)
    assert out.filter(task="t").drop("signature").equals(alone.drop("signature"))
    again = choose(both.sample(fraction=1.0, shuffle=True, seed=3), y=None, laws=laws)
    assert out.equals(again)
    assert note(out.filter(task="noise")).startswith(("Do not extrapolate", "Over 4 scales of params"))


# --- what is admissible -----------------------------------------------------------------------------


def test_every_law_has_a_row_and_every_refusal_a_reason(chosen: pl.DataFrame) -> None:
    laws = chosen.filter(kind="law")
    assert sorted(laws["law"]) == sorted(sn.laws()["law"])
    refused = laws.filter(status="not_admissible")
    assert refused["note"].null_count() == 0
    assert refused["error"].null_count() == refused.height
    assert "the table has no step" in note(chosen, "lr_annealing")
    assert "accuracy" in note(chosen, "ladder_accuracy")
    assert note(chosen, "ladder_sigmoid") == "it is of loss, which is what is fitted"


@pytest.mark.slow
def test_reasons(runs: pl.DataFrame) -> None:
    def reason(table: pl.DataFrame, law: str, **options: Any) -> str:
        return note(choose(table, **{"max_scales": 3, **options}), law)

    error = runs.with_columns(error=pl.col("loss") / 5, step=pl.lit(1000), learning_rate=pl.lit(1e-3))
    assert "that no model has before it is trained" in reason(error, "loss_to_error", y="error")
    assert "runs have one checkpoint each" in reason(error, "lr_annealing", y="error")
    some = runs.with_row_index().with_columns(tokens=pl.when(pl.col("index") < 5).then("tokens"))
    assert "5 of 24 rows have tokens" in reason(some, "chinchilla", x="params", repeats="mean")
    same = runs.with_columns(tokens=pl.lit(1e10), params=pl.col("params") + pl.int_range(pl.len()) * 1e6)
    assert "tokens is 1e+10 everywhere" in reason(same, "chinchilla")
    few = runs.group_by("params", maintain_order=True).first().head(4)
    assert reason(few, "chinchilla") == "5 parameters, and 2 distinct points below the largest scale"
    zero = runs.with_columns(loss=pl.col("loss") - pl.col("loss").min())
    assert "the lowest score is 0; objective='lsq'" in reason(zero, "chinchilla")
    assert row(choose(zero, objective="lsq"), "chinchilla")["status"] != "not_admissible"
    percent = runs.select("params", "tokens", acc=100 - 20 * pl.col("loss"))
    assert "divide percent by 100" in reason(percent, "ladder_accuracy", y="acc")
    assert "better when lower (loss), acc is when higher" in reason(percent, "chinchilla", y="acc")
    millions = runs.with_columns(params=pl.col("params") / 1e6)
    assert "looks like billions or millions" in reason(millions, "chinchilla", x="tokens", scale="tokens")


def test_repeats_choose_over_settings(runs: pl.DataFrame) -> None:
    """A law of the learning rate would put a sweep's runs at places of their own."""
    sweep = pl.concat(
        [
            runs.with_columns(learning_rate=pl.lit(rate), loss=pl.col("loss") * worse, step=pl.lit(1000))
            for rate, worse in ((1e-3, 1.0), (3e-3, 1.1))
        ]
    ).with_columns(run=pl.lit("r"))
    out = choose(sweep, repeats="best", max_scales=3)
    assert note(out, "lr_annealing") == "it is of step, and repeats='best' takes one value for all of them"
    assert (
        row(out, "power_law")["n_points"]
        == row(choose(runs, laws="power_law", max_scales=3), "power_law")["n_points"]
    )


def test_no_law_for_one_of_the_tasks(runs: pl.DataFrame) -> None:
    scores = runs.with_row_index("run").select(
        pl.col("run").cast(pl.String),
        pl.col("params").round(),
        "tokens",
        task=pl.lit("t"),
        metric=pl.lit("acc"),
        value=pl.when(pl.col("params") < 3e8).then(0.0).otherwise(0.2),
    )
    out = choose(scores, y=None, laws=["ladder_accuracy", "ladder_single_step"])
    assert set(out["status"]) == {"not_admissible", "ok"}
    assert out.filter(status="ok")["law"].sort().to_list() == ["predict_best", "predict_last"]
    assert row(out, "selected")["status"] == "not_admissible"
    assert note(out) == "No law could be held against a scale that it had not seen."


def test_laws_that_are_named_are_tried_whatever_they_are_of(runs: pl.DataFrame) -> None:
    rising = runs.select("params", "tokens", "loss", acc=1 - pl.col("loss") / 8)
    out = choose(rising, y="acc", laws=["hitchhiker", "ladder_sigmoid"], at=TARGET)
    assert row(out, "ladder_sigmoid")["n_scales"] == 4
    assert note(out, "ladder_sigmoid") == "at does not say what loss is"
    assert row(out, "ladder_sigmoid")["predicted"] is None
    assert row(out, "hitchhiker")["n_scales"] == 4


def test_a_law_without_starts_is_not_tried(runs: pl.DataFrame) -> None:
    law = sn.Law(
        name="no_starts",
        formula="a - b * log(flops)",
        variables={"flops": "FLOPs"},
        parameters=(sn.Parameter("a"), sn.Parameter("b")),
        starts=lambda _variables, _scores: np.empty((0, 2)),
    )
    out = choose(runs, laws=["pure_power_law", law])
    assert row(out, "no_starts")["status"] == "not_admissible"
    assert "finds nowhere to start from for values from" in note(out, "no_starts")
    assert row(out, "pure_power_law")["n_scales"] == 4


def test_all_laws_are_of_the_same_points(runs: pl.DataFrame) -> None:
    gap = (
        runs.with_row_index().with_columns(tokens=pl.when(pl.col("index") != 7).then("tokens")).drop("index")
    )
    with pytest.warns(sn.DroppedRowsWarning, match="1 rows without tokens were left out"):
        out = sn.choose_law(gap, y="loss", laws=["power_law", "hitchhiker"], x={"power_law": "params"})
    assert row(out, "power_law")["inputs"] == "params"
    without = choose(gap.drop_nulls(), laws=["power_law", "hitchhiker"], x={"power_law": "params"})
    assert out.drop("signature").equals(without.drop("signature"))


def test_embeddings_are_told(runs: pl.DataFrame) -> None:
    table = runs.with_columns(params_nonembedding=pl.col("params") * 0.8)
    with pytest.warns(
        sn.DroppedRowsWarning, match=r"params were taken.*columns=\{'params_nonembedding': 'params'\}"
    ):
        sn.choose_law(table, y="loss", laws="hitchhiker")
    other = choose(
        table, laws="hitchhiker", columns={"params_nonembedding": "params"}, at={**TARGET, "params": 5.6e9}
    )
    # The same curve through other numbers.
    here = row(choose(runs, laws="hitchhiker", at=TARGET), "hitchhiker")
    assert row(other, "hitchhiker")["predicted"] == pytest.approx(here["predicted"], rel=0.003)


# --- scales -----------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=80), st.integers(3, 12))
def test_neighbouring_scales_are_put_together(sizes: list[int], most: int) -> None:
    scale = np.repeat(np.arange(len(sizes)), sizes)
    column = scale + 1.0
    points = Points(
        (), {"x": column}, {"x": column}, column, scale, scale, rungs=np.arange(1.0, len(sizes) + 1)
    )
    made = blocks(points, most)
    n = int(made.scale.max()) + 1
    assert n == min(len(sizes), most)
    assert (np.diff(made.scale) >= 0).all()
    assert sorted(set(made.scale.tolist())) == list(range(n))
    assert made.rungs.tolist() == [column[made.scale == block].max() for block in range(n)]
    assert all(len(set(made.scale[scale == one].tolist())) == 1 for one in range(len(sizes)))


def test_thousands_of_scales() -> None:
    scale = np.arange(5000)
    column = scale + 1.0
    made = blocks(Points((), {"x": column}, {"x": column}, column, scale, scale, rungs=column), 10)
    assert np.ptp(np.bincount(made.scale)) <= 100
    assert int(made.scale.max()) == 9


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.floats(-9, 9), st.integers(1, 5)), min_size=1, max_size=9))
def test_a_weighted_median_is_that_of_repeated_values(pairs: list[tuple[float, int]]) -> None:
    values, counts = (np.array(column, dtype=float) for column in zip(*pairs, strict=True))
    found = weighted_median(values[:, None], counts / counts.sum())
    assert found[0] == pytest.approx(np.median(np.repeat(values, counts.astype(int))), abs=1e-12)


# --- how far to trust it ----------------------------------------------------------------------------


def test_what_is_said_of_a_good_table(chosen: pl.DataFrame) -> None:
    words = note(chosen)
    assert words.startswith("Over 4 scales of params ")
    assert "predict_last" in words or "predict_best" in words
    assert "Whichever law was best so far was then" in words
    assert "The target lies 1.75 times beyond what is known" in words
    found = row(chosen, "selected")
    assert found["extrapolation"] == pytest.approx(1.75)
    assert found["lowest"] <= found["predicted"] <= found["highest"]
    assert 0 <= found["covered"] <= 1


def test_what_is_said_of_nothing_to_learn() -> None:
    """Scores without any trend: the last score is as good as a law."""
    draw = np.random.default_rng(11)
    flops = np.geomspace(1e18, 1e23, 8)
    said = []
    for _ in range(6):
        table = pl.DataFrame({"flops": flops, "loss": 3 + 0.2 * draw.normal(size=8)})
        out = choose(table, laws=["power_law", "pure_power_law"], at={"flops": 1e25})
        said.append(note(out))
        assert "nothing that far ahead could be tested" in said[-1] or "that far ahead" in said[-1]
    distrust = [
        words.startswith("Do not extrapolate") or "do not trust the choice" in words for words in said
    ]
    assert sum(distrust) >= 2


def test_few_scales(runs: pl.DataFrame) -> None:
    laws = ["power_law", "pure_power_law"]
    two = runs.filter(pl.col("params") < 3e8)
    out = choose(two, laws=laws, at=TARGET, scale="params")
    assert set(out["status"]) == {"too_few"}
    assert note(out) == "Nothing was tested: 2 scales, and 3 are needed: two to learn from, one to predict."
    assert out["error"].null_count() == out.height
    # What a law says of the target stays defined.
    assert row(out, "pure_power_law")["predicted"] > 0
    three = runs.filter(pl.col("params") < 6e8)
    assert note(choose(three, laws=laws)).startswith("Over 1 scale of params (few) ")
    # Two sizes and many lengths: how far the runs went is the scale.
    assert note(choose(two, laws=laws)).startswith("Over 6 scales of flops ")


def test_a_far_target_is_flagged(runs: pl.DataFrame) -> None:
    out = choose(runs, laws="hitchhiker", at={"params": 7e11, "tokens": 1.4e13})
    assert "extrapolated" in row(out, "hitchhiker")["flags"]
    assert row(out, "selected")["extrapolation"] == pytest.approx(7e11 / 4e9)
    # A law of compute alone is far in compute.
    compute = choose(runs, laws="pure_power_law", at={"params": 7e11, "tokens": 1.4e13})
    assert row(compute, "selected")["extrapolation"] == pytest.approx(7e11 * 1.4e13 / (4e9 * 1.28e12))


# --- refused ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"laws": ["chinchilla", "chinchilla"]}, "name each law once"),
        ({"laws": []}, "name each law once"),
        ({"laws": "chinchila"}, "there is no 'chinchila'.*chinchilla"),
        ({"max_scales": 2}, "max_scales must be a whole number of at least 3"),
        ({"x": {"powerlaw": "flops"}}, "no law 'powerlaw' here.*power_law"),
        ({"x": {"power_law": ["flops", "params"]}}, "takes 1 columns"),
        ({"at": {"param": 7e9}}, "at: no law here is of 'param'.*params"),
        ({"objective": "l2"}, "objective must be one of"),
    ],
)
def test_what_is_refused(runs: pl.DataFrame, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(sn.OptionError, match=message):
        sn.choose_law(runs, **{"y": "loss", **arguments})


def test_a_target_in_other_units(runs: pl.DataFrame) -> None:
    with pytest.raises(sn.SchemaError, match="looks like billions or millions"):
        choose(runs, laws="hitchhiker", at={"params": 7, "tokens": 1e12})


def test_no_law_at_all(runs: pl.DataFrame) -> None:
    with pytest.raises(sn.SchemaError, match=r"no law can be tried.*the table has no"):
        choose(runs.select("loss"))


def test_strict(runs: pl.DataFrame) -> None:
    assert choose(runs, laws="hitchhiker", strict=True).height > 0
    with pytest.raises(sn.FitError, match="not_admissible"):
        choose(runs, laws=["hitchhiker", "lr_annealing"], strict=True)


# --- published runs ---------------------------------------------------------------------------------


def test_on_published_runs(shared: Path) -> None:
    """The form of the paper foretells its own points, and the last score does not."""
    points = pl.read_parquet(shared / "data" / "chinchilla_points.parquet").sort("loss").head(240)
    out = choose(points, laws=["hitchhiker", "power_law"], max_scales=6)
    assert out["law"][0] == "hitchhiker"
    assert row(out, "hitchhiker")["error"] < 0.012
    assert row(out, "power_law")["error"] > 1.5 * row(out, "hitchhiker")["error"]
    assert row(out, "predict_last")["error"] > 0.05
