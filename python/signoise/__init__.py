"""How far can you trust a benchmark? Signal, noise and decision accuracy of language-model evaluations."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ._errors import (
    DebugBuildWarning,
    DroppedRowsWarning,
    DuplicateKeyError,
    EngineError,
    FitError,
    ForkError,
    InsufficientDataError,
    InternalError,
    MixedKeyWarning,
    OptionError,
    ReadError,
    SchemaError,
    ShapeError,
    SignoiseError,
    SignoiseWarning,
    StoreError,
    UnknownMetricError,
)

if TYPE_CHECKING:
    from . import engines, plot, reference
    from ._aggregate import aggregate, roll_up
    from ._bootstrap import bootstrap
    from ._checkpoints import average_checkpoints
    from ._compare import compare
    from ._decisions import decision_accuracy
    from ._examples import example_scores
    from ._interventions._advise import advise
    from ._interventions._anchor_items import anchor_items
    from ._interventions._averaging_gain import averaging_gain
    from ._interventions._benchmark_agreement import benchmark_agreement
    from ._interventions._benchmark_preferences import benchmark_preferences
    from ._interventions._choice_metrics import choice_metrics
    from ._interventions._choose_metric import choose_metric
    from ._interventions._choose_window import choose_window
    from ._interventions._clustering_on_difficulty import clustering_on_difficulty
    from ._interventions._compare_metrics import compare_metrics
    from ._interventions._correlate import correlate
    from ._interventions._filtering_gain import filtering_gain
    from ._interventions._item_response import item_response
    from ._interventions._label_errors import label_errors
    from ._interventions._near_best import near_best
    from ._interventions._predictive_multiplicity import predictive_multiplicity
    from ._interventions._prune_items import prune_items
    from ._interventions._sample_size import sample_size
    from ._interventions._subset_gap import subset_gap
    from ._interventions._subtasks import filter_subtasks
    from ._interventions._thresholdout import thresholdout
    from ._interventions._transforms import transform_correlations
    from ._item_statistics import item_statistics
    from ._judged import prediction_powered
    from ._laws import (
        Law,
        Parameter,
        choose_law,
        compute_optimal,
        crossover,
        exponent_test,
        fit_scaling_law,
        laws,
        learning_rate_sensitivity,
        loss_trajectory,
        optimal_mixture,
        optimal_split,
        predict,
        prediction_error,
        register_law,
        scaling_shape,
        validate_law,
        vary_parameter,
    )
    from ._mixed_effects import mixed_effects
    from ._options import version as _version
    from ._permutation_test import permutation_test
    from ._plateau import plateau
    from ._power import power
    from ._rank import rank
    from ._read import scan_scores
    from ._report import report
    from ._running import confidence_sequence
    from ._sampling._coverage_law import coverage_law
    from ._sampling._pass_at_k import pass_at_k
    from ._sampling._pass_until import pass_until
    from ._sampling._self_consistency import self_consistency
    from ._sampling._verifier_limits import verifier_limits
    from ._seed_variance import seed_variance
    from ._simulate import simulate
    from ._smoothness import smoothness
    from ._snr import noise, signal, snr
    from ._store import ScoreStore, ingest, open_store
    from ._subset_control import subset_control
    from ._time_to_target import time_to_target
    from ._variance import variance

    __version__ = _version()

__all__ = [
    "DebugBuildWarning",
    "DroppedRowsWarning",
    "DuplicateKeyError",
    "EngineError",
    "FitError",
    "ForkError",
    "InsufficientDataError",
    "InternalError",
    "Law",
    "MixedKeyWarning",
    "OptionError",
    "Parameter",
    "ReadError",
    "SchemaError",
    "ScoreStore",
    "ShapeError",
    "SignoiseError",
    "SignoiseWarning",
    "StoreError",
    "UnknownMetricError",
    "advise",
    "aggregate",
    "anchor_items",
    "average_checkpoints",
    "averaging_gain",
    "benchmark_agreement",
    "benchmark_preferences",
    "bootstrap",
    "choice_metrics",
    "choose_law",
    "choose_metric",
    "choose_window",
    "clustering_on_difficulty",
    "compare",
    "compare_metrics",
    "compute_optimal",
    "confidence_sequence",
    "correlate",
    "coverage_law",
    "crossover",
    "decision_accuracy",
    "engines",
    "example_scores",
    "exponent_test",
    "filter_subtasks",
    "filtering_gain",
    "fit_scaling_law",
    "ingest",
    "item_response",
    "item_statistics",
    "label_errors",
    "laws",
    "learning_rate_sensitivity",
    "loss_trajectory",
    "mixed_effects",
    "near_best",
    "noise",
    "open_store",
    "optimal_mixture",
    "optimal_split",
    "pass_at_k",
    "pass_until",
    "permutation_test",
    "plateau",
    "plot",
    "power",
    "predict",
    "prediction_error",
    "prediction_powered",
    "predictive_multiplicity",
    "prune_items",
    "rank",
    "reference",
    "register_law",
    "report",
    "roll_up",
    "sample_size",
    "scaling_shape",
    "scan_scores",
    "seed_variance",
    "self_consistency",
    "signal",
    "simulate",
    "smoothness",
    "snr",
    "subset_control",
    "subset_gap",
    "thresholdout",
    "time_to_target",
    "transform_correlations",
    "validate_law",
    "variance",
    "vary_parameter",
    "verifier_limits",
]

# A verb brings Polars and NumPy with it, so each is imported when it is first asked for: `import signoise` stays light.
_HOMES = {
    "advise": "_interventions._advise",
    "aggregate": "_aggregate",
    "anchor_items": "_interventions._anchor_items",
    "average_checkpoints": "_checkpoints",
    "averaging_gain": "_interventions._averaging_gain",
    "benchmark_agreement": "_interventions._benchmark_agreement",
    "benchmark_preferences": "_interventions._benchmark_preferences",
    "bootstrap": "_bootstrap",
    "choose_law": "_laws",
    "clustering_on_difficulty": "_interventions._clustering_on_difficulty",
    "choose_metric": "_interventions._choose_metric",
    "choose_window": "_interventions._choose_window",
    "choice_metrics": "_interventions._choice_metrics",
    "compare": "_compare",
    "compare_metrics": "_interventions._compare_metrics",
    "confidence_sequence": "_running",
    "compute_optimal": "_laws",
    "correlate": "_interventions._correlate",
    "coverage_law": "_sampling._coverage_law",
    "crossover": "_laws",
    "exponent_test": "_laws",
    "decision_accuracy": "_decisions",
    "ScoreStore": "_store",
    "Law": "_laws",
    "Parameter": "_laws",
    "example_scores": "_examples",
    "filter_subtasks": "_interventions._subtasks",
    "filtering_gain": "_interventions._filtering_gain",
    "fit_scaling_law": "_laws",
    "ingest": "_store",
    "item_response": "_interventions._item_response",
    "item_statistics": "_item_statistics",
    "label_errors": "_interventions._label_errors",
    "mixed_effects": "_mixed_effects",
    "laws": "_laws",
    "learning_rate_sensitivity": "_laws",
    "loss_trajectory": "_laws",
    "near_best": "_interventions._near_best",
    "noise": "_snr",
    "open_store": "_store",
    "pass_at_k": "_sampling._pass_at_k",
    "pass_until": "_sampling._pass_until",
    "permutation_test": "_permutation_test",
    "plateau": "_plateau",
    "power": "_power",
    "prediction_powered": "_judged",
    "predictive_multiplicity": "_interventions._predictive_multiplicity",
    "optimal_mixture": "_laws",
    "optimal_split": "_laws",
    "predict": "_laws",
    "prediction_error": "_laws",
    "prune_items": "_interventions._prune_items",
    "rank": "_rank",
    "register_law": "_laws",
    "report": "_report",
    "roll_up": "_aggregate",
    "sample_size": "_interventions._sample_size",
    "scaling_shape": "_laws",
    "scan_scores": "_read",
    "seed_variance": "_seed_variance",
    "self_consistency": "_sampling._self_consistency",
    "signal": "_snr",
    "simulate": "_simulate",
    "smoothness": "_smoothness",
    "snr": "_snr",
    "subset_control": "_subset_control",
    "subset_gap": "_interventions._subset_gap",
    "thresholdout": "_interventions._thresholdout",
    "time_to_target": "_time_to_target",
    "transform_correlations": "_interventions._transforms",
    "validate_law": "_laws",
    "vary_parameter": "_laws",
    "variance": "_variance",
    "verifier_limits": "_sampling._verifier_limits",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = getattr(import_module(f".{_HOMES[name]}", __name__), name)
        _register()
    elif name in ("engines", "plot", "reference"):
        value = import_module(f".{name}", __name__)
    elif name == "__version__":
        value = import_module("._core", __name__).__version__
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _register() -> None:
    """Frames get the attribute ``signoise``, once, as soon as there is a Polars to have them."""
    global _registered  # noqa: PLW0603 (a namespace is of the process)
    if not _registered:
        _registered = True
        from ._namespace import register

        register()


_registered = False
if "polars" in sys.modules:
    _register()
