"""Which laws a table admits, and why not the others."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from .._errors import OptionError, SchemaError
from .._metrics import direction
from .._options import as_columns
from .._schema import did_you_mean
from ._columns import AMOUNTS, Repeats, Rows, check_plausible, input_column
from ._fit import Settings, places
from ._law import Law
from ._points import Points, variables_of
from ._splits import LEAST_RUNGS

#: What the law of any one amount is tried on, the first that the table has.
AMOUNT = ("flops", "params", "tokens")
#: Share of the rows that must hold a column for laws of it to be tried.
_FILLED = 0.5
#: Fractions above this are percent.
_PERCENT = 1.5


@dataclass(frozen=True)
class Candidate:
    """A law, the columns it is tried on, and why it is not, where it is not."""

    law: Law
    columns: tuple[str, ...]
    reason: str = ""

    @property
    def form(self) -> str:
        """The formula in terms of the columns: what laws that differ in starts, bounds or objective share."""
        names = dict(zip(self.law.inputs, self.columns, strict=True))
        return re.sub(r"\w+", lambda word: names.get(word[0], word[0]), self.law.formula)


@dataclass
class Columns:
    """The columns of a table that laws may be of, each looked at once."""

    rows: Rows
    check_units: bool
    _found: dict[str, pl.Series | str] = field(default_factory=dict)

    def lacks(self, name: str) -> str:
        """Why a column is of no use; empty where it is."""
        if name not in self._found:
            self._found[name] = self._look(name)
        found = self._found[name]
        return found if isinstance(found, str) else ""

    def n_values(self, name: str) -> int:
        """How many values a column has; 0 where it is of no use."""
        return 0 if self.lacks(name) else pl.Series(self._found[name]).drop_nulls().n_unique()

    def _look(self, name: str) -> pl.Series | str:
        try:
            column = input_column(self.rows.frame, name, [])
            if self.check_units:
                check_plausible(name, column)
        except SchemaError as error:
            absent = f"has no column {name!r}" in str(error)
            return f"the table has no {name}" if absent else str(error)
        n = int(column.is_finite().fill_null(value=False).sum())
        if n < _FILLED * len(column):
            return f"{n} of {len(column)} rows have {name}; take those with where= to try laws of it"
        return column


def candidates(
    columns: Columns,
    laws: Sequence[Law],
    x: str | Mapping[str, str | Sequence[str]] | None,
    y: str | None,
    *,
    named: bool,
    repeats: Repeats = "all",
) -> list[Candidate]:
    """Every law with what it would be fitted to. Laws that the user has `named` may be of anything but `y`."""
    own = x if isinstance(x, Mapping) else {}
    for name in own:
        known = [law.name for law in laws]
        if name not in known:
            raise OptionError(f"x: there is no law {name!r} here{did_you_mean(name, known)}")
    amount = x if isinstance(x, str) else next((one for one in AMOUNT if not columns.lacks(one)), None)
    found = []
    for law in laws:
        chosen = as_columns(own.get(law.name, [amount or "x" if one == "x" else one for one in law.inputs]))
        if len(chosen) != len(law.inputs):
            raise OptionError(
                f"x: law {law.name!r} takes {len(law.inputs)} columns ({', '.join(law.inputs)}), got "
                f"{', '.join(chosen)}"
            )
        reason = _table_reason(columns, chosen, y, named=named)
        settings = [name for name in chosen if name not in (*AMOUNTS, amount)]
        if not (reason or named) and repeats != "all" and settings:
            # Or values of one size that differ in a setting would be at different places, and nothing be chosen.
            reason = f"it is of {settings[0]}, and repeats={repeats!r} takes one value for all of them"
        found.append(Candidate(law, chosen, reason))
    return found


def _table_reason(columns: Columns, chosen: Sequence[str], y: str | None, *, named: bool) -> str:
    for name in chosen:
        if name == y:
            return f"it is of {name}, which is what is fitted"
        if name == "x":
            return "it is of any one amount: say which with x="
        if not named and direction(name) is not None:
            return f"it is of {name}, a score that no model has before it is trained; name the law to try it"
        if reason := columns.lacks(name):
            return reason
    return ""


def group_reason(law: Law, points: Points, settings: Settings, metric: str, *, named: bool) -> str:
    """Why a law is not tried on a group; empty where it is."""
    if not named and (reason := _other_quantity(law, points, metric)):
        return reason
    if law.prepare is not None and points.n == int(points.cluster.max()) + 1:
        return "it is of whole curves, and runs have one checkpoint each"
    still = [name for name, column in points.inputs.items() if name in law.inputs and np.ptp(column) == 0]
    if still:
        return f"{still[0]} is {points.inputs[still[0]][0]:g} everywhere: nothing can be said of its part"
    if settings.log and (lowest := float(points.y.min())) <= 0:
        return f"it takes logarithms, and the lowest score is {lowest:g}; objective='lsq' takes none"
    known = points.take(np.flatnonzero(points.scale < points.scale.max()))
    n_free, n_places = _n_free(law), len(np.unique(places(known)))
    if n_places < n_free:
        return f"{n_free} parameters, and {n_places} distinct points below the largest scale"
    return ""


def too_few_scales(points: Points) -> str:
    """Why no law can be held against a scale that it has not seen; empty where it can."""
    n, least = int(points.scale.max()) + 1, LEAST_RUNGS + 1
    return f"{n} scales, and {least} are needed: two to learn from, one to predict" if n < least else ""


def _other_quantity(law: Law, points: Points, metric: str) -> str:
    """Whether a law is of something else than these scores: its own y says what it gives."""
    gives, is_better = direction(law.y), direction(metric)
    if gives is None:
        return "" if law.y == metric else f"it gives {law.y}"
    if is_better is not None and is_better != gives:
        ways = {1: "higher", -1: "lower"}
        return f"it gives scores that are better when {ways[gives]} ({law.y}), {metric} is when {ways[is_better]}"
    if law.y == "accuracy" and (highest := float(points.y.max())) > _PERCENT:
        return f"it gives fractions, and the highest score is {highest:g}; divide percent by 100"
    return ""


def _n_free(law: Law) -> int:
    lower, upper = law.inner_bounds
    return int(np.sum(lower < upper))


def points_for(candidate: Candidate, points: Points) -> Points:
    """The points of a group, in the variables of a law."""
    inputs = {
        own: points.inputs[name] for own, name in zip(candidate.law.inputs, candidate.columns, strict=True)
    }
    return Points(
        points.label,
        inputs,
        variables_of(candidate.law, inputs, points.cluster),
        points.y,
        points.cluster,
        points.scale,
        points.y_name,
        points.told,
        points.rungs,
    )
