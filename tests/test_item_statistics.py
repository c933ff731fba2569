"""The verb `item_statistics`: definitions written out, missing scores, undefined cases."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from scipy import stats

import signoise as sn


def table(x: np.ndarray, metric: str = "acc") -> pl.DataFrame:
    """Runs x instances."""
    run, item = np.indices(x.shape)
    return pl.DataFrame(
        {
            "run": [f"r{r:02}" for r in run.ravel()],
            "instance_id": [f"i{i:02}" for i in item.ravel()],
            "value": x.ravel(),
        }
    ).with_columns(task=pl.lit("t"), metric=pl.lit(metric))


def skilled(seed: int = 0, runs: int = 15, items: int = 25) -> np.ndarray:
    rng = np.random.default_rng(seed)
    odds = rng.normal(size=(runs, 1)) * 1.5 - rng.normal(size=(1, items))
    return (rng.random((runs, items)) < 1 / (1 + np.exp(-odds))).astype(float)


def test_definitions_written_out() -> None:
    x = skilled()
    found = sn.item_statistics(table(x))
    assert found["instance_id"].to_list() == [f"i{i:02}" for i in range(25)]
    np.testing.assert_allclose(found["difficulty"], x.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(found["variance"], x.var(axis=0, ddof=1), rtol=1e-12)
    for i, row in enumerate(found.iter_rows(named=True)):
        rest = np.delete(x, i, axis=1).mean(axis=1)
        if np.ptp(x[:, i]) == 0:
            assert (row["status"], row["discrimination"]) == ("constant", None)
        else:
            expected = stats.pointbiserialr(x[:, i], rest).statistic
            assert row["discrimination"] == pytest.approx(expected, abs=1e-12)
    assert found["discrimination"].mean() > 0.2  # type: ignore[operator]
    assert found["n_instances"].unique().to_list() == [25]


def test_an_instance_does_not_correlate_with_itself() -> None:
    rng = np.random.default_rng(1)
    noise = rng.normal(size=(400, 5))
    found = sn.item_statistics(table(noise, metric="loss"))
    assert found["discrimination"].abs().max() < 0.15  # type: ignore[operator]


def test_mirrored_labels_turn_the_sign() -> None:
    x = skilled(2)
    wrong = x.copy()
    wrong[:, 3] = 1 - wrong[:, 3]
    before, after = (sn.item_statistics(table(y)).row(3, named=True) for y in (x, wrong))
    assert after["discrimination"] == pytest.approx(-before["discrimination"])
    assert after["difficulty"] == pytest.approx(1 - before["difficulty"])


def test_instances_that_some_runs_lack() -> None:
    x = skilled(3)
    frame = table(x).filter(~((pl.col("instance_id") == "i07") & (pl.col("run") < "r04")))
    found = sn.item_statistics(frame)
    row = found.row(7, named=True)
    others = np.delete(x, 7, axis=1).mean(axis=1)
    assert (row["n_runs"], row["n_instances"]) == (11, 25)
    assert row["discrimination"] == pytest.approx(stats.pointbiserialr(x[4:, 7], others[4:]).statistic)
    # the others' rest is over what all runs have
    rest = np.delete(x, [0, 7], axis=1).mean(axis=1)
    assert found.row(0, named=True)["discrimination"] == pytest.approx(
        stats.pointbiserialr(x[:, 0], rest).statistic
    )
    assert found.row(0, named=True)["n_instances"] == 24


def test_undefined_and_doubtful() -> None:
    two = sn.item_statistics(table(skilled(runs=2)))
    assert two["status"].unique().to_list() == ["too_few"]
    assert two["variance"].null_count() == 0
    assert two["flags"][0].to_list() == ["few_members"]
    single = sn.item_statistics(table(skilled(items=1)))
    assert (single["status"].item(), single["discrimination"].item()) == ("too_few", None)
    one = sn.item_statistics(table(skilled(runs=1)))
    assert one["variance"].null_count() == 25
    with pytest.raises(sn.SchemaError, match="item_statistics works on instances"):
        sn.item_statistics(sn.example_scores())
    with pytest.raises(sn.InsufficientDataError):
        sn.item_statistics(table(skilled(runs=2)), strict=True)


def test_groups_row_order_and_twins() -> None:
    frame = pl.concat([table(skilled(4)), table(skilled(5)).with_columns(task=pl.lit("u"))])
    found = sn.item_statistics(frame)
    assert found["task"].to_list() == ["t"] * 25 + ["u"] * 25
    assert found.equals(sn.item_statistics(frame.sample(fraction=1.0, shuffle=True, seed=1)))
    alone = sn.item_statistics(frame.filter(task="u"))
    assert alone.equals(found.filter(task="u"))
    assert_frame_equal(sn.reference.item_statistics(frame), found)
    repeated = pl.concat([frame.with_columns(repeat=pl.lit(r, dtype=pl.Int32)) for r in (0, 1)])
    assert sn.item_statistics(repeated).equals(found)
