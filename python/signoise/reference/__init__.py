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
from ._random import philox_uint64

__all__ = [
    "agreement_decidable",
    "agreement_weighted",
    "expected_agreement",
    "jackknife_interval",
    "pair_agreement",
    "philox_uint64",
    "sampled_agreement",
    "trailing_ema",
    "trailing_mean",
]
