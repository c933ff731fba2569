"""NumPy twins of the compiled kernels: the definitions, under the same names and signatures.

They are what the kernels are tested against and timed against. Everything here is plain NumPy and Python, to
be read beside the formula it implements. The verbs are here too, on the twins: ``reference.snr`` is ``snr``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._archive import archive_names, archive_read
from ._averaging import (
    agreement_of,
    cross_fitted,
    log_snr_of,
    overlapping_variance,
    separated_variance,
    variance_factor,
)
from ._bootstrap import (
    bootstrap_bayesian,
    bootstrap_binomial,
    bootstrap_counts,
    bootstrap_crossed,
    bootstrap_estimates,
    bootstrap_interval,
    bootstrap_means,
    bootstrap_nested,
    bootstrap_quantiles,
    bootstrap_studentised,
    bootstrap_t_interval,
    bootstrap_trinomial,
)
from ._checkpoints import trailing_ema, trailing_mean
from ._choice_metrics import choice_metrics
from ._correlations import kendall, mean_ranks, pearson, spearman
from ._decisions import (
    agreement_columns,
    agreement_decidable,
    agreement_weighted,
    expected_agreement,
    jackknife_interval,
    noisy_agreement,
    pair_agreement,
    sampled_agreement,
)
from ._dispersion import signal_variant, signal_variant_groups
from ._distributions import (
    autocorrelation_factors,
    beta_cdf,
    beta_quantile,
    chi2_quantile,
    expected_range,
    f_quantile,
    normal_cdf,
    normal_quantile,
    studentised_range_cdf,
    studentised_range_quantile,
    t_cdf,
    t_quantile,
)
from ._item_response import fit_item_response, item_abilities
from ._json import read_json_lines
from ._laws import fit_laws, law_derivatives, law_values
from ._matrix import bit_matrix_counts, bit_matrix_moments, matrix_moments, matrix_weighted_means
from ._moments import segment_moments, segment_weighted_mean
from ._permutation import label_permutation_test, max_t_quantiles, max_t_test, sign_flip_test
from ._random import philox_uint64, wide_uint32
from ._sample_sizes import crossing, isotone, kept_share, subset_of
from ._sampling import pass_probabilities, sample_counts
from ._scan import aggregate_parquet, parquet_footers
from ._smoothness import monotonicity_ar1, smoothness_groups
from ._snr import group_noise, window_summary
from ._subtasks import subtask_gain, subtask_order, union_agreement, union_scores, union_snr
from ._tries import (
    majority_vote,
    pass_until_likelihood,
    pass_until_rate,
    pass_until_replay,
    verifier_law,
    verifier_returns,
)

if TYPE_CHECKING:
    from ._verbs import (
        aggregate,
        anchor_items,
        average_checkpoints,
        averaging_gain,
        benchmark_agreement,
        benchmark_preferences,
        bootstrap,
        choose_window,
        compare,
        compare_metrics,
        confidence_sequence,
        correlate,
        coverage_law,
        decision_accuracy,
        filter_subtasks,
        filtering_gain,
        item_response,
        item_statistics,
        label_errors,
        mixed_effects,
        near_best,
        noise,
        pass_at_k,
        pass_until,
        permutation_test,
        prediction_powered,
        prune_items,
        rank,
        roll_up,
        sample_size,
        seed_variance,
        self_consistency,
        signal,
        smoothness,
        snr,
        subset_control,
        subset_gap,
        transform_correlations,
        variance,
        verifier_limits,
    )

__all__ = [
    "aggregate",
    "aggregate_parquet",
    "agreement_columns",
    "agreement_decidable",
    "agreement_of",
    "agreement_weighted",
    "anchor_items",
    "archive_names",
    "archive_read",
    "autocorrelation_factors",
    "average_checkpoints",
    "averaging_gain",
    "benchmark_agreement",
    "benchmark_preferences",
    "beta_cdf",
    "beta_quantile",
    "bit_matrix_counts",
    "bit_matrix_moments",
    "bootstrap",
    "bootstrap_bayesian",
    "bootstrap_binomial",
    "bootstrap_counts",
    "bootstrap_crossed",
    "bootstrap_estimates",
    "bootstrap_interval",
    "bootstrap_means",
    "bootstrap_nested",
    "bootstrap_quantiles",
    "bootstrap_studentised",
    "bootstrap_t_interval",
    "bootstrap_trinomial",
    "chi2_quantile",
    "choice_metrics",
    "choose_window",
    "compare",
    "compare_metrics",
    "confidence_sequence",
    "correlate",
    "coverage_law",
    "cross_fitted",
    "crossing",
    "decision_accuracy",
    "expected_agreement",
    "expected_range",
    "f_quantile",
    "filter_subtasks",
    "filtering_gain",
    "fit_item_response",
    "fit_laws",
    "group_noise",
    "isotone",
    "item_abilities",
    "item_response",
    "item_statistics",
    "jackknife_interval",
    "kendall",
    "kept_share",
    "label_errors",
    "label_permutation_test",
    "law_derivatives",
    "law_values",
    "log_snr_of",
    "majority_vote",
    "matrix_moments",
    "matrix_weighted_means",
    "max_t_quantiles",
    "max_t_test",
    "mean_ranks",
    "mixed_effects",
    "monotonicity_ar1",
    "near_best",
    "noise",
    "noisy_agreement",
    "normal_cdf",
    "normal_quantile",
    "overlapping_variance",
    "pair_agreement",
    "parquet_footers",
    "pass_at_k",
    "pass_probabilities",
    "pass_until",
    "pass_until_likelihood",
    "pass_until_rate",
    "pass_until_replay",
    "pearson",
    "permutation_test",
    "philox_uint64",
    "prediction_powered",
    "prune_items",
    "rank",
    "read_json_lines",
    "roll_up",
    "sample_counts",
    "sample_size",
    "sampled_agreement",
    "seed_variance",
    "segment_moments",
    "segment_weighted_mean",
    "self_consistency",
    "separated_variance",
    "sign_flip_test",
    "signal",
    "signal_variant",
    "signal_variant_groups",
    "smoothness",
    "smoothness_groups",
    "snr",
    "spearman",
    "studentised_range_cdf",
    "studentised_range_quantile",
    "subset_control",
    "subset_gap",
    "subset_of",
    "subtask_gain",
    "subtask_order",
    "t_cdf",
    "t_quantile",
    "trailing_ema",
    "trailing_mean",
    "transform_correlations",
    "union_agreement",
    "union_scores",
    "union_snr",
    "variance",
    "variance_factor",
    "verifier_law",
    "verifier_limits",
    "verifier_returns",
    "wide_uint32",
    "window_summary",
]

# Verbs import Polars, and their modules may import this one: each is made when it is first asked for.
_VERBS = frozenset(
    {
        "aggregate",
        "anchor_items",
        "average_checkpoints",
        "averaging_gain",
        "benchmark_agreement",
        "benchmark_preferences",
        "bootstrap",
        "choose_window",
        "compare",
        "compare_metrics",
        "confidence_sequence",
        "correlate",
        "coverage_law",
        "decision_accuracy",
        "filter_subtasks",
        "filtering_gain",
        "item_abilities",
        "item_response",
        "item_statistics",
        "label_errors",
        "mixed_effects",
        "near_best",
        "noise",
        "pass_at_k",
        "pass_until",
        "permutation_test",
        "prediction_powered",
        "prune_items",
        "rank",
        "roll_up",
        "sample_size",
        "seed_variance",
        "self_consistency",
        "signal",
        "smoothness",
        "snr",
        "subset_control",
        "subset_gap",
        "transform_correlations",
        "variance",
        "verifier_limits",
    }
)


def __getattr__(name: str) -> Any:
    if name not in _VERBS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import _verbs

    return getattr(_verbs, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
