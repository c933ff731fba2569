"""Curves that bend, turn or break, and the floors of other fields."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np

from .._law import Floats, Law, Parameter, Starts
from ._starts import EXPONENTS, on_logs, separable

_X = {"x": "any amount: params, tokens, flops"}
_INVERSE = "McKenzie et al. 2023, arXiv 2306.09479"
_BROKEN = "Caballero et al. 2022, arXiv 2210.14891, equation 1"
_SHARES = (0.0, 0.5, 0.9)
_SHARPNESS = (0.1, 0.4)


def _broken(breaks: int) -> Starts:
    """Lines of logarithms with corners at some of the amounts, for a few constants; the best of all."""

    def starts(variables: Mapping[str, Floats], y: Floats) -> Floats:
        log_x = np.log(variables["x"])
        corners = np.quantile(log_x, np.linspace(0.15, 0.85, 8 if breaks == 1 else 6))
        lowest = max(float(np.min(y)), 0.0)
        found = []
        for share, at in itertools.product(_SHARES, itertools.combinations(np.unique(corners), breaks)):
            with np.errstate(all="ignore"):
                log_y = np.log(y - share * lowest)
            bends = [np.maximum(log_x - corner, 0.0) for corner in at]
            basis = np.stack([np.ones_like(log_x), log_x, *bends], axis=1)
            if not np.isfinite(log_y).all():
                continue
            line = np.linalg.lstsq(basis, log_y, rcond=None)[0]
            error = float(np.sum((basis @ line - log_y) ** 2))
            for sharp in _SHARPNESS:
                row = [share * lowest, float(np.exp(np.clip(line[0], -300, 300))), -line[1]]
                for corner, bend in zip(at, line[2:], strict=True):
                    row += [-bend, float(np.exp(corner)), sharp]
                found.append((error, row))
        found.sort(key=lambda one: one[0])
        return np.array([row for _, row in found[:16]]).reshape(-1, 3 + 3 * breaks)

    return starts


def _broken_law(breaks: int) -> Law:
    parts = "".join(
        f" * exp(-c_{i} * f_{i} * softplus((log(x) - log(d_{i})) / f_{i}))" for i in range(1, breaks + 1)
    )
    parameters = [
        Parameter("a", lower=0.0, meaning="limit"),
        Parameter("b", lower=0.0, transform="log", meaning="factor"),
        Parameter("c_0", lower=-10.0, upper=10.0, meaning="exponent before the first break"),
    ]
    for i in range(1, breaks + 1):
        parameters += [
            Parameter(f"c_{i}", lower=-20.0, upper=20.0, meaning=f"change of exponent at break {i}"),
            Parameter(f"d_{i}", lower=0.0, transform="log", meaning=f"amount at break {i}"),
            Parameter(f"f_{i}", lower=0.02, upper=5.0, meaning=f"width of break {i}, as logarithm"),
        ]
    return Law(
        name="broken_power_law" if breaks == 1 else f"broken_power_law_{breaks}",
        formula=f"a + b * x**-c_0{parts}",
        variables=_X,
        parameters=tuple(parameters),
        objective="lsq_log",
        starts=_broken(breaks),
        question="Does the trend break, turn or bend, and where?"
        if breaks == 1
        else "The same with two breaks (nine parameters: many points).",
        source=f"{_BROKEN}, {breaks} break{'s' * (breaks > 1)}: (1 + (x/d)^(1/f))^(-c f) as a softplus",
    )


LAWS = (
    Law(
        name="log_linear",
        formula="a + b * log(x)",
        variables=_X,
        parameters=(
            Parameter("a", (1.0,), meaning="value at x = 1"),
            Parameter("b", (0.0,), meaning="slope"),
        ),
        objective="lsq",
        question="A straight line on the logarithm of an amount: the null hypothesis of bends and turns.",
        source=f"{_INVERSE} (trend against ln compute)",
    ),
    Law(
        name="log_quadratic",
        formula="a + b * log(x) + c * log(x)**2",
        variables=_X,
        parameters=(
            Parameter("a", (1.0,), meaning="value at x = 1"),
            Parameter("b", (0.0,), meaning="slope at x = 1"),
            Parameter("c", (0.0,), meaning="curvature"),
        ),
        objective="lsq",
        question="Does a task turn with scale? Compare `aicc` with `log_linear` and `broken_power_law`.",
        source=f"{_INVERSE} (U-shaped scaling; the quadratic form is ours)",
    ),
    Law(
        name="u_shape",
        formula="height + curvature * (log(x) - log(vertex))**2",
        variables=_X,
        parameters=(
            Parameter("height", meaning="value at the vertex"),
            Parameter("curvature", meaning="above 0: a U; below: an inverted one"),
            Parameter("vertex", lower=0.0, transform="log", meaning="amount at which the trend turns"),
        ),
        objective="lsq",
        starts=separable(
            ("height", "curvature", "vertex"),
            {"vertex": lambda v, _: tuple(np.geomspace(v["x"].min() / 10, v["x"].max() * 10, 9))},
            lambda v, held: {
                "height": np.ones_like(v["x"]),
                "curvature": np.log(v["x"] / held["vertex"]) ** 2,
            },
            signed=("height", "curvature"),
        ),
        question="At which amount does the trend turn? `log_quadratic` with the vertex as a parameter.",
        source=f"{_INVERSE} (U-shaped scaling; the quadratic form is ours)",
    ),
    _broken_law(1),
    _broken_law(2),
    Law(
        name="generative",
        formula="L_inf + (x_0 / x)**alpha",
        variables={"x": "params, tokens, flops"},
        parameters=(
            Parameter("L_inf", lower=0.0, meaning="entropy of the data, nats"),
            Parameter("x_0", lower=0.0, transform="log", meaning="amount at which the reducible loss is 1"),
            Parameter("alpha", lower=1e-3, upper=10.0, meaning="exponent of the reducible loss"),
        ),
        starts=separable(
            ("L_inf", "x_0", "alpha"),
            {"alpha": EXPONENTS},
            lambda v, held: {"L_inf": np.ones_like(v["x"]), "x_0": v["x"] ** -held["alpha"]},
            made=lambda row: row | {"x_0": min(float(row["x_0"]) ** (1 / row["alpha"]), 1e200)},
        ),
        question="What is the entropy of images, video or text, and how far (KL) is a model from it?",
        source="Henighan et al. 2020, arXiv 2010.14701, equation 1.1",
    ),
    Law(
        name="pareto_error",
        formula="E + A * (flops + B)**-alpha",
        variables={"flops": "training compute"},
        parameters=(
            Parameter("A", lower=0.0, transform="log", meaning="gain by compute"),
            Parameter("B", lower=0.0, transform="log", meaning="compute below which little is learnt"),
            Parameter("alpha", lower=0.0, upper=5.0, meaning="exponent of compute"),
            Parameter("E", lower=0.0, meaning="irreducible error"),
        ),
        y="error",
        objective="lsq",
        starts=separable(
            ("A", "B", "alpha", "E"),
            {
                "B": lambda v, _: tuple(float(v["flops"].min()) * share for share in (1e-3, 0.3, 3.0, 30.0)),
                "alpha": EXPONENTS,
            },
            lambda v, held: {
                "E": np.ones_like(v["flops"]),
                "A": (v["flops"] + held["B"]) ** -held["alpha"],
            },
        ),
        question="What error lies on the frontier of compute; which of two procedures is better there (`crossover`)?",
        source="Nezhurina et al. 2025, arXiv 2506.04598, equation 1 (saturation at both ends)",
    ),
    Law(
        name="pareto_error_pure",
        formula="A * (flops + B)**-alpha",
        variables={"flops": "training compute"},
        parameters=(
            Parameter("A", lower=0.0, transform="log", meaning="gain by compute"),
            Parameter("B", lower=0.0, transform="log", meaning="compute below which little is learnt"),
            Parameter("alpha", lower=0.0, upper=5.0, meaning="exponent of compute"),
        ),
        y="error",
        objective="lsq",
        starts=separable(
            ("A", "B", "alpha"),
            {
                "B": lambda v, _: tuple(float(v["flops"].min()) * share for share in (1e-3, 0.3, 3.0, 30.0)),
                "alpha": EXPONENTS,
            },
            lambda v, held: {"A": (v["flops"] + held["B"]) ** -held["alpha"]},
        ),
        question="The same with nothing irreducible.",
        source="Nezhurina et al. 2025, arXiv 2506.04598, released code (saturation)",
    ),
    Law(
        name="uncertainty",
        formula="c * x**-gamma",
        variables={"x": "training examples"},
        parameters=(
            Parameter("c", lower=0.0, transform="log", meaning="uncertainty at one example"),
            Parameter(
                "gamma", meaning="exponent; 1 for epistemic uncertainty of identifiable Bayesian models"
            ),
        ),
        y="uncertainty",
        objective="lsq_log",
        starts=on_logs(("c", "gamma"), "c", {"x": "gamma"}, falls=("gamma",)),
        question="How fast does predictive uncertainty (total, aleatoric, epistemic) fall with data?",
        source="arXiv 2506.09648 (line of logarithms for each measure)",
    ),
    Law(
        name="cluster_accuracy",
        formula="g + (1 - g) * exp(-a * flops**-b - c)",
        variables={"flops": "training compute"},
        parameters=(
            Parameter("g", lower=0.0, upper=0.999, meaning="guess rate; hold it where it is known"),
            Parameter("a", lower=0.0, transform="log", meaning="what compute wins"),
            Parameter("b", lower=0.0, upper=5.0, meaning="exponent of compute"),
            Parameter("c", lower=0.0, meaning="what no compute wins"),
        ),
        y="accuracy",
        objective="lsq",
        starts=separable(
            ("g", "a", "b", "c"),
            {
                "g": lambda _, y: tuple(max(float(np.min(y)), 0.0) * share for share in (0.0, 0.5, 0.9)),
                "b": (0.05, 0.1, 0.2, 0.35, 0.6, 1.0),
            },
            lambda v, held: {"a": v["flops"] ** -held["b"], "c": np.ones_like(v["flops"])},
            observed=lambda y, _, held: -np.log(np.clip((y - held["g"]) / (1 - held["g"]), 1e-9, 1 - 1e-9)),
        ),
        question="What pass rate has a cluster of instances of like difficulty at more compute?",
        source="Xu et al. 2025, arXiv 2502.17262 (equation unverified)",
    ),
)
