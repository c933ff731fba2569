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
from ._moments import segment_moments, segment_weighted_mean
from ._random import philox_uint64
from ._smoothness import smoothness_groups
from ._snr import group_noise, window_summary

__all__ = [
    "agreement_decidable",
    "agreement_weighted",
    "expected_agreement",
    "group_noise",
    "jackknife_interval",
    "pair_agreement",
    "philox_uint64",
    "sampled_agreement",
    "segment_moments",
    "segment_weighted_mean",
    "signal_variant",
    "signal_variant_groups",
    "smoothness_groups",
    "trailing_ema",
    "trailing_mean",
    "window_summary",
]
