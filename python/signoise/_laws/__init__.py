"""Scaling laws: the registry of forms, their fits, and what they predict."""

from ._choose import choose_law
from ._crossover import crossover
from ._encoder_decoder import optimal_split
from ._exponents import exponent_test
from ._ladder import prediction_error
from ._law import Law, Parameter, register_law
from ._learning_rate import learning_rate_sensitivity
from ._mixture import optimal_mixture
from ._optimal import compute_optimal
from ._shape import scaling_shape
from ._trajectory import loss_trajectory
from ._validate import validate_law
from ._vary import vary_parameter
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
    "learning_rate_sensitivity",
    "loss_trajectory",
    "optimal_mixture",
    "optimal_split",
    "predict",
    "prediction_error",
    "register_law",
    "scaling_shape",
    "validate_law",
    "vary_parameter",
]
