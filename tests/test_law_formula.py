"""Formulas: what they may hold, what they become, and that nothing changes their value on the way."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import signoise as sn
import signoise._core as core
from signoise import Law, Parameter
from signoise._errors import OptionError
from signoise._laws._formula import parse
from signoise._laws._law import registry

NAMES = {"exp": np.exp, "log": np.log, "sqrt": np.sqrt, "tanh": np.tanh, "maximum": np.maximum}
NAMES |= {"sigmoid": lambda x: 1 / (1 + np.exp(-x)), "softplus": lambda x: np.log1p(np.exp(x))}


def value(
    formula: str, x: np.ndarray, a: float, b: float, transforms: tuple[str, str] = ("", "")
) -> np.ndarray:
    program = parse(formula, ("x",), ("a", "b"), transforms)
    return core.law_values(program.steps, program.data({"x": x}, len(x)), np.array([[a, b]]))[0]


LEAVES = st.sampled_from(["x", "a", "b", "2", "0.5", "1", "3"])
EXPRESSIONS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from("+-*/"), inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
        st.tuples(inner, st.sampled_from(["2", "0.5", "-1", "a", "-b"])).map(lambda t: f"({t[0]})**({t[1]})"),
        st.tuples(st.sampled_from(["exp", "log", "sqrt", "sigmoid", "softplus", "tanh"]), inner).map(
            lambda t: f"{t[0]}({t[1]})"
        ),
        st.tuples(inner, inner).map(lambda t: f"maximum({t[0]}, {t[1]})"),
        inner.map(lambda e: f"(-{e})"),
    ),
    max_leaves=8,
)


@given(EXPRESSIONS)
@settings(max_examples=300, deadline=None)
def test_value_is_that_of_the_expression(expression: str) -> None:
    formula = f"{expression} + 0.1 * a + 0.1 * b"
    x = np.array([0.3, 0.9, 1.7, 2.4])
    a, b = 0.7, 1.3
    with np.errstate(all="ignore"):
        expected = eval(formula, {"__builtins__": {}}, NAMES | {"x": x, "a": a, "b": b})
    expected = np.broadcast_to(np.asarray(expected, dtype=complex).real, 4)
    with np.errstate(all="ignore"):
        found = value(formula, x, a, b)
    # Where the plain order of operations overflows or loses the sign of a base, nothing is promised.
    sound = np.isfinite(expected) & np.isfinite(found) & (np.abs(expected) < 1e12)
    np.testing.assert_allclose(found[sound], expected[sound], rtol=1e-6, atol=1e-6)


def test_products_of_powers_are_one_exponential() -> None:
    law = registry()["chinchilla"]
    ops = law.program.steps[0].tolist()
    assert ops.count(11) == 3  # a term each, and E
    assert len(law.program.columns) == 2  # log params, log tokens
    huge = value("a * x**-b", np.array([1e300]), 700.0, 1.0, ("log", ""))
    np.testing.assert_allclose(np.log(huge), 700 - 300 * math.log(10), rtol=1e-12)


@pytest.mark.parametrize(
    ("formula", "linear"),
    [
        ("a + b * x", [True, True]),
        ("a * x**-b", [True, False]),
        ("a * b * x", [False, False]),
        ("a / x - b", [True, True]),
        ("x / a + b", [False, True]),
        ("exp(a) * x + b", [False, True]),
        ("a * x + a * b", [False, False]),
    ],
)
def test_linear_parameters_are_seen(formula: str, linear: list[bool]) -> None:
    assert parse(formula, ("x",), ("a", "b"), ("", "")).linear.tolist() == linear


@pytest.mark.parametrize(
    ("formula", "message"),
    [
        ("a + b *", "cannot be read"),
        ("a + b + c", "unknown name 'c'; known: x, a, b"),
        ("a + b + x.y", "holds 'x.y'"),
        ("a + b + __import__('os')", "holds"),
        ("a + b + sin(x)", r"holds 'sin\(x\)'"),
        ("a + b + exp(x, x)", r"exp takes 1 argument\(s\), got 2"),
        ("a + b if x else a", "holds"),
        ("a + True * b", "holds 'True'"),
        ("a + x", "does not use the parameter 'b'"),
    ],
)
def test_formulas_that_are_refused(formula: str, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        parse(formula, ("x",), ("a", "b"), ("", ""))


def test_a_law_of_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    # Known for the length of this test.
    monkeypatch.setattr("signoise._laws._law._REGISTRY", dict(registry()))
    law = Law(
        name="two_lines",
        formula="maximum(a - b * log(flops), floor)",
        variables={"flops": "FLOPs"},
        parameters=(
            Parameter("a", (5.0, 20.0)),
            Parameter("b", (0.1, 0.5), lower=0.0),
            Parameter("floor", (0.5, 1.0, 2.0)),
        ),
        objective="lsq",
    )
    sn.register_law(law, replace=True)
    with pytest.raises(OptionError, match="exists already"):
        sn.register_law(law)
    flops = np.geomspace(1e18, 1e24, 30)
    y = np.maximum(20 - 0.35 * np.log(flops), 1.5)
    fit = sn.fit_scaling_law(pl.DataFrame({"flops": flops, "y": y}), "two_lines", y="y", interval="none")
    np.testing.assert_allclose(fit["estimate"].to_numpy(), [20, 0.35, 1.5], rtol=1e-6)
    assert "two_lines" in sn.laws()["law"].to_list()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"objective": "cubic"}, "objective 'cubic' is not one of"),
        ({"parameters": (Parameter("a", (1.0,)), Parameter("b"))}, "parameter 'b' has no starts"),
        ({"parameters": (Parameter("a", (1.0,)), Parameter("a", (1.0,)))}, "names 'a' twice"),
    ],
)
def test_laws_that_are_refused(change: dict[str, object], message: str) -> None:
    parts: dict[str, object] = {
        "name": "bad",
        "formula": "a + b * x",
        "variables": {"x": ""},
        "parameters": (Parameter("a", (1.0,)), Parameter("b", (1.0,))),
    }
    with pytest.raises(OptionError, match=message):
        Law(**(parts | change))  # type: ignore[arg-type]


def test_unknown_laws_and_bounds_are_named() -> None:
    with pytest.raises(OptionError, match="did you mean 'chinchilla'"):
        sn.fit_scaling_law(sn.example_scores(), "chinchila")
    with pytest.raises(OptionError, match="no parameter 'alfa'; did you mean 'alpha'"):
        sn.fit_scaling_law(sn.example_scores(), bounds={"alfa": (0, 1)})
    with pytest.raises(OptionError, match="the first must be the lower one"):
        sn.fit_scaling_law(sn.example_scores(), bounds={"alpha": (1, 0)})
