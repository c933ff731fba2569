"""pass@k and pass^k: kernels on hard inputs, the verb, and published numbers."""

from __future__ import annotations

import inspect
import json
from math import comb
from pathlib import Path
from typing import Any

import click
import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

import signoise as sn
from signoise import _core, reference
from signoise._cli import main


def counts(pairs: list[tuple[int, int]], **more: Any) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "run": "m",
            "task": "code",
            "instance_id": [f"{at:03}" for at in range(len(pairs))],
            "n": [n for n, _ in pairs],
            "c": [c for _, c in pairs],
        }
    ).with_columns(**{name: pl.lit(value) for name, value in more.items()})


def kernel(n: list[int], c: list[int], k: list[int], **options: Any) -> np.ndarray:
    arrays = (np.array(x, dtype=np.uint32) for x in (n, c, k))
    return _core.pass_probabilities(*arrays, **options)


# --- kernels -------------------------------------------------------------------------------------------------------


def test_worked_example() -> None:
    assert kernel([10], [3], [5]).item() == pytest.approx(11 / 12, abs=1e-15)
    assert round(kernel([10], [3], [5]).item(), 7) == 0.9166667
    assert kernel([10], [3], [3], success="all").item() == pytest.approx(1 / 120, rel=1e-14)


@pytest.mark.parametrize("n", [1_000_000, 999_983])
@pytest.mark.parametrize("success", ["any", "all"])
def test_a_million_samples(n: int, success: str) -> None:
    c = [1, 2, 30, 7_000, n // 2, n - 40, n - 1, n]
    k = [1, 2, 50, 3_000, n // 3, n]
    expected = [[_exact(n, right, tries, success) for right in c] for tries in (1, 2, 50, 3_000)]
    found = kernel([n] * len(c), c, k, success=success)
    np.testing.assert_allclose(found[:4], expected, rtol=1e-9 if success == "any" else 1e-11, atol=1e-300)
    assert ((found >= 0) & (found <= 1)).all()
    assert (found[-1] == [1.0] * 8 if success == "any" else found[-1] == [0.0] * 7 + [1.0]).all()
    # pass@1 is the share itself.
    assert found[0].tolist() == [right / n for right in c]


def _exact(n: int, c: int, k: int, success: str) -> float:
    a = c if success == "any" else n - c
    if a + k > n:
        return float(success == "any")
    few, many = min(a, k), max(a, k)
    whole, none = comb(n, few), comb(n - many, few)
    return (whole - none if success == "any" else none) / whole


@given(
    n=st.integers(1, 60),
    share=st.floats(0, 1),
    k=st.integers(1, 60),
    success=st.sampled_from(["any", "all"]),
)
@settings(max_examples=200)
def test_properties(n: int, share: float, k: int, success: str) -> None:
    c = round(share * n)
    value = kernel([n], [c], [k], success=success).item()
    if k > n:
        assert np.isnan(value)
        return
    exact = comb(c, k) / comb(n, k) if success == "all" else 1 - comb(n - c, k) / comb(n, k)
    assert value == pytest.approx(exact, rel=1e-12, abs=1e-14)
    # Failing at all tries is succeeding at none: the two are one function.
    other = kernel([n], [n - c], [k], success="all" if success == "any" else "any").item()
    assert value == pytest.approx(1 - other, abs=1e-14)
    if c < n:
        assert kernel([n], [c + 1], [k], success=success).item() >= value - 1e-14
    plug_in = kernel([n], [c], [k], success=success, estimator="plug_in").item()
    assert plug_in <= value + 1e-14 if success == "any" else plug_in >= value - 1e-14


def test_unbiased_over_samples() -> None:
    # The mean over all samples of size n of an item with success probability p is 1 - (1 - p)^k, exactly.
    n, p = 12, 0.23
    weights = np.array([comb(n, c) * p**c * (1 - p) ** (n - c) for c in range(n + 1)])
    found = kernel([n] * (n + 1), list(range(n + 1)), [1, 3, 12])
    np.testing.assert_allclose(found @ weights, [1 - (1 - p) ** k for k in (1, 3, 12)], rtol=1e-12)
    plug_in = kernel([n] * (n + 1), list(range(n + 1)), [3], estimator="plug_in") @ weights
    assert plug_in[0] < 1 - (1 - p) ** 3 - 0.01


def test_counts_of_raw_samples() -> None:
    samples = np.array([[1, 0, 255, 1], [255] * 4, [0] * 4], dtype=np.uint8)
    found = _core.sample_counts(samples)
    assert (found["n"].tolist(), found["c"].tolist()) == ([3, 0, 4], [2, 0, 0])
    assert _core.sample_counts(np.zeros((3, 0), dtype=bool))["n"].tolist() == [0, 0, 0]
    with pytest.raises(sn.OptionError, match="255 where one is missing, got 7"):
        _core.sample_counts(np.array([[0, 7]], dtype=np.uint8))
    with pytest.raises(sn.ShapeError, match="contiguous"):
        _core.sample_counts(samples[:, ::2])


def test_kernel_misuse() -> None:
    for n, c, k, options, message in (
        ([3], [4], [1], {}, "c must be at most n, got 4 of 3"),
        ([3], [2], [0], {}, "k must be at least 1"),
        ([3], [2], [1], {"estimator": "naive"}, "estimator has no entry"),
        ([3], [2], [1], {"estimator": "compat", "success": "all"}, "success=all"),
    ):
        with pytest.raises(sn.OptionError, match=message):
            kernel(n, c, k, **options)
    with pytest.raises(sn.ShapeError):
        kernel([3, 4], [2], [1])


# --- the verb ------------------------------------------------------------------------------------------------------


def test_a_row_for_each_k() -> None:
    table = sn.pass_at_k(counts([(10, 0), (10, 3), (20, 20), (12, 1)]), k=[5, 1])
    assert table["k"].to_list() == [5, 1]
    assert table["pass_at_k"].to_list() == pytest.approx([(11 / 12 + 1 + 5 / 12) / 4, (0.3 + 1 + 1 / 12) / 4])
    row = table.row(0, named=True)
    assert (row["n_items"], row["n_samples_min"], row["n_samples_max"], row["n_short"]) == (4, 10, 20, 0)
    assert (row["run"], row["step"], row["task"], row["metric"]) == ("m", None, "code", "correct")
    assert row["low"] < row["pass_at_k"] < row["high"]
    assert row["flags"] == ["few_instances"]
    assert "estimator:unbiased|success:any|draws:instances" in row["signature"]
    alone = sn.pass_at_k(counts([(10, 0), (10, 3), (20, 20), (12, 1)]), k=1)
    assert alone.row(0) == table.row(1)


def test_more_tries_than_samples() -> None:
    frame = counts([(10, 0), (4, 3), (10, 5)])
    table = sn.pass_at_k(frame, k=[4, 5])
    assert table["status"].to_list() == ["ok", "too_few_samples"]
    assert table["n_short"].to_list() == [0, 1]
    assert table.row(1, named=True)["pass_at_k"] is None
    assert table.row(1, named=True)["stderr"] is None
    compat = sn.pass_at_k(frame, k=5, estimator="compat").row(0, named=True)
    assert compat["pass_at_k"] == pytest.approx((0 + 1 + 1 - 1 / 252) / 3)
    assert (compat["status"], compat["n_short"]) == ("ok", 1)
    plug_in = sn.pass_at_k(frame, k=5, estimator="plug_in").row(0, named=True)
    assert plug_in["pass_at_k"] == pytest.approx((0 + 1 - 0.25**5 + 1 - 0.5**5) / 3)
    with pytest.raises(sn.InsufficientDataError, match="too_few_samples"):
        sn.pass_at_k(frame, k=5, strict=True)


def test_all_tries() -> None:
    table = sn.pass_at_k(counts([(10, 0), (10, 3), (10, 10)]), k=[1, 2], success="all")
    assert table["pass_at_k"].to_list() == pytest.approx([1.3 / 3, (3 / 45 + 1) / 3])


def test_degenerate_groups() -> None:
    one = sn.pass_at_k(counts([(10, 3)]), k=2).row(0, named=True)
    assert (one["status"], one["low"], one["stderr"]) == ("too_few", None, None)
    assert one["pass_at_k"] == pytest.approx(1 - 21 / 45)
    none = sn.pass_at_k(counts([(10, 0)] * 30), k=2).row(0, named=True)
    assert (none["status"], none["pass_at_k"], none["stderr"], none["low"]) == ("constant", 0.0, 0.0, None)
    empty = counts([(10, 3), (10, 2)], run="m").with_columns(run=pl.lit("other"), n=pl.lit(0), c=pl.lit(0))
    row = sn.pass_at_k(pl.concat([counts([(4, 3)] * 2), empty], how="vertical_relaxed"), k=2).row(
        1, named=True
    )
    assert (row["run"], row["status"], row["n_items"], row["n_samples_min"]) == ("other", "too_few", 0, None)
    assert (row["pass_at_k"], row["n_missing"], row["flags"]) == (
        None,
        2,
        ["missing_values", "few_instances"],
    )


def test_intervals_come_from_items() -> None:
    rng = np.random.default_rng(0)
    pairs = [(20, int(c)) for c in rng.binomial(20, rng.beta(0.4, 0.6, 200))]
    table = sn.pass_at_k(counts(pairs), k=[1, 10])
    values = kernel([20] * 200, [c for _, c in pairs], [1, 10])
    expected = values.std(axis=1) / np.sqrt(200)
    np.testing.assert_allclose(table["stderr"], expected, rtol=0.03)
    # All samples in one heap would claim three times less.
    share = values[0].mean()
    assert table["stderr"][0] > 2.5 * np.sqrt(share * (1 - share) / 4000)
    clustered = sn.pass_at_k(counts(pairs).with_columns(cluster=pl.col("instance_id").str.head(2)), k=1)
    assert "draws:clusters" in clustered["signature"].item()
    assert "few_clusters" in clustered["flags"].item()


def test_nothing_depends_on_the_order_of_rows_or_on_threads() -> None:
    rng = np.random.default_rng(1)
    frame = counts([(int(n), int(rng.integers(0, n + 1))) for n in rng.integers(5, 30, 60)])
    table = sn.pass_at_k(frame, k=[1, 5])
    assert sn.pass_at_k(frame.sample(fraction=1.0, shuffle=True, seed=0), k=[1, 5], threads=1).equals(table)
    twice = pl.concat([frame, frame.with_columns(run=pl.lit("a"))])
    assert sn.pass_at_k(twice, k=[1, 5]).filter(run="m").equals(table)
    same = reference.pass_at_k(frame, k=[1, 5], n_resamples=200)
    ours = sn.pass_at_k(frame, k=[1, 5], n_resamples=200)
    for name in ("pass_at_k", "stderr", "low", "high"):
        assert same[name].to_list() == pytest.approx(ours[name].to_list(), rel=1e-9)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k": 0}, "k must be a whole number of at least 1, got 0"),
        ({"k": []}, "k must be a number of tries"),
        ({"k": [1, 2.5]}, "k must be a whole number"),
        ({"k": 2**32}, "below 2\\*\\*32"),
        ({"estimator": "unbaised"}, "did you mean 'unbiased'"),
        ({"success": "most"}, "success must be one of"),
        ({"k": 2.0}, r"k must be a whole number of at least 1, got 2\.0"),
        ({"k": "5"}, "k must be a whole number of at least 1, got '5'"),
        ({"estimator": "compat", "success": "all"}, "compat"),
    ],
)
def test_wrong_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(sn.OptionError, match=message):
        sn.pass_at_k(counts([(4, 2), (4, 1)]), **options)


def test_numbers_of_tries_from_numpy() -> None:
    table = counts([(4, 2), (4, 1)])
    assert sn.pass_at_k(table, k=np.arange(1, 4)).equals(sn.pass_at_k(table, k=[1, 2, 3]))
    assert sn.pass_at_k(table, k=np.int64(2)).equals(sn.pass_at_k(table, k=2))


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        ((10, 12), "instance '2' has 12 right samples of 10 "),
        ((10, -1), "instance '2' has -1 right samples of 10 "),
        ((2**32, 1), "an instance has 4294967296 samples; at most 4294967295 can be counted"),
    ],
)
def test_counts_that_cannot_be(pair: tuple[int, int], message: str) -> None:
    table = pl.DataFrame({"run": "m", "task": "t", "item": [1, 2], "n": [4, pair[0]], "c": [1, pair[1]]})
    with pytest.raises(sn.SchemaError, match=message):
        sn.pass_at_k(table)


# --- command line --------------------------------------------------------------------------------------------------


def test_the_command_is_the_verb(tmp_path: Path) -> None:
    path = tmp_path / "samples.parquet"
    counts([(10, 3), (10, 0), (4, 4)], temperature=0.8).write_parquet(path)
    arguments = ["--k", "2,8", "--extrapolate", "--by", "task,temperature", "--n-resamples", "50", "--json"]
    found = CliRunner().invoke(main, ["passk", str(path), *arguments])
    assert found.exit_code == 0, found.output
    rows = json.loads(found.stdout)
    options: dict[str, Any] = {"extrapolate": True, "by": ("task", "temperature"), "n_resamples": 50}
    assert rows == sn.pass_at_k(path, k=[2, 8], **options).to_dicts()
    strict = CliRunner().invoke(main, ["passk", str(path), "--k", "8", "--by", "task", "--strict"])
    assert strict.exit_code == 1
    assert "too_few_samples" in strict.stderr


def test_every_keyword_is_an_option() -> None:
    command = main.get_command(click.Context(main), "passk")
    assert command is not None
    keywords = set(list(inspect.signature(sn.pass_at_k).parameters)[1:])
    assert keywords <= {option.name for option in command.params}


# --- dumps and published numbers -----------------------------------------------------------------------------------


def test_dumps_with_repeats(shared: Path) -> None:
    with pytest.warns(sn.DroppedRowsWarning):
        code = sn.pass_at_k(shared / "data" / "dumps" / "code_handmade", k=[1, 2, 4])
    known = code.filter(pl.col("step") == 12000)
    stored = pl.DataFrame(
        json.loads((shared / "data/dumps/code_handmade/bigcode/evaluation_results.json").read_text())[
            "humaneval"
        ]
    )
    for k in (1, 2, 4):
        if f"pass@{k}" in stored.columns:
            assert known.filter(k=k)["pass_at_k"].item() == pytest.approx(
                stored[f"pass@{k}"].item(), abs=1e-12
            )
    assert code.filter(pl.col("task") == "humaneval+", k=2)["status"].item() == "too_few_samples"
    with pytest.warns(sn.DroppedRowsWarning, match="length, quality were left out"):
        epochs = sn.pass_at_k(shared / "data" / "dumps" / "inspect_ai", k=[1, 3])
    assert epochs["n_samples_min"].unique().to_list() == [3]
    assert epochs["status"].unique().to_list() == ["ok"]


def test_published_cruxeval(shared: Path) -> None:
    outcomes = pl.read_parquet(shared / "data" / "cruxeval_samples.parquet")
    frame = outcomes.drop("outcomes")
    published = pl.read_parquet(shared / "data" / "cruxeval_published.parquet")
    by = ("task", "cot", "temperature")
    options: dict[str, Any] = {"k": [1, 5], "by": by, "n_resamples": 2}
    compat = sn.pass_at_k(frame, estimator="compat", **options)
    wide = compat.pivot("k", index=["run", *by, "n_items"], values="pass_at_k")
    both = published.join(wide, left_on=["model", *by, "n_items"], right_on=["run", *by, "n_items"])
    assert both.height == published.height == 134
    for k in (1, 5):
        assert (both[f"pass_at_{k}"] - 100 * both[f"{k}"]).abs().max() < 1e-10
    unbiased = sn.pass_at_k(frame, **options)
    enough = (unbiased["n_short"] == 0).to_numpy()
    assert enough.sum() == 256
    assert unbiased.filter(enough)["pass_at_k"].equals(compat.filter(enough)["pass_at_k"])
    assert unbiased.filter(~enough)["status"].unique().to_list() == ["too_few_samples"]
    part = outcomes.head(8000)
    assert sn.pass_at_k(part, **options).equals(sn.pass_at_k(part.drop("outcomes"), **options))
    oracle = json.loads((shared / "oracles" / "cruxeval_pass_at_k.json").read_text())["results"]
    found = {
        tuple(row[:4]): row[4]
        for row in compat.filter(k=1).select("run", "cot", "temperature", "task", "pass_at_k").rows()
    }
    for row in oracle:
        key = (row["model"], row["cot"], row["temperature"], row["task"])
        assert found[key] == pytest.approx(row["pass_at_k"]["1"], abs=1e-12)
