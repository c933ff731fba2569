"""NumPy twins of the compiled kernels: the definitions, under the same names and signatures.

They are what the kernels are tested against and timed against. Everything here is plain NumPy and Python, written to
be read beside the formula it implements.
"""

from ._checkpoints import trailing_ema, trailing_mean

__all__ = ["trailing_ema", "trailing_mean"]
