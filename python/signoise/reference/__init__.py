"""NumPy twins of the compiled kernels: the definitions, under the same names and signatures.

They are what the kernels are tested against and timed against. Everything here is plain NumPy and Python, written to
be read beside the formula it implements.
"""

from ._checkpoints import trailing_ema, trailing_mean
from ._moments import segment_moments, segment_weighted_mean
from ._snr import group_noise, window_summary

__all__ = [
    "group_noise",
    "segment_moments",
    "segment_weighted_mean",
    "trailing_ema",
    "trailing_mean",
    "window_summary",
]
