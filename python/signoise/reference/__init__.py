"""NumPy twins of the compiled kernels: the definitions, under the same names and signatures.

They are what the kernels are tested against and timed against. Everything here is plain NumPy and Python, written to
be read beside the formula it implements.
"""

from ._checkpoints import trailing_ema, trailing_mean
from ._dispersion import signal_variant, signal_variant_groups
from ._moments import segment_moments, segment_weighted_mean
from ._smoothness import smoothness_groups
from ._snr import group_noise, window_summary

__all__ = [
    "group_noise",
    "segment_moments",
    "segment_weighted_mean",
    "signal_variant",
    "signal_variant_groups",
    "smoothness_groups",
    "trailing_ema",
    "trailing_mean",
    "window_summary",
]
