"""Scaling laws: the registry of forms, their fits, and what they predict."""

from ._choose import choose_law
from ._crossover import crossover
from ._exponents import exponent_test
from ._ladder import prediction_error
from ._law import Law, Parameter, register_law
from ._optimal import compute_optimal
from ._validate import validate_law
from ._verbs import fit_scaling_law, laws, predict

__all__ = [
    "Law",
    "Parameter",
    "choose_law",
    "compute_optimal",
    "crossover",
    "exponent_test",
    "fit_scaling_law",
    "laws",
    "predict",
    "prediction_error",
    "register_law",
    "validate_law",
]
