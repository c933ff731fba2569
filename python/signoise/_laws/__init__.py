"""Scaling laws: the registry of forms, their fits, and what they predict."""

from ._ladder import prediction_error
from ._law import Law, Parameter, register_law
from ._verbs import fit_scaling_law, laws, predict

__all__ = ["Law", "Parameter", "fit_scaling_law", "laws", "predict", "prediction_error", "register_law"]
