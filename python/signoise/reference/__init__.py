"""NumPy twins of the compiled kernels: the definitions, under the same names and signatures.

They are what the kernels are tested against and timed against. Everything here is plain NumPy and Python, written to
be read beside the formula it implements.
"""

from ._checkpoints import trailing_ema, trailing_mean
from ._decisions import (
    agreement_decidable,
    agreement_weighted,
    expected_agreement,
    jackknife_interval,
    pair_agreement,
    sampled_agreement,
)
from ._dispersion import signal_variant, signal_variant_groups
from ._distributions import (
    autocorrelation_factors,
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
from ._moments import segment_moments, segment_weighted_mean
from ._random import philox_uint64
from ._smoothness import smoothness_groups
from ._snr import group_noise, window_summary

__all__ = [
    "agreement_decidable",
    "agreement_weighted",
    "autocorrelation_factors",
    "chi2_quantile",
    "expected_agreement",
    "expected_range",
    "f_quantile",
    "group_noise",
    "jackknife_interval",
    "normal_cdf",
    "normal_quantile",
    "pair_agreement",
    "philox_uint64",
    "sampled_agreement",
    "segment_moments",
    "segment_weighted_mean",
    "signal_variant",
    "signal_variant_groups",
    "smoothness_groups",
    "studentised_range_cdf",
    "studentised_range_quantile",
    "t_cdf",
    "t_quantile",
    "trailing_ema",
    "trailing_mean",
    "window_summary",
]
