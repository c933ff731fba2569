"""Repeated sampling: the share of instances that some of k tries solves."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .._law import Floats, Law, Parameter

_EXPONENTS = (0.05, 0.1, 0.2, 0.35, 0.5, 0.8, 1.2, 2.0)


def _starts(variables: Mapping[str, Floats], y: Floats) -> Floats:
    """For each exponent the factor that meets the observations in the middle."""
    k = variables["k"]
    below = np.clip(-np.log(np.clip(y, 1e-300, None)), 1e-12, None)
    return np.array([(-np.median(below * k**exponent), -exponent) for exponent in _EXPONENTS])


LAWS = (
    Law(
        name="coverage",
        formula="exp(a * k**b)",
        variables={"k": "tries at each instance"},
        parameters=(
            Parameter("a", upper=0.0, meaning="logarithm of the coverage of one try"),
            Parameter("b", upper=0.0, meaning="exponent"),
        ),
        y="accuracy",
        objective="lsq_log",
        starts=_starts,
        question="What share of instances will be solved by at least one of k tries?",
        source="Brown et al. 2024, arXiv 2407.21787, section 3.1; the authors' objective (unverified)",
    ),
)
