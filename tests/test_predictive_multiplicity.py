"""Predictive multiplicity: ambiguity and discrepancy by hand, against loops, and on published answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import signoise as sn
from signoise._errors import OptionError, SchemaError


def table(right: dict[str, str], **more: Any) -> pl.DataFrame:
    rows = [
        (run, "t", "acc", f"i{item:03d}", float(one))
        for run, marks in right.items()
        for item, one in enumerate(marks)
        if one != "."
    ]
    names = ["run", "task", "metric", "instance_id", "value"]
    return pl.DataFrame(rows, schema=names, orient="row").with_columns(
        **{name: pl.lit(value) for name, value in more.items()}
    )


def only(found: pl.DataFrame) -> dict[str, Any]:
    assert found.height == 1
    return found.row(0, named=True)


def test_by_hand() -> None:
    scores = table({"a": "1111000000", "b": "1110100000", "c": "1100000011", "d": "1000000000"})
    found = only(sn.predictive_multiplicity(scores, tolerance=0.0))
    assert (found["baseline"], found["n_runs"], found["n_near"], found["farthest"]) == ("a", 4, 2, "c")
    assert found["ambiguity"] == pytest.approx(5 / 10)  # items 2, 3, 4, 8, 9
    assert found["discrepancy"] == pytest.approx(4 / 10)
    assert found["score"] == pytest.approx(0.4)
    # Wilson's limits of 5 of 10.
    assert (found["low"], found["high"]) == pytest.approx((0.2365931, 0.7634069))
    runs = sn.predictive_multiplicity(scores, tolerance=0.0, per="run")
    assert runs.select("run", "conflicts").rows() == [("b", pytest.approx(0.2)), ("c", pytest.approx(0.4))]
    assert runs["expected"].to_list() == pytest.approx([2 * 0.4 * 0.6] * 2)
    wide = only(sn.predictive_multiplicity(scores, tolerance=0.3))
    assert (wide["n_near"], wide["ambiguity"]) == (3, pytest.approx(6 / 10))
    other = only(sn.predictive_multiplicity(scores, tolerance=0.0, baseline="d"))
    assert (other["n_near"], other["ambiguity"]) == (3, pytest.approx(6 / 10))  # better ones are as good


@given(st.integers(0, 2**32 - 1), st.integers(2, 6), st.integers(1, 40), st.sampled_from([0.0, 0.05, 0.3]))
def test_equals_the_loops(seed: int, runs: int, items: int, tolerance: float) -> None:
    rng = np.random.default_rng(seed)
    marks = (rng.random((runs, items)) < rng.random(items)).astype(int)
    scores = table({f"r{at}": "".join(map(str, row)) for at, row in enumerate(marks)})
    first = int(np.argmax(marks.sum(axis=1)))
    near = [
        at
        for at in range(runs)
        if at != first and marks[first].mean() - marks[at].mean() <= tolerance + 1e-12
    ]
    found = only(
        sn.predictive_multiplicity(scores.sample(fraction=1, shuffle=True, seed=1), tolerance=tolerance)
    )
    assert (found["n_near"], found["baseline"]) == (len(near), f"r{first}")
    if not near:
        assert (found["status"], found["ambiguity"], found["discrepancy"]) == ("too_few", None, None)
        return
    ambiguity = np.mean([any(marks[at, i] != marks[first, i] for at in near) for i in range(items)])
    discrepancy = max(np.mean(marks[at] != marks[first]) for at in near)
    assert (found["ambiguity"], found["discrepancy"]) == pytest.approx((ambiguity, discrepancy))
    assert found["discrepancy"] <= found["ambiguity"] + 1e-12
    # A run more can only add conflicts.
    assert only(sn.predictive_multiplicity(scores, tolerance=1.0))["ambiguity"] >= ambiguity - 1e-12


def test_copies_never_conflict_and_groups_stand_alone() -> None:
    scores = table({"a": "1101", "b": "1101"})
    assert only(sn.predictive_multiplicity(scores))["ambiguity"] == 0
    other = table({"a": "1101", "b": "1011"}, task="u")
    both = sn.predictive_multiplicity(pl.concat([other, scores]))
    assert both.filter(task="t").equals(sn.predictive_multiplicity(scores))
    assert both.filter(task="u")["ambiguity"].item() == 0.5
    twin, ours = (
        only(verb(other)) for verb in (sn.reference.predictive_multiplicity, sn.predictive_multiplicity)
    )
    assert [twin[name] for name in ("ambiguity", "low", "high")] == pytest.approx(
        [ours[name] for name in ("ambiguity", "low", "high")]
    )


def test_instances_of_one_run_alone_and_wrong_tables() -> None:
    found = only(sn.predictive_multiplicity(table({"a": "11010", "b": "1011."})))
    assert (found["n_instances"], found["n_unmatched"], found["ambiguity"]) == (4, 1, 0.5)
    with pytest.raises(SchemaError, match="0 or 1"):
        sn.predictive_multiplicity(table({"a": "1101"}).with_columns(pl.lit(0.5).alias("value")))
    with pytest.raises(OptionError, match="no run 'x'"):
        sn.predictive_multiplicity(table({"a": "1101", "b": "1011"}), baseline="x")
    with pytest.raises(OptionError, match="tolerance"):
        sn.predictive_multiplicity(table({"a": "1101"}), tolerance=2.0)


def test_published_models_of_one_score_differ_on_many_instances(shared: Path) -> None:
    samples = pl.read_parquet(shared / "data" / "cruxeval_samples.parquet")
    first = samples.filter(temperature=0.2, task="output", cot=False).select(
        pl.col("model").alias("run"),
        pl.col("item").cast(pl.String).alias("instance_id"),
        pl.col("outcomes").list.first().cast(pl.Float64).alias("value"),
        pl.lit("output").alias("task"),
        pl.lit("acc").alias("metric"),
    )
    found = only(
        sn.predictive_multiplicity(
            first, baseline="codellama-34b", tolerance=0.02, where="run LIKE 'codellama%'"
        )
    )
    runs = sn.predictive_multiplicity(
        first, baseline="codellama-34b", tolerance=0.02, where="run LIKE 'codellama%'", per="run"
    )
    assert found["n_instances"] == 800
    assert found["ambiguity"] > 0.1
    assert found["discrepancy"] == pytest.approx(runs["conflicts"].max())
    # The same instances are hard for all.
    assert (runs["conflicts"] < runs["expected"]).all()
