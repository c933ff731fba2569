"""What a functional form is, and the one registry of them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import MappingProxyType
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .._errors import OptionError
from .._metrics import direction
from .._schema import did_you_mean
from ._formula import Program, parse

Floats: TypeAlias = NDArray[np.float64]
Transform = Literal["", "log", "logit", "softplus"]
Objective = Literal["huber_log", "lsq", "lsq_log", "huber", "l1", "l1_log"]
#: From variables and observations at the points to starts, a row each, in the order of the parameters.
Starts = Callable[[Mapping[str, Floats], Floats], Floats]
#: From inputs at the points and the number of the run of each to variables.
Prepare = Callable[[Mapping[str, Floats], NDArray[np.int64]], dict[str, Floats]]

OBJECTIVES: tuple[Objective, ...] = ("huber_log", "lsq", "lsq_log", "huber", "l1", "l1_log")


@dataclass(frozen=True)
class Parameter:
    """A parameter of a law: its name, starts, bounds, and what is fitted in its place."""

    name: str
    starts: tuple[float, ...] = ()
    lower: float = -math.inf
    upper: float = math.inf
    transform: Transform = ""
    meaning: str = ""

    def inner(self, values: Floats) -> Floats:
        """What is fitted in the place of these values."""
        with np.errstate(all="ignore"):
            if self.transform == "log":
                return np.log(values)
            if self.transform == "logit":
                return np.log(values) - np.log1p(-values)
            if self.transform == "softplus":
                return np.where(values > 30, values, np.log(np.expm1(np.minimum(values, 30.0))))
        return np.asarray(values, dtype=np.float64)

    def outer(self, fitted: Floats) -> Floats:
        """The values that fitted ones stand for."""
        with np.errstate(over="ignore"):
            if self.transform == "log":
                return np.exp(fitted)
            if self.transform == "logit":
                return np.exp(-np.logaddexp(0.0, -fitted))
            if self.transform == "softplus":
                return np.logaddexp(0.0, fitted)
        return np.asarray(fitted, dtype=np.float64)

    def inner_bounds(self) -> tuple[float, float]:
        """The bounds of what is fitted."""
        lowest = {"log": 0.0, "logit": 0.0, "softplus": 0.0}.get(self.transform, -math.inf)
        highest = {"logit": 1.0}.get(self.transform, math.inf)
        bounds = self.inner(np.array([max(self.lower, lowest), min(self.upper, highest)]))
        return float(bounds[0]), float(bounds[1])


@dataclass(frozen=True)
class Law:
    """A functional form that scores follow as scale grows, with all that a fit of it needs.

    Parameters
    ----------
    name
        What the law is called by.
    formula
        A Python expression of numbers, ``+ - * / **``, the functions ``exp log sqrt sigmoid softplus tanh maximum``,
        variables and parameters.
    variables
        Columns of data that the formula speaks of, each with its unit.
    parameters
        Parameters of the formula, each with starts, bounds and transform.
    y
        Name and unit of what the formula gives.
    objective
        Default of what is minimised: ``"huber_log"`` sum of Huber's function of log residuals, ``"lsq"`` sum of
        squares, ``"lsq_log"`` the same of log residuals, ``"huber"``, ``"l1"``, ``"l1_log"`` sums of absolute ones.
    delta
        Where Huber's function becomes linear.
    starts
        Function from variables and observations to starts (n_starts, n_parameters); default: all combinations of the
        parameters' own.
    inputs, prepare
        Where the variables are made of other columns: these with their units, and a function from them and the number
        of the run of each point (a point's variables may depend on earlier points of its run) to the variables.
    question
        What a user asks of it, in one sentence.
    source
        Paper, section, equation.
    published
        Coefficients that were published, by a name of each set.
    """

    name: str
    formula: str
    variables: Mapping[str, str]
    parameters: tuple[Parameter, ...]
    y: str = "loss"
    objective: Objective = "huber_log"
    delta: float = 1e-3
    starts: Starts | None = None
    question: str = ""
    source: str = ""
    inputs: Mapping[str, str] = field(default_factory=dict)
    prepare: Prepare | None = None
    published: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "variables", MappingProxyType(dict(self.variables)))
        object.__setattr__(self, "parameters", tuple(self.parameters))
        object.__setattr__(self, "inputs", MappingProxyType(dict(self.inputs or self.variables)))
        object.__setattr__(self, "published", MappingProxyType(dict(self.published)))
        names = [*self.variables, *self.names]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise OptionError(
                f"law {self.name!r} names {twice!r} twice; give each variable and parameter its own name"
            )
        if self.objective not in OBJECTIVES:
            raise OptionError(
                f"law {self.name!r}: objective {self.objective!r} is not one of {', '.join(OBJECTIVES)}"
            )
        if self.starts is None and (bare := next((p.name for p in self.parameters if not p.starts), None)):
            raise OptionError(
                f"law {self.name!r}: parameter {bare!r} has no starts; give it some, or the law a function"
            )
        _ = self.program  # a formula that cannot be read is said now, not at the first fit

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the parameters."""
        return tuple(parameter.name for parameter in self.parameters)

    @cached_property
    def inner_bounds(self) -> tuple[Floats, Floats]:
        """Lower and upper bounds of what is fitted."""
        pairs = np.array([parameter.inner_bounds() for parameter in self.parameters])
        return np.ascontiguousarray(pairs[:, 0]), np.ascontiguousarray(pairs[:, 1])

    def rises(self, metric: str | None) -> bool:
        """Whether more of `metric`, which is fitted, is better; what is not known is taken for the law's own `y`."""
        known = direction(metric) if metric else None
        return self.y == "accuracy" if known is None else known > 0

    @cached_property
    def program(self) -> Program:
        """The formula, ready for the kernels."""
        transforms = tuple(parameter.transform for parameter in self.parameters)
        return parse(self.formula, tuple(self.variables), self.names, transforms)

    def with_bounds(self, bounds: Mapping[str, tuple[float | None, float | None]]) -> Law:
        """The same law with other bounds; equal ones hold a parameter fixed."""
        for name, pair in bounds.items():
            if name not in self.names:
                raise OptionError(
                    f"bounds: law {self.name!r} has no parameter {name!r}{did_you_mean(name, self.names)} "
                    f"(it has {', '.join(self.names)})"
                )
            low, high = _limits(pair)
            if not low <= high:
                raise OptionError(
                    f"bounds of {name!r} are ({low:g}, {high:g}); the first must be the lower one"
                )
        changed = tuple(
            _bounded(p, *_limits(bounds[p.name])) if p.name in bounds else p for p in self.parameters
        )
        return replace(self, parameters=changed)

    def start_grid(self, variables: Mapping[str, Floats], y: Floats) -> Floats:
        """Starts (n_starts, n_parameters), each inside the bounds."""
        if self.starts is None:
            grid = np.array(list(itertools.product(*(p.starts for p in self.parameters))), dtype=np.float64)
        else:
            grid = np.asarray(self.starts(variables, y), dtype=np.float64)
        if grid.ndim != 2 or grid.shape[1] != len(self.parameters) or not len(grid):
            raise OptionError(
                f"law {self.name!r}: its starts have the shape {grid.shape}; "
                f"(n_starts, {len(self.parameters)}) is needed"
            )
        lower, upper = (np.array([getattr(p, side) for p in self.parameters]) for side in ("lower", "upper"))
        grid = np.clip(grid, lower, upper)
        return grid[np.sort(np.unique(grid, axis=0, return_index=True)[1])]


def _bounded(parameter: Parameter, low: float, high: float) -> Parameter:
    starts = tuple(dict.fromkeys(min(max(start, low), high) for start in parameter.starts))
    return replace(parameter, lower=low, upper=high, starts=starts)


def _limits(pair: tuple[float | None, float | None]) -> tuple[float, float]:
    low, high = pair
    return (-math.inf if low is None else float(low)), (math.inf if high is None else float(high))


_REGISTRY: dict[str, Law] = {}


def register_law(law: Law, *, replace: bool = False) -> Law:
    """Make a law known by its name, to verbs and command line of this process.

    Parameters
    ----------
    law
        The law.
    replace
        Take the place of one that has the name.

    Returns
    -------
    Law
        The law.

    Raises
    ------
    OptionError
        Another law has the name.

    Examples
    --------
    >>> import signoise as sn
    >>> from signoise import Law, Parameter
    >>> law = Law(
    ...     name="log_line",
    ...     formula="a - b * log(flops)",
    ...     variables={"flops": "FLOPs"},
    ...     parameters=(Parameter("a", (0.0, 10.0)), Parameter("b", (0.1,))),
    ...     objective="lsq",
    ... )
    >>> sn.register_law(law, replace=True).program.linear.tolist()
    [True, True]
    """
    if not replace and law.name in registry():
        raise OptionError(f"a law {law.name!r} exists already; choose another name, or pass replace=True")
    registry()[law.name] = law
    return law


def registry() -> dict[str, Law]:
    """All laws by name."""
    if not _REGISTRY:
        from ._forms import LAWS

        _REGISTRY.update({law.name: law for law in LAWS})
    return _REGISTRY


def find_law(law: str | Law) -> Law:
    """A law by its name."""
    if isinstance(law, Law):
        return law
    known: Sequence[str] = sorted(registry())
    if law not in known:
        raise OptionError(f"law: there is no {law!r}{did_you_mean(law, known)}; known: {', '.join(known)}")
    return registry()[law]
