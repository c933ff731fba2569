"""The benchmark checks answers before it times them, on whatever scores it is given."""

from __future__ import annotations

import inspect

import polars as pl
import pytest

import signoise as sn
from signoise import _bench, _core, reference
from signoise._bench import bench, difference_between

VERBS = (
    "aggregate",
    "average_checkpoints",
    "decision_accuracy",
    "noise",
    "roll_up",
    "signal",
    "smoothness",
    "snr",
)
COLUMNS = ["what", "n_rows", "n_groups", "compiled_s", "twin_s", "ratio", "same_answer", "threads", "profile"]

pytestmark = pytest.mark.skipif(_core.BUILD_PROFILE == "debug", reason="a debug build is not timed")


@pytest.fixture(scope="module")
def timed() -> pl.DataFrame:
    return bench(sn.example_scores(), repeats=1, threads=2)


def test_every_verb_gives_the_answer_of_its_twin(timed: pl.DataFrame) -> None:
    assert timed.columns == COLUMNS
    assert sorted(timed["what"]) == list(VERBS)
    assert timed["same_answer"].all()
    assert timed["n_rows"].to_list() == [864] * len(VERBS)
    assert dict(timed.select("what", "n_groups").iter_rows())["snr"] == 6
    assert set(timed["threads"]) == {2}
    assert set(timed["profile"]) == {_core.BUILD_PROFILE}


def test_times_are_positive_and_make_the_ratio(timed: pl.DataFrame) -> None:
    assert (timed["compiled_s"] > 0).all()
    assert ((timed["twin_s"] / timed["compiled_s"] - timed["ratio"]).abs() < 1e-9).all()


@pytest.mark.parametrize("name", VERBS)
def test_reference_verbs_have_the_public_signature(name: str) -> None:
    assert inspect.signature(getattr(reference, name)) == inspect.signature(getattr(sn, name))
    assert getattr(reference, name).__doc__ == getattr(sn, name).__doc__
    assert name in dir(reference)


def test_reference_verbs_run_without_compiled_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> object:
        raise AssertionError("a twin called the compiled core")

    monkeypatch.setattr("signoise._kernels._compiled", refuse)
    assert reference.snr(sn.example_scores()).height == 6
    with pytest.raises(AssertionError, match="compiled core"):
        sn.snr(sn.example_scores())


def test_scores_without_two_sides_say_so() -> None:
    one = sn.example_scores().filter(params=150_000_000, step=12_000).drop("tokens")
    table = bench(one, repeats=1)
    row = table.filter(pl.col("what").str.starts_with("decision_accuracy")).row(0, named=True)
    assert "two sizes that share recipes" in row["what"]
    assert row["same_answer"] is None
    assert table.height == len(VERBS)


def test_scores_that_a_verb_refuses_say_so() -> None:
    scores = sn.example_scores()
    clash = pl.concat([scores, scores.head(1).with_columns(pl.col("value") + 1)])
    table = bench(clash, repeats=1)
    assert "snr (not run: 1 keys carry different values" in table["what"][0]
    assert table["what"].str.contains("average_checkpoints .not run: 1 keys").any()


def test_stages_of_training_make_sides() -> None:
    table = bench(sn.simulate(tasks=1, recipes=4, params=1e9, checkpoints=6)[0], repeats=1)
    assert table["same_answer"].all()


def test_a_wrong_answer_is_no_benchmark(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        reference, "snr", lambda *a, **k: sn.snr(*a, **k).with_columns(pl.col("mean") * 1.001), raising=False
    )
    with pytest.raises(sn.InternalError, match=r"snr: .* disagree in 'mean', 6 rows, first in row 0"):
        bench(sn.example_scores(), repeats=1)


def test_a_debug_build_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_bench._core, "BUILD_PROFILE", "debug")
    with pytest.raises(sn.OptionError, match="maturin develop --release"):
        bench(sn.example_scores())


@pytest.mark.parametrize("options", [{"repeats": 0}, {"threads": 0}])
def test_counts_are_checked(options: dict[str, int]) -> None:
    with pytest.raises(sn.OptionError, match="at least 1"):
        bench(sn.example_scores(), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("found", "expected", "same"),
    [
        ([1.0, None], [1.0 + 1e-10, None], True),
        ([1.0, None], [1.0 + 1e-8, None], False),
        ([1.0, None], [1.0, 0.0], False),
        ([float("inf")], [float("inf")], True),
        ([1, 2], [1, 3], False),
        (["a", None], ["a", None], True),
        ([["x"], []], [["x"], []], True),
        ([["x"], []], [["x"], ["y"]], False),
    ],
)
def test_differences_are_found(found: list[object], expected: list[object], same: bool) -> None:
    difference = difference_between(pl.DataFrame({"a": found}), pl.DataFrame({"a": expected}))
    assert (difference is None) == same
