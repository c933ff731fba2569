"""The verb `thresholdout`: the published algorithm, its budget, and what it is for."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

import signoise as sn
from signoise import reference
from signoise._addresses import THRESHOLDOUT

N = 2500


def halves(seed: int, gaps: list[float]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Queries whose means are so far apart between the halves."""
    rng = np.random.default_rng(seed)
    sides = [
        pl.DataFrame({f"q{i}": np.clip(rng.random(N) * 0.5 + sign * gap, 0, 1) for i, gap in enumerate(gaps)})
        for sign in (1, 0)
    ]
    return sides[0], sides[1]


def by_hand(train: pl.DataFrame, holdout: pl.DataFrame, budget: int, seed: int) -> list[tuple[Any, ...]]:
    words = reference.philox_uint64(seed, THRESHOLDOUT, 0, 0, 1 + 3 * train.width)
    u = [((int(word) >> 11) + 0.5) / 2**53 for word in words]
    lap = [np.log(2 * x) if x < 0.5 else -np.log(2 * (1 - x)) for x in u]
    t, s, found = 4 / np.sqrt(N), 1 / np.sqrt(N), []
    limit = t + 2 * s * lap[0]
    for i, query in enumerate(train.columns):
        a, b = train[query].mean(), holdout[query].mean()
        if budget < 1:
            found.append((None, None, 0))
        elif abs(b - a) > limit + 4 * s * lap[1 + 3 * i]:
            budget -= 1
            limit = t + 2 * s * lap[3 + 3 * i]
            found.append((b + s * lap[2 + 3 * i], "holdout", budget))
        else:
            found.append((a, "train", budget))
    return found


@pytest.mark.parametrize("seed", range(5))
def test_it_is_the_published_algorithm(seed: int) -> None:
    train, holdout = halves(seed, [0.0, 0.05, 0.1, 0.2, 0.3, 0.0, 0.4, 0.5, 0.08, 0.0])
    found = sn.thresholdout(train, holdout, budget=4, rng_seed=seed)
    for row, (answer, by, left) in zip(
        found.iter_rows(named=True), by_hand(train, holdout, 4, seed), strict=True
    ):
        assert (row["answered_by"], row["budget_left"]) == (by, left)
        assert row["answer"] == (None if answer is None else pytest.approx(answer, abs=1e-12))
        assert row["status"] == ("ok" if by else "budget_spent")
    earlier = sn.thresholdout(train[:, :6], holdout[:, :6], budget=4, rng_seed=seed)
    assert_frame_equal(found.head(6), earlier)


def test_choosing_on_the_training_half_is_found_out() -> None:
    rng = np.random.default_rng(1)
    # Guesses at random labels: the best of many by the training half look good there alone.
    right = [rng.random((N, 400)) < 0.5 for _ in range(2)]
    order = np.argsort(right[0].mean(axis=0))[-41:]
    best = [side[:, order].mean(axis=1) for side in right]
    majority = [(side[:, order].mean(axis=1) > 0.5) for side in right]
    frames = [
        pl.DataFrame({"vote": vote, "share": share}) for vote, share in zip(majority, best, strict=True)
    ]
    plain = frames[0]["vote"].cast(pl.Float64).mean()
    assert isinstance(plain, float)
    found = sn.thresholdout(frames[0], frames[1], budget=5, threshold=0.02, noise=0.002)
    assert plain > 0.55
    assert found["answered_by"][0] == "holdout"
    assert abs(found["answer"][0] - np.mean(majority[1])) < 0.05


def test_what_cannot_be_asked() -> None:
    train, holdout = halves(0, [0.0])
    with pytest.raises(sn.InsufficientDataError, match="train has 1999 instances"):
        sn.thresholdout(train.head(1999), holdout, budget=1)
    for bad in (pl.lit(None, dtype=pl.Float64), pl.lit(float("nan")), pl.lit(1.5), pl.lit(-0.1)):
        wrong = holdout.with_columns(q0=pl.when(pl.int_range(pl.len()) == 7).then(bad).otherwise("q0"))
        with pytest.raises(sn.SchemaError, match="holdout: the scores of 'q0' must be from 0 to 1"):
            sn.thresholdout(train, wrong, budget=1)
    with pytest.raises(sn.SchemaError, match="same columns"):
        sn.thresholdout(train, holdout.rename({"q0": "q1"}), budget=1)
    with pytest.raises(sn.SchemaError, match="must be numbers"):
        sn.thresholdout(train.cast(pl.String), holdout.cast(pl.String), budget=1)
    for options in ({"budget": 0}, {"budget": 1, "noise": 0.0}, {"budget": 1, "threshold": float("inf")}):
        with pytest.raises(sn.OptionError):
            sn.thresholdout(train, holdout, **options)  # type: ignore[arg-type]
