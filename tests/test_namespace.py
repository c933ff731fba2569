"""``df.signoise``: verbs as methods of Polars frames."""

from __future__ import annotations

import subprocess
import sys

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import signoise as sn


def test_a_method_is_the_verb() -> None:
    scores = sn.example_scores()
    assert_frame_equal(scores.signoise.snr(by=("task",)), sn.snr(scores, by=("task",)))  # type: ignore[attr-defined]
    assert_frame_equal(scores.lazy().signoise.noise(), sn.noise(scores))  # type: ignore[attr-defined]
    assert scores.signoise.snr.__doc__ == sn.snr.__doc__  # type: ignore[attr-defined]


def test_verbs_that_take_a_frame_are_offered() -> None:
    names = dir(pl.DataFrame().signoise)  # type: ignore[attr-defined]
    assert {"snr", "report", "advise", "aggregate", "correlate"} <= set(names)
    assert not {"simulate", "open_store", "Law", "SchemaError", "example_scores"} & set(names)


def test_an_unknown_verb_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="is called 'snrr'; did you mean 'snr'"):
        sn.example_scores().signoise.snrr  # type: ignore[attr-defined]  # noqa: B018
    assert not hasattr(pl.DataFrame().signoise, "simulate")  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "imports", ["import polars as pl, signoise", "import signoise, polars as pl; signoise.snr"]
)
def test_whichever_comes_first(imports: str) -> None:
    code = f"{imports}; print(pl.DataFrame().signoise.snr.func.__name__)"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        == "snr\n"
    )
