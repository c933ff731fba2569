"""Adjusted p-values against statsmodels and known values."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from signoise._adjust import adjusted
from signoise._errors import OptionError, ShapeError

THEIRS = {"bonferroni": "bonferroni", "holm": "holm", "bh": "fdr_bh", "by": "fdr_by"}
probabilities = st.lists(st.one_of(st.floats(0, 1), st.sampled_from([0.0, 0.01, 0.05, 1.0])), max_size=30)


def test_known_values() -> None:
    p = np.array([0.01, 0.04, 0.03, 0.005])
    order = np.argsort(p)
    np.testing.assert_allclose(adjusted(p, "holm")[order], [0.02, 0.03, 0.06, 0.06], rtol=1e-12)
    np.testing.assert_allclose(adjusted(p, "bh")[order], [0.02, 0.02, 0.04, 0.04], rtol=1e-12)
    np.testing.assert_allclose(adjusted(p, "bonferroni"), 4 * p, rtol=1e-12)
    np.testing.assert_array_equal(adjusted(p, "none"), p)


@pytest.mark.parametrize("method", THEIRS)
@given(p=probabilities.filter(len))
def test_equals_statsmodels(method: str, p: list[float]) -> None:
    expected = multipletests(p, method=THEIRS[method])[1]
    np.testing.assert_allclose(adjusted(np.array(p), method), expected, rtol=1e-12)  # type: ignore[arg-type]


@pytest.mark.parametrize("method", [*THEIRS, "none"])
@given(p=probabilities)
def test_undefined_tests_pass_through_and_order_does_not_matter(method: str, p: list[float]) -> None:
    plain = adjusted(np.array(p), method)  # type: ignore[arg-type]
    mixed = adjusted(np.array([np.nan, *p[::-1], np.nan]), method)  # type: ignore[arg-type]
    assert np.isnan(mixed[[0, -1]]).all()
    np.testing.assert_array_equal(mixed[1:-1][::-1], plain)
    assert (plain >= np.array(p)).all()


def test_families_are_adjusted_apart() -> None:
    p = np.array([0.01, 0.02, 0.03, 0.04, np.nan])
    family = np.array([7, 3, 7, 3, 3])
    np.testing.assert_allclose(adjusted(p, "bonferroni", family), [0.02, 0.04, 0.06, 0.08, np.nan])


def test_impossible_input_is_refused() -> None:
    with pytest.raises(OptionError, match="between 0 and 1"):
        adjusted(np.array([1.5]))
    with pytest.raises(OptionError, match="method must be one of"):
        adjusted(np.array([0.5]), "holms")  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match="family has 1 values"):
        adjusted(np.array([0.5, 0.5]), family=np.array([1]))
