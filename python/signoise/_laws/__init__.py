"""Scaling laws: the registry of forms, their fits, and what they predict."""

from ._crossover import crossover
from ._ladder import prediction_error
from ._law import Law, Parameter, register_law
from ._optimal import compute_optimal
from ._validate import validate_law
from ._verbs import fit_scaling_law, laws, predict

__all__ = [
    "Law",
    "Parameter",
    "compute_optimal",
    "crossover",
    "fit_scaling_law",
    "laws",
    "predict",
    "prediction_error",
    "register_law",
    "validate_law",
]
