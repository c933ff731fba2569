"""The verb `vary_parameter`: a law of which one parameter differs between groups that share the others."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from .._errors import OptionError
from .._schema import did_you_mean
from ._law import Floats, Law, find_law
from ._points import variables_of


def vary_parameter(law: str | Law, parameter: str, *, by: str, values: Iterable[float]) -> Law:
    """Give a law one value of a parameter for each value of a column, all others shared.

    Parameters
    ----------
    law
        Name of a law (see `laws`), or a `Law`.
    parameter
        The one that differs.
    by
        The column that it differs by, of numbers: an input of the law (``"params"``), or any other one (the number of a
        family), which becomes an input.
    values
        The values of that column.

    Returns
    -------
    Law
        A law with the parameters ``E_1, E_2, ...`` in the place of ``E``, in the order of the sorted values. Verbs take
        it as it is; it is not registered. At a value that is not among `values` it is undefined.

    Raises
    ------
    OptionError
        An unknown law or parameter; no value, or values that are not finite.

    References
    ----------
    Tan et al. 2025, arXiv 2509.25300 (a level E(N) of every size); Choshen et al. 2024, arXiv 2410.11840 (families
    that borrow each other's exponents).

    Examples
    --------
    >>> import signoise as sn
    >>> law = sn.vary_parameter("rl_post_training", "E", by="params", values=[5e8, 7e9])
    >>> law.names
    ('K_max', 'N_0', 'E_1', 'E_2')
    """
    chosen = find_law(law)
    if parameter not in chosen.names:
        raise OptionError(
            f"parameter: law {chosen.name!r} has no {parameter!r}{did_you_mean(parameter, chosen.names)} (it has "
            f"{', '.join(chosen.names)})"
        )
    levels = np.unique(np.array([float(value) for value in values]))
    if not len(levels) or not np.isfinite(levels).all():
        raise OptionError(f"values must be finite numbers of {by!r}, at least one, got {levels.tolist()}")
    numbers = range(1, len(levels) + 1)
    is_level = [f"is_{by}_{number}" for number in numbers]
    names = [f"{parameter}_{number}" for number in numbers]
    total = " + ".join(f"{flag} * {name}" for flag, name in zip(is_level, names, strict=True))
    place = chosen.names.index(parameter)
    parameters = list(chosen.parameters)
    parameters[place : place + 1] = [
        replace(parameters[place], name=name, meaning=f"{parameters[place].meaning} ({by} {level:g})")
        for name, level in zip(names, levels, strict=True)
    ]

    def prepare(inputs: Mapping[str, Floats], run: NDArray[np.int64]) -> dict[str, Floats]:
        own = variables_of(chosen, {name: inputs[name] for name in chosen.inputs}, run)
        outside = ~np.isin(inputs[by], levels)
        flags = {
            flag: np.where(outside, np.nan, (inputs[by] == level).astype(np.float64))
            for flag, level in zip(is_level, levels, strict=True)
        }
        return own | flags

    def starts(variables: Mapping[str, Floats], y: Floats) -> Floats:
        """Those of the law, the same value of the parameter at all levels."""
        grid = chosen.start_grid({name: variables[name] for name in chosen.variables}, y)
        return np.insert(grid, [place + 1] * (len(levels) - 1), grid[:, [place]], axis=1)

    return replace(
        chosen,
        name=f"{chosen.name}[{parameter} by {by}]",
        formula=re.sub(rf"\b{parameter}\b", f"({total})", chosen.formula),
        variables=dict(chosen.variables)
        | {flag: f"1 where {by} is {level:g}" for flag, level in zip(is_level, levels, strict=True)},
        inputs=dict(chosen.inputs) | ({} if by in chosen.inputs else {by: "what it differs by"}),
        parameters=tuple(parameters),
        prepare=prepare,
        starts=starts,
        published={},
    )
