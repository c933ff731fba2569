"""What SciPy finds for a scaling law from the same starts: the peer of fits in tests and studies.

The formula is evaluated by NumPy as it is written, its derivatives by complex steps (exact to rounding), so nothing is
shared with the kernels but starts and bounds.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from signoise._laws._fit import inner
from signoise._laws._law import Law, Objective

Floats = NDArray[np.float64]
Numbers = NDArray[Any]

_STEP = 1e-100
_HUGE = 1e250


def _sigmoid(x: Numbers) -> Numbers:
    return 1 / (1 + np.exp(-x))


def _softplus(x: Numbers) -> Numbers:
    return np.where(x.real > 0, x, 0) + np.log(1 + np.exp(np.where(x.real > 0, -x, x)))


FUNCTIONS = {
    "exp": np.exp,
    "log": np.log,
    "sqrt": np.sqrt,
    "tanh": np.tanh,
    "sigmoid": _sigmoid,
    "softplus": _softplus,
    "maximum": lambda a, b: np.where(np.real(a) >= np.real(b), a, b),
}
TRANSFORMS = {"": lambda x: x, "log": np.exp, "logit": _sigmoid, "softplus": _softplus}


class Problem:
    """A law, its data and what is minimised."""

    def __init__(
        self,
        law: Law,
        variables: Mapping[str, Floats],
        y: Floats,
        objective: Objective | None = None,
        delta: float | None = None,
    ) -> None:
        self.law, self.variables, self.y = law, dict(variables), y
        self.objective = objective or law.objective
        self.delta = law.delta if delta is None else delta
        self.code = compile(law.formula, law.name, "eval")

    def values(self, fitted: Numbers) -> Numbers:
        """Values of the law; `fitted` stands in the place of the parameters, as in the kernels."""
        outer = {p.name: TRANSFORMS[p.transform](x) for p, x in zip(self.law.parameters, fitted, strict=True)}
        return eval(self.code, {"__builtins__": {}}, FUNCTIONS | self.variables | outer)

    def residuals(self, fitted: Numbers) -> Numbers:
        """Fitted minus observed, of logarithms where the objective takes them."""
        values = self.values(fitted)
        if not self.objective.endswith("_log"):
            return values - self.y
        return np.where(np.real(values) > 0, np.log(values), np.nan) - np.log(self.y)

    def jacobian(self, fitted: Floats) -> Floats:
        """Derivatives of the residuals, of all parameters in one evaluation."""
        steps = fitted + 1j * _STEP * np.eye(len(fitted))
        found: Floats = np.broadcast_to(self.residuals(steps.T[:, :, None]), (len(fitted), len(self.y)))
        return found.imag.T / _STEP

    def sum(self, fitted: Floats) -> float:
        """What is minimised, as in the kernels."""
        r = np.abs(self.residuals(fitted))
        kind = self.objective.removesuffix("_log")
        if kind == "lsq":
            return float(np.sum(r * r))
        if kind == "l1":
            return float(np.sum(r))
        return float(np.sum(np.where(r < self.delta, 0.5 * r * r, self.delta * (r - 0.5 * self.delta))))

    def slope(self, fitted: Floats) -> Floats:
        """Gradient of the sum."""
        r = self.residuals(fitted)
        kind = self.objective.removesuffix("_log")
        if kind == "lsq":
            weight = 2 * r
        elif kind == "l1":
            weight = np.sign(r)
        else:
            weight = np.clip(r, -self.delta, self.delta)
        return self.jacobian(fitted).T @ weight

    def starts(self) -> Floats:
        """The starts of the law, as what is fitted."""
        return inner(self.law, self.law.start_grid(self.variables, self.y))


def scipy_best(problem: Problem, starts: Floats | None = None) -> tuple[float, Floats]:
    """The lowest sum that SciPy reaches from any start, and where: `least_squares` (trf) for squares, else L-BFGS-B."""
    starts = problem.starts() if starts is None else starts
    lower, upper = problem.law.inner_bounds
    free = lower < upper
    best = (np.inf, np.full(len(lower), np.nan))
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        for start in starts:
            found = _search(problem, np.clip(start, lower, upper), lower, upper, free)
            height = problem.sum(found) if found is not None else np.inf
            if height < best[0]:
                best = (height, found)
    return best


def _search(problem: Problem, start: Floats, lower: Floats, upper: Floats, free: Numbers) -> Floats | None:
    """Where SciPy ends from one start; None where the sum is not finite there or the method gives up."""

    def whole(x: Floats) -> Floats:
        full = start.copy()
        full[free] = x
        return full

    if not np.isfinite(problem.sum(start)):
        return None
    limits = (lower[free], upper[free])
    try:
        if problem.objective.startswith("lsq"):
            found = optimize.least_squares(
                lambda x: np.nan_to_num(problem.residuals(whole(x)), nan=1e100, posinf=1e100, neginf=-1e100),
                np.clip(start[free], limits[0] + 1e-10, limits[1] - 1e-10),
                lambda x: np.nan_to_num(problem.jacobian(whole(x))[:, free]),
                bounds=limits,
                x_scale="jac",
                ftol=1e-15,
                xtol=1e-15,
                gtol=1e-15,
                max_nfev=2000,
            )
        else:
            found = optimize.minimize(
                lambda x: np.nan_to_num(problem.sum(whole(x)), nan=_HUGE, posinf=_HUGE),
                start[free],
                jac=lambda x: np.nan_to_num(problem.slope(whole(x))[free]),
                method="L-BFGS-B",
                bounds=optimize.Bounds(*limits),
                options={"ftol": 1e-16, "gtol": 1e-12, "maxiter": 1000, "maxfun": 5000},
            )
    except (ValueError, np.linalg.LinAlgError):
        return None
    return whole(found.x)
