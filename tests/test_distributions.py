"""Distributions against SciPy, published tables and their own identities."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats

import signoise._core as core
from signoise import reference
from signoise._errors import ShapeError

PROBABILITIES = [1e-12, 1e-6, 0.0005, 0.005, 0.025, 0.1, 0.3, 0.5, 0.7, 0.9, 0.975, 0.995, 0.9995, 1 - 1e-6]
DF = [0.3, 0.5, 1, 1.5, 2, 3.7, 5, 10.2, 30, 100.5, 1e3, 1e4, 1e5]
POINTS = [-30, -8, -3, -1, -1e-5, 0, 0.01, 0.5, 2, 4, 10, 1e5]


def grid(*axes: list[float]) -> list[np.ndarray]:
    return [np.array(column, dtype=float) for column in zip(*itertools.product(*axes), strict=True)]


def one(function: object, *arguments: float) -> float:
    return float(function(*(np.array([float(x)]) for x in arguments))[0])  # type: ignore[operator]


#: SciPy before 1.17 is wrong by orders of magnitude far out in the tails of t and F.
sound_tails = pytest.mark.skipif(
    tuple(int(part) for part in scipy.__version__.split(".")[:2]) < (1, 17),
    reason="needs SciPy 1.17 as oracle",
)


def test_normal_equals_scipy() -> None:
    x, p = np.array(POINTS, dtype=float), np.array([*PROBABILITIES, 1e-300, 1e-17, 0.5 - 1e-9])
    np.testing.assert_allclose(core.normal_cdf(x), stats.norm.cdf(x), rtol=1e-13)
    np.testing.assert_allclose(core.normal_quantile(p), stats.norm.ppf(p), rtol=1e-14)
    assert one(core.normal_quantile, 0.5) == 0.0


@sound_tails
def test_t_equals_scipy() -> None:
    x, df = grid(POINTS, [*DF, np.inf])
    np.testing.assert_allclose(core.t_cdf(x, df), stats.t.cdf(x, df), rtol=1e-10)
    p, df = grid(PROBABILITIES, [*DF, np.inf])
    np.testing.assert_allclose(core.t_quantile(p, df), stats.t.ppf(p, df), rtol=1e-10)


def test_chi_square_equals_scipy() -> None:
    p, df = grid(PROBABILITIES, DF)
    np.testing.assert_allclose(core.chi2_quantile(p, df), stats.chi2.ppf(p, df), rtol=1e-10)


@sound_tails
def test_f_equals_scipy() -> None:
    p, df1, df2 = grid(PROBABILITIES, DF, DF)
    np.testing.assert_allclose(core.f_quantile(p, df1, df2), stats.f.ppf(p, df1, df2), rtol=1e-10)


def test_f_with_infinite_df_is_chi_square() -> None:
    p, df = grid(PROBABILITIES, DF)
    infinite = np.full_like(df, np.inf)
    np.testing.assert_allclose(core.f_quantile(p, df, infinite), stats.chi2.ppf(p, df) / df, rtol=1e-10)
    np.testing.assert_allclose(core.f_quantile(p, infinite, df), df / stats.chi2.isf(p, df), rtol=1e-10)
    np.testing.assert_array_equal(core.f_quantile(p, infinite, infinite), 1.0)


SHAPES = [0.1, 0.5, 1, 1.5, 8.5, 83, 1e3, 1e5]


def test_beta_equals_scipy() -> None:
    p, a, b = grid(PROBABILITIES, SHAPES, SHAPES)
    np.testing.assert_allclose(core.beta_quantile(p, a, b), special.betaincinv(a, b, p), rtol=1e-10)
    x, a, b = grid([1e-30, 1e-6, 0.01, 0.3, 0.5, 0.9, 1 - 1e-9], SHAPES, SHAPES)
    np.testing.assert_allclose(core.beta_cdf(x, a, b), special.betainc(a, b, x), rtol=1e-10, atol=1e-300)


@given(st.integers(0, 2000), st.integers(1, 2000), st.floats(0.01, 0.99))
def test_beta_probabilities_are_binomial_tails(k: int, more: int, p: float) -> None:
    expected = stats.binom.cdf(k, k + more, p)
    found = one(core.beta_cdf, 1 - p, more, k + 1)
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-250)


def test_large_df_approach_infinite_df() -> None:
    # SciPy loses digits here; the distance from the limit must shrink like 1 / df instead.
    limit = one(core.f_quantile, 0.995, 30, np.inf)
    distances = [(one(core.f_quantile, 0.995, 30, df) - limit) * df for df in (1e6, 1e8, 1e10)]
    np.testing.assert_allclose(distances, distances[0], rtol=1e-5)
    for df in (1e12, 1e15):
        assert one(core.t_quantile, 0.975, df) == pytest.approx(
            one(core.t_quantile, 0.975, np.inf), rel=1e-11
        )


@pytest.mark.parametrize("df", [1e6, 1e9])
def test_chi_square_of_large_df_has_the_right_probability(df: float) -> None:
    for p in (0.0005, 0.3, 0.975):
        x = one(core.chi2_quantile, p, df)
        # Wilson and Hilferty's cube root, whose error is of order 1 / df
        z = ((x / df) ** (1 / 3) - (1 - 2 / (9 * df))) / np.sqrt(2 / (9 * df))
        assert stats.norm.cdf(z) == pytest.approx(p, rel=1e-5)


@pytest.mark.parametrize("members", [2, 8, 200])
@pytest.mark.parametrize("df", [1, 10.5, 1000])
def test_studentised_range_equals_scipy(members: int, df: float) -> None:
    # SciPy takes seconds for a few quantiles; finer grids stand against quadrature below.
    p = np.array([0.0005, 0.5, 0.975])
    q = core.studentised_range_quantile(p, np.full(3, float(members)), np.full(3, float(df)))
    np.testing.assert_allclose(q, stats.studentized_range.ppf(p, members, df), rtol=1e-8)
    found = core.studentised_range_cdf(q, np.full(3, float(members)), np.full(3, float(df)))
    np.testing.assert_allclose(found, p, rtol=1e-11)


@pytest.mark.parametrize("members", [2, 3, 5, 10, 50, 200])
def test_studentised_range_with_known_sd_equals_scipy(members: int) -> None:
    p = np.array([0.0005, 0.025, 0.5, 0.975, 0.9995])
    q = core.studentised_range_quantile(p, np.full(5, float(members)), np.full(5, np.inf))
    np.testing.assert_allclose(q, stats.studentized_range.ppf(p, members, np.inf), rtol=1e-9)


@pytest.mark.parametrize("members", [2, 4, 25, 200])
@pytest.mark.parametrize("df", [1.0, 4.5, 300.0, 1e5, 1e8])
def test_studentised_range_has_the_probability_of_fine_quadrature(members: int, df: float) -> None:
    # SciPy takes df >= 1e5 for infinite, which is wrong by 1e-5 there; the twin's panels are the oracle.
    p = np.array([0.0005, 0.5, 0.9995])
    parameters = np.full(3, float(members)), np.full(3, df)
    q = core.studentised_range_quantile(p, *parameters)
    np.testing.assert_allclose(reference.studentised_range_cdf(q, *parameters), p, rtol=1e-10, atol=3e-13)


def test_studentised_range_of_two_is_a_t_distribution() -> None:
    p, df = grid([0.0005, 0.025, 0.5, 0.975, 0.9995], [1, 1.5, 7, 300, 1e4, 1e5, np.inf])
    expected = np.sqrt(2) * stats.t.ppf((1 + p) / 2, df)
    np.testing.assert_allclose(
        core.studentised_range_quantile(p, np.full_like(p, 2.0), df), expected, rtol=1e-8
    )


@pytest.mark.parametrize(
    ("members", "df", "expected"),
    [(3, 10, 3.877), (5, 20, 4.232), (10, 5, 6.995), (20, 120, 5.13), (4, np.inf, 3.633), (3, 2, 8.331)],
)
def test_studentised_range_equals_printed_table(members: int, df: float, expected: float) -> None:
    """Upper 5 % points as printed in textbooks."""
    assert one(core.studentised_range_quantile, 0.95, members, df) == pytest.approx(expected, abs=6e-3)


@given(
    st.floats(0.0005, 0.9995),
    st.integers(2, 200),
    st.one_of(st.floats(0.5, 1e6), st.just(np.inf)),
)
def test_studentised_range_quantile_inverts_the_cdf(p: float, members: int, df: float) -> None:
    q = one(core.studentised_range_quantile, p, members, df)
    assert one(core.studentised_range_cdf, q, members, df) == pytest.approx(p, rel=1e-9)


@given(st.floats(1e-9, 1 - 1e-9), st.floats(0.2, 1e6), st.floats(0.2, 1e6))
def test_f_reverses_with_its_degrees_of_freedom(p: float, df1: float, df2: float) -> None:
    q = 1 - p
    expected = 1 / one(core.f_quantile, q, df2, df1)
    assert one(core.f_quantile, 1 - q, df1, df2) == pytest.approx(expected, rel=1e-10)


@given(st.floats(1e-9, 1 - 1e-9), st.floats(0.2, 1e9))
def test_t_quantile_inverts_the_cdf(p: float, df: float) -> None:
    assert one(core.t_cdf, one(core.t_quantile, p, df), df) == pytest.approx(p, rel=1e-11)


def test_repeated_rows_get_the_bits_of_a_single_row() -> None:
    rng = np.random.default_rng(3)
    rows = rng.integers(0, 4, 200)
    p = np.array([0.025, 0.975, 0.5, 0.025])[rows]
    members = np.array([5.0, 5.0, 25.0, 5.0])[rows]
    df = np.array([12.0, 12.0, np.inf, 60.5])[rows]
    together = core.studentised_range_quantile(p, members, df)
    alone = [one(core.studentised_range_quantile, *row) for row in zip(p, members, df, strict=True)]
    np.testing.assert_array_equal(together, alone)


def test_ends_of_the_unit_interval() -> None:
    ends = np.array([0.0, 1.0])
    np.testing.assert_array_equal(core.normal_quantile(ends), [-np.inf, np.inf])
    np.testing.assert_array_equal(core.t_quantile(ends, np.full(2, 3.0)), [-np.inf, np.inf])
    np.testing.assert_array_equal(core.chi2_quantile(ends, np.full(2, 3.0)), [0.0, np.inf])
    np.testing.assert_array_equal(core.f_quantile(ends, np.full(2, 3.0), np.full(2, np.inf)), [0.0, np.inf])
    np.testing.assert_array_equal(core.beta_quantile(ends, np.full(2, 3.0), np.full(2, 0.5)), ends)
    np.testing.assert_array_equal(
        core.beta_cdf(np.array([-1.0, 0, 1, 2]), np.full(4, 3.0), np.ones(4)), [0, 0, 1, 1]
    )
    np.testing.assert_array_equal(
        core.studentised_range_quantile(ends, np.full(2, 3.0), np.full(2, 4.0)), [0, np.inf]
    )
    values = core.studentised_range_cdf(np.array([-1.0, 0.0, np.inf]), np.full(3, 3.0), np.full(3, 4.0))
    np.testing.assert_array_equal(values, [0.0, 0.0, 1.0])
    np.testing.assert_array_equal(core.t_cdf(np.array([-np.inf, np.inf]), np.full(2, 2.0)), [0.0, 1.0])


@pytest.mark.parametrize("module", [core, reference], ids=["kernel", "twin"])
def test_impossible_parameters_are_undefined(module: object) -> None:
    bad = {
        "normal_quantile": [(-0.1,), (1.1,), (np.nan,)],
        "t_cdf": [(1, 0), (1, -1), (np.nan, 1), (1, np.nan)],
        "t_quantile": [(2, 1), (0.5, 0), (0.5, np.nan)],
        "chi2_quantile": [(2, 1), (0.5, 0), (0.5, np.inf)],
        "f_quantile": [(2, 1, 1), (0.5, 0, 1), (0.5, 1, -1), (0.5, np.nan, 1)],
        "beta_cdf": [(0.5, 0, 1), (0.5, 1, np.inf), (np.nan, 1, 1)],
        "beta_quantile": [(2, 1, 1), (0.5, 0, 1), (0.5, 1, -1), (0.5, np.inf, 1)],
        "studentised_range_cdf": [
            (1, 1, 5),
            (1, 2.5, 5),
            (1, 3, 0),
            (1, np.inf, 5),
            (np.nan, 3, 5),
            (1, 3, np.nan),
        ],
        "studentised_range_quantile": [(0.5, 1, 5), (0.5, 2.5, 5), (0.5, 3, 0), (1.5, 3, 5), (np.nan, 3, 5)],
    }
    for name, rows in bad.items():
        for row in rows:
            assert np.isnan(one(getattr(module, name), *row)), (name, row)
    for n, rho in [(1, 0.1), (2.5, 0.1), (5, -0.1), (5, 1.0), (np.nan, 0.1), (5, np.nan)]:
        factors = module.autocorrelation_factors(np.array([float(n)]), np.array([float(rho)]))  # type: ignore[attr-defined]
        assert np.isnan([factors["f"], factors["nu"]]).all()


def test_unequal_lengths_are_refused() -> None:
    for module in (core, reference):
        with pytest.raises(ShapeError, match="df has 1 values, expected 2"):
            module.t_quantile(np.array([0.1, 0.2]), np.array([3.0]))
        with pytest.raises(ShapeError):
            module.studentised_range_quantile(np.array([0.1]), np.array([3.0, 4.0]), np.array([3.0]))


def test_no_autocorrelation_changes_nothing() -> None:
    n = np.arange(2.0, 200.0)
    factors = core.autocorrelation_factors(n, np.zeros_like(n))
    np.testing.assert_array_equal(factors["f"], 1.0)
    np.testing.assert_array_equal(factors["nu"], n - 1)


def test_autocorrelation_factors_are_the_moments_of_the_variance() -> None:
    # The eigenvalues of CR are the weights of the chi-squares that make up (n - 1) s^2.
    n, rho = grid([2, 3, 5, 30, 400], [1e-6, 0.3, 0.5, 0.95])
    factors = core.autocorrelation_factors(n, rho)
    for f, nu, count, r in zip(factors["f"], factors["nu"], n, rho, strict=True):
        index = np.arange(int(count))
        centre = np.eye(len(index)) - 1 / count
        weights = np.linalg.eigvalsh(centre @ r ** np.abs(index[:, None] - index) @ centre)
        assert f == pytest.approx(weights.sum() / (count - 1), rel=1e-11)
        assert nu == pytest.approx(weights.sum() ** 2 / (weights**2).sum(), rel=1e-11)


def test_two_values_have_one_degree_of_freedom_at_any_autocorrelation() -> None:
    rho = np.array([0.1, 0.5, 0.9])
    factors = core.autocorrelation_factors(np.full(3, 2.0), rho)
    np.testing.assert_allclose(factors["f"], 1 - rho, rtol=1e-13)
    np.testing.assert_allclose(factors["nu"], 1.0, rtol=1e-11)
