"""The verb `permutation_test`, beside `compare` and SciPy."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from scipy import stats

import signoise as sn
from signoise import reference


def table(a: np.ndarray, b: np.ndarray, *, shared: bool, metric: str = "margin") -> pl.DataFrame:
    names = [f"i{i:03}" for i in range(len(a))]
    others = names if shared else [f"j{i:03}" for i in range(len(b))]
    return pl.DataFrame(
        {
            "run": ["a"] * len(a) + ["b"] * len(b),
            "task": "t",
            "metric": metric,
            "instance_id": names + others,
            "value": np.concatenate([a, b]),
        }
    )


def test_unpaired_runs_exchange_labels() -> None:
    rng = np.random.default_rng(7)
    a, b = rng.normal(0.3, 1, 7), rng.normal(0, 1, 5)
    row = sn.permutation_test(table(a, b, shared=False)).row(0, named=True)
    every = np.concatenate([a, b])
    sums = np.array([every[list(chosen)].sum() for chosen in combinations(range(12), 7)])
    far = np.abs(sums / 7 - (every.sum() - sums) / 5) >= abs(a.mean() - b.mean()) - 1e-12
    assert row["p_value"] == pytest.approx(far.mean(), rel=1e-9)
    assert (row["test"], row["flags"]) == ("label_permutation", ["few_instances", "unpaired"])


def test_many_labels_are_drawn_as_scipy_draws_them() -> None:
    rng = np.random.default_rng(200)
    a, b = rng.normal(0.1, 1, 200), rng.normal(0, 1, 198)
    row = sn.permutation_test(table(a, b, shared=False), n_resamples=20_000).row(0, named=True)
    expected = stats.permutation_test(
        (a, b),
        lambda x, y, axis: abs(x.mean(axis=axis) - y.mean(axis=axis)),
        vectorized=True,
        n_resamples=20_000,
        alternative="greater",
        rng=1,
    ).pvalue
    assert row["p_value"] == pytest.approx(expected, abs=6 * np.sqrt(2 * expected * (1 - expected) / 20_000))


def test_right_or_wrong_scores_of_other_instances_are_fishers() -> None:
    rng = np.random.default_rng(3)
    a, b = (rng.integers(0, 2, n).astype(float) for n in (40, 60))
    row = sn.permutation_test(table(a, b, shared=False, metric="acc")).row(0, named=True)
    # Two-sided by the distance of the difference from 0, as for every score.
    hits, split = int(a.sum() + b.sum()), np.arange(41)
    law = stats.hypergeom(100, hits, 40).pmf(split)
    far = np.abs(split / 40 - (hits - split) / 60) >= abs(a.mean() - b.mean()) - 1e-12
    assert row["p_value"] == pytest.approx(law[far].sum(), rel=1e-9)


def test_columns_and_signature() -> None:
    rng = np.random.default_rng(4)
    frame = table(rng.normal(size=50), rng.normal(size=50), shared=True)
    found = sn.permutation_test(frame, n_resamples=999, rng_seed=5)
    beside = sn.compare(frame, test="permutation", n_resamples=999, rng_seed=5)
    assert found.drop("signature").equals(beside.select(found.drop("signature").columns))
    assert {"stderr", "low", "high", "mde", "verdict"}.isdisjoint(found.columns)
    text = found["signature"][0]
    assert text.startswith(
        "permutation_test|subtasks:apart|n_resamples:999|rng:5|adjust:holm|cluster:none|v:"
    )
    assert_frame_equal(reference.permutation_test(frame, n_resamples=999, rng_seed=5), found, rel_tol=1e-9)


def test_results_keep_students_test() -> None:
    frame = pl.DataFrame(
        {
            "run": ["a", "b"],
            "task": "t",
            "metric": "acc",
            "value": [0.5, 0.6],
            "stderr": [0.01, 0.02],
            "n": [2500, 600],
        }
    )
    row = sn.permutation_test(frame).row(0, named=True)
    assert (row["test"], row["status"]) == ("t_unpaired", "ok")
    assert row["p_value"] == sn.compare(frame)["p_value"][0]


def test_misuse() -> None:
    frame = table(np.arange(5.0), np.arange(5.0) ** 2, shared=True)
    with pytest.raises(sn.OptionError, match="n_resamples"):
        sn.permutation_test(frame, n_resamples=0)
    with pytest.raises(sn.OptionError, match="both a and b"):
        sn.permutation_test(frame, a="a")
