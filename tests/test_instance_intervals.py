"""Limits of SNR and decision accuracy over instances: rebuilt from counts of draws, and alike for tables and stores."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import signoise as sn
from signoise import reference
from signoise._addresses import group_addresses
from test_invariance import assert_same_bits, few_variants

SMALL, TARGET = 150_000_000, 1_000_000_000
SIDES: dict[str, Any] = {"small": f"params = {SMALL}", "target": f"params = {TARGET}"}
ONE: dict[str, Any] = {"where": f"params = {SMALL}"}
B = 60
VERBS: dict[str, Any] = {
    "snr": lambda scores, **options: sn.snr(scores, instances=True, n_resamples=B, **{**ONE, **options}),
    "snr of two sides": lambda scores, **options: sn.snr(
        scores,
        instances=True,
        n_resamples=B,
        population=f"params = {TARGET}",
        noise_runs=f"params = {SMALL}",
        noise="detrended",
        score="final",
        **options,
    ),
    "decision_accuracy": lambda scores, **options: sn.decision_accuracy(
        scores, instances=True, n_resamples=B, **SIDES, **options
    ),
    "decision_accuracy, mean, zero": lambda scores, **options: sn.decision_accuracy(
        scores, instances=True, n_resamples=B, score="mean", ties="zero", **SIDES, **options
    ),
}


def table(tasks: int = 2, instances: int = 40, clusters: bool = False) -> pl.DataFrame:
    scores, _ = sn.simulate(
        tasks=tasks, recipes=6, params=(SMALL, TARGET), checkpoints=4, instances=instances, rng_seed=3
    )
    if clusters:
        number = pl.col("instance_id").rank("dense") // 3
        scores = scores.with_columns(number.cast(pl.String).alias("cluster"))
    return scores


def quiet(verb: Any, *args: Any, **options: Any) -> pl.DataFrame:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", sn.SignoiseWarning)
        return verb(*args, **options)


def replicates(scores: pl.DataFrame, params: int, task: str) -> np.ndarray:
    """Scores (replicates, recipes, checkpoints) on the drawn instances of a task."""
    rows = scores.filter(params=params, task=task).sort("recipe", "step", "instance_id")
    cells = rows["value"].to_numpy().reshape(6, 4, -1)
    unit = group_addresses(pl.DataFrame({"task": [task]}))
    counts = reference.bootstrap_counts(np.array([0, cells.shape[2]], dtype=np.uintp), unit, B, 0)
    return np.einsum("rki,bi->brk", cells, counts.astype(float)) / cells.shape[2]


def agreement(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    i, j = np.triu_indices(a.shape[-1], 1)
    return ((1 + np.sign(a[..., i] - a[..., j]) * np.sign(b[..., i] - b[..., j])) / 2).mean(axis=-1)


def test_limits_of_snr_rebuilt() -> None:
    scores = table()
    found = VERBS["snr"](scores)
    assert found["task"].n_unique() == found.height == 2
    for row in found.iter_rows(named=True):
        drawn = replicates(scores, SMALL, row["task"])
        means = drawn.mean(axis=2)
        noise = np.sqrt(drawn.var(axis=2, ddof=1).mean(axis=1))
        snr = np.ptp(means, axis=1) / noise
        margin = 1.959963985 * np.log(snr).std(ddof=1)
        assert row["instance_low"] == pytest.approx(row["snr"] * np.exp(-margin), rel=1e-8)
        assert row["instance_high"] == pytest.approx(row["snr"] * np.exp(margin), rel=1e-8)
        assert row["n_instances"] == 40


def test_limits_of_decision_accuracy_rebuilt() -> None:
    scores = table()
    found = VERBS["decision_accuracy"](scores)
    for row in found.iter_rows(named=True):
        a, b = (replicates(scores, params, row["task"])[:, :, -1] for params in (SMALL, TARGET))
        margin = 1.959963985 * agreement(a, b).std(ddof=1)
        u = row["decision_accuracy"]
        assert row["instance_low"] == pytest.approx(max(0, u - margin), abs=1e-9)
        assert row["instance_high"] == pytest.approx(min(1, u + margin), abs=1e-9)


@pytest.mark.parametrize("clusters", [False, True])
@pytest.mark.parametrize("name", VERBS)
def test_a_store_gives_the_same_bits(name: str, clusters: bool, tmp_path: Path) -> None:
    scores = table(clusters=clusters)
    sn.ingest(scores, tmp_path / "store")
    expected = quiet(VERBS[name], scores)
    assert expected["instance_low"].null_count() == 0
    found = quiet(VERBS[name], sn.open_store(tmp_path / "store"))
    assert_same_bits(found.select(expected.columns), expected, "store")


@pytest.mark.parametrize("name", VERBS)
def test_same_bits_however_the_table_comes(name: str) -> None:
    scores = table(clusters=True)
    expected = quiet(VERBS[name], scores)
    for where, variant, options in few_variants(scores, 1):
        assert_same_bits(quiet(VERBS[name], variant, **options), expected, where)
    one = scores.filter(task=scores["task"][0])
    more = pl.concat([scores, one.with_columns(task=pl.lit("zzz"))])
    options = {"autocorrelation": 0.0}
    alone, beside = (quiet(VERBS[name], rows, **options) for rows in (scores, more))
    assert_same_bits(beside.filter(pl.col("task") != "zzz"), alone, "another task")


def test_clusters_are_drawn_whole() -> None:
    scores = table(instances=60)
    # Three copies of each instance in one cluster know no more than one.
    copies = pl.concat(
        [
            scores.with_columns(
                pl.format("{}-{}", "instance_id", pl.lit(k)).alias("instance_id"),
                pl.col("instance_id").alias("cluster"),
            )
            for k in range(3)
        ]
    )
    single, whole = VERBS["snr"](scores), VERBS["snr"](copies)
    naive = VERBS["snr"](copies, cluster="instance_id")

    def width(found: pl.DataFrame) -> np.ndarray:
        return np.log(found["instance_high"] / found["instance_low"]).to_numpy()

    np.testing.assert_allclose(width(whole), width(single), rtol=1e-9)
    assert (width(naive) < 0.8 * width(single)).all()


def test_ratio_metrics_draw_sums() -> None:
    scores = table().with_columns(pl.lit("bits_per_byte").alias("metric"))
    weight = 1 + pl.col("instance_id").rank("dense") % 5
    weighted = scores.with_columns((weight * 10.0).alias("weight"))
    even = VERBS["snr"](scores.with_columns(pl.lit(7.0).alias("weight")))
    found, plain = VERBS["snr"](weighted), VERBS["snr"](scores.with_columns(pl.lit(1.0).alias("weight")))
    np.testing.assert_allclose(even["instance_low"], plain["instance_low"], rtol=1e-9)
    assert (found["instance_low"] != plain["instance_low"]).all()


def test_only_shared_instances_are_drawn() -> None:
    scores = table(tasks=1)
    ids = scores["instance_id"].unique().sort()
    run = scores["run"].unique().sort()[0]
    fewer = scores.filter((pl.col("run") != run) | ~pl.col("instance_id").is_in(ids[:15].implode()))
    assert VERBS["snr"](fewer, where=None, by=("task", "metric", "params"))["n_instances"].to_list() == [
        25,
        40,
    ]
    none = scores.filter((pl.col("run") != run) | pl.col("instance_id").is_in(ids[:1].implode()))
    row = VERBS["decision_accuracy"](none).row(0, named=True)
    assert (row["instance_low"], row["n_instances"]) == (None, 1)
    assert "few_instances" in row["flags"]


def test_a_draw_without_noise_leaves_no_limits() -> None:
    scores = table(tasks=1).with_columns(pl.col("value").first().over("run", "instance_id"))
    row = VERBS["snr"](scores).row(0, named=True)
    assert (row["status"], row["instance_low"], row["instance_high"]) == ("zero_noise", None, None)


@pytest.mark.parametrize(
    ("verb", "options", "message"),
    [
        (sn.snr, {"signal": "compat:rel_mpd"}, "relative_dispersion"),
        (sn.snr, {"groups": {"all": "task-*"}}, "without groups"),
        (sn.snr, {"n_resamples": 1}, "n_resamples"),
        (sn.decision_accuracy, {**SIDES, "pairs": "weighted"}, "over all pairs"),
        (sn.decision_accuracy, {**SIDES, "score": "sample"}, "final"),
    ],
)
def test_options_that_do_not_go_together(verb: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(sn.OptionError, match=message):
        verb(table(), instances=True, **options)


def test_instances_must_be_there() -> None:
    with pytest.raises(sn.SchemaError, match="have none"):
        sn.snr(sn.example_scores(), instances=True)
    with pytest.raises(sn.SchemaError, match="no column 'passage'"):
        sn.snr(table(), instances=True, cluster="passage")
