"""The verb `prune_items`: halves written out, what is planted, undefined cases."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from scipy import stats

import signoise as sn
from signoise import reference
from signoise._addresses import PRUNING_CONTROL, PRUNING_HALVES, group_addresses, random_subsets
from test_item_statistics import table as runs_by_items

OPTIONS: dict[str, Any] = {"n_splits": 4, "n_random": 3}


def quiet(*args: Any, **kwargs: Any) -> pl.DataFrame:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", sn.SignoiseWarning)
        return sn.prune_items(*args, **{**OPTIONS, **kwargs})


def table(x: np.ndarray, metric: str = "margin") -> pl.DataFrame:
    """Runs x checkpoints x instances."""
    return pl.concat(
        runs_by_items(x[:, step], metric).with_columns(step=pl.lit(step)) for step in range(x.shape[1])
    )


def scores(seed: int = 0, runs: int = 12, items: int = 20, steps: int = 3) -> np.ndarray:
    rng = np.random.default_rng(seed)
    skill = rng.normal(size=(runs, 1, 1)) + 0.2 * rng.normal(size=(runs, steps, 1))
    slope = rng.uniform(-0.5, 1.5, items)
    return 0.1 * slope * skill + 0.1 * rng.normal(size=(runs, steps, items))


def measures(x: np.ndarray, which: np.ndarray, goal: np.ndarray) -> dict[str, float]:
    """Of runs x checkpoints x instances."""
    part = x[:, :, which]
    means = part.mean(axis=(1, 2))
    first, second = np.triu_indices(len(x), 1)
    agree = np.sign(means[first] - means[second]) == np.sign(goal[first] - goal[second])
    noise = np.sqrt(part.mean(axis=2).var(axis=1, ddof=1).mean())
    stderr = stats.sem(part.mean(axis=1), axis=1).mean()
    return {"agreement": agree.mean(), "snr": np.ptp(means) / noise, "noise": noise, "stderr": stderr}


def best(x: np.ndarray, count: int) -> np.ndarray:
    scored = x.mean(axis=1)
    rest = (scored.sum(axis=1, keepdims=True) - scored) / (scored.shape[1] - 1)
    found = [np.corrcoef(s, r)[0, 1] for s, r in zip(scored.T, rest.T, strict=True)]
    return np.argsort(-np.array(found))[:count]


def halves(n: int, count: int, rng_seed: int = 0) -> np.ndarray:
    unit = int(group_addresses(pl.DataFrame({"task": ["t"]}))[0])
    return random_subsets(rng_seed, PRUNING_HALVES, unit, n=n, size=n // 2, count=count)


def test_halves_written_out() -> None:
    x = scores()
    found = quiet(table(x), keep=0.4)
    assert found["measure"].to_list() == ["agreement", "snr", "noise", "stderr"]
    assert found.select("keep", "n_members", "n_instances", "n_kept").unique().rows() == [(0.4, 12, 20, 8)]
    goal, every = x.mean(axis=(1, 2)), np.arange(20)

    def judged(name: str, members: np.ndarray, which: np.ndarray) -> float:
        value = measures(x[members], which, goal[members])[name]
        return value if name == "agreement" else float(np.log(value))

    unit = int(group_addresses(pl.DataFrame({"task": ["t"]}))[0])
    for row in found.iter_rows(named=True):
        name = row["measure"]
        gains, in_sample, random, values = np.zeros((4, 2)), [], np.zeros((4, 2)), []
        for split, first in enumerate(halves(12, 4)):
            words = reference.philox_uint64(0, PRUNING_CONTROL, split, unit, 3 * 20).reshape(3, 20)
            drawn = [np.argsort(one, kind="stable")[:8] for one in words]
            for half, mine in enumerate((first, ~first)):
                value, whole = judged(name, mine, best(x[~mine], 8)), judged(name, mine, every)
                values.append(value)
                gains[split, half] = value - whole
                in_sample.append(judged(name, mine, best(x[mine], 8)) - whole)
                random[split, half] = value - np.mean([judged(name, mine, one) for one in drawn])
        assert row["gain"] == pytest.approx(gains.mean(), abs=1e-12)
        assert row["gain_in_sample"] == pytest.approx(np.mean(in_sample), abs=1e-12)
        assert row["optimism"] == pytest.approx(np.mean(in_sample) - gains.mean(), abs=1e-12)
        assert row["gain_random"] == pytest.approx(random.mean(), abs=1e-12)
        expected = np.mean(values)
        assert row["value"] == pytest.approx(expected if name == "agreement" else np.exp(expected))
        between = np.mean((gains[:, 0] - gains[:, 1]) ** 2) / 4
        stderr = np.sqrt(max(between, gains.mean(axis=1).var(ddof=1) * 1.25))
        assert row["gain_high"] - row["gain"] == pytest.approx(stats.t.ppf(0.975, 11) * stderr)
        assert row["n_splits"] == 4


def test_all_instances_gain_nothing() -> None:
    found = quiet(table(scores(1)), keep=[1, 0.5])
    whole = found.filter(keep=1.0)
    assert whole["n_kept"].to_list() == [20] * 4
    for name in ("gain", "gain_random", "gain_in_sample", "optimism"):
        np.testing.assert_allclose(whole[name], 0.0, atol=1e-12)
    assert whole["value"][0] == 1.0
    assert found["keep"].to_list() == [0.5] * 4 + [1.0] * 4


def test_good_and_bad_instances_and_a_choice_of_nothing() -> None:
    rng = np.random.default_rng(2)
    skill = rng.normal(size=(16, 1, 1))
    noise = rng.normal(size=(16, 3, 80))
    good = np.where(np.arange(80) < 40, 1.0, 0.0) * skill + noise
    found = quiet(table(good), keep=0.5).filter(measure="snr").row(0, named=True)
    assert found["gain_random_low"] > 0
    assert found["gain"] > 0
    alike = quiet(table(0.3 * skill + noise), keep=0.5).filter(measure="snr").row(0, named=True)
    assert alike["gain_random_low"] < 0 < alike["gain_random_high"]
    assert alike["gain_random_in_sample"] > 0.2
    assert alike["optimism"] > 0.2


def test_difficulty_keeps_the_middle() -> None:
    rng = np.random.default_rng(3)
    chances = np.concatenate([np.full(15, 0.5), np.full(15, 0.97)])
    x = (rng.random((12, 1, 30)) < chances).astype(float)
    found = quiet(table(x, "acc"), rule="difficulty", keep=0.5)
    # Instances near one half vary most.
    row = found.filter(measure="stderr").row(0, named=True)
    assert row["gain_random_low"] > 0
    # Without bounds the middle instance is in the middle.
    ramp = np.tile(np.arange(9.0), (6, 1, 1)) ** 2 + rng.normal(size=(6, 1, 9)) * 1e-6
    spread = quiet(table(ramp, "loss"), rule="difficulty", keep=0.34).filter(measure="stderr")
    assert spread["value"].item() == pytest.approx(stats.sem([9.0, 16.0, 25.0]), rel=1e-3)


def test_decisions_of_chosen_instances_for_all_of_the_target() -> None:
    frame, _ = sn.simulate(
        tasks=["t"], recipes=8, params=(1e8, 1e9), checkpoints=1, instances=40, signal=0.15
    )
    sides: dict[str, Any] = {"small": "params = 100000000", "target": "params = 1000000000"}
    found = quiet(frame, keep=[0.5, 1], score="final", **sides)
    assert found["measure"].unique(maintain_order=True).to_list()[0] == "decision_accuracy"
    whole = found.filter(measure="decision_accuracy", keep=1.0).row(0, named=True)
    recipes = frame["recipe"].unique().sort()
    means = []
    for first in halves(8, 4):
        for mine in (first, ~first):
            part = frame.filter(pl.col("recipe").is_in(recipes.filter(pl.Series(mine)).implode()))
            means.append(sn.decision_accuracy(part, **sides)["decision_accuracy"][0])
    assert whole["value_all"] == pytest.approx(np.mean(means))
    # One checkpoint has no noise.
    lost = found.filter(pl.col("measure").is_in(["snr", "noise"]))
    assert lost["status"].unique().to_list() == ["too_few"]
    assert lost["value"].null_count() == lost.height


def test_groups_row_order_stores_and_twins(tmp_path: Path) -> None:
    frame = pl.concat([table(scores(4)), table(scores(5)).with_columns(task=pl.lit("u"))])
    found = quiet(frame, keep=[0.3, 0.6])
    assert found.equals(quiet(frame.sample(fraction=1.0, shuffle=True, seed=1), keep=[0.6, 0.3]))
    assert found.filter(task="u").equals(quiet(frame.filter(task="u"), keep=[0.3, 0.6]))
    assert_frame_equal(reference.prune_items(frame, keep=[0.3, 0.6], **OPTIONS), found)
    sn.ingest(frame, tmp_path / "store")
    assert_frame_equal(quiet(tmp_path / "store", keep=[0.3, 0.6]), found)
    assert not found["gain"].equals(quiet(frame, keep=[0.3, 0.6], rng_seed=1)["gain"])


def test_undefined_rows_and_wrong_calls() -> None:
    x = scores(6, runs=5)
    few = quiet(table(x), keep=0.5)
    assert few["status"].unique().to_list() == ["too_few"]
    assert few["gain"].null_count() == 4
    assert quiet(table(x), keep=0.5, rule="difficulty")["status"].unique().to_list() == ["ok"]
    odd = quiet(table(np.exp(scores(6)), "perplexity"), keep=0.5)
    assert odd["status"].unique().to_list() == ["not_a_mean"]
    weighted = table(np.exp(scores(6)), "bits_per_byte").with_columns(
        weight=1.0 + pl.col("instance_id").str.slice(1).cast(pl.Float64)
    )
    assert quiet(weighted, keep=0.5)["status"].unique().to_list() == ["not_a_mean"]
    still = np.repeat(scores(7, steps=1), 3, axis=1)
    calm = quiet(table(still), keep=0.5)
    assert calm["status"].to_list() == ["ok", "zero_noise", "zero_noise", "ok"]
    with pytest.raises(sn.InsufficientDataError, match=r"keep=0\.5, measure=agreement"):
        quiet(table(x), keep=0.5, strict=True)
    for keep in (0, 1.5, "half", [], [True]):
        with pytest.raises(sn.OptionError, match="keep must be shares"):
            quiet(table(x), keep=keep)
    with pytest.raises(sn.OptionError, match="rule must be one of"):
        quiet(table(x), rule="luck")


def test_items_of_openbookqa_over_gemstones(shared: Path) -> None:
    """The numbers of docs/interventions.md: most of the gain in SNR is real, and not all of the order is kept."""
    frame = pl.read_parquet(shared / "data" / "gemstones_item_losses_openbookqa.parquet").select(
        "task", run="model", step="step", metric=pl.lit("loss"), instance_id="item", value="loss"
    )
    last = frame.filter(pl.col("step").rank("dense", descending=True) <= 5)
    for rule, expected in (("discrimination", (1.47, 1.37, 0.961)), ("difficulty", (1.18, 1.19, 0.966))):
        found = sn.prune_items(last, rule=rule, keep=0.25)  # type: ignore[arg-type]
        snr, kept = (found.filter(measure=name).row(0, named=True) for name in ("snr", "agreement"))
        ratios = np.exp([snr["gain_in_sample"], snr["gain"]])
        assert [*np.round(ratios, 2), round(kept["value"], 3)] == pytest.approx(expected)
        assert round(kept["value_random"], 3) == 0.978
        assert snr["gain_random_low"] > 0
