import numpy as np
from numpy.typing import NDArray

__version__: str
BUILD_PROFILE: str

_Floats = NDArray[np.float64]
_Offsets = NDArray[np.uintp]

# checkpoints
def trailing_mean(values: _Floats, offsets: _Offsets, window: int, *, threads: int | None = None) -> _Floats: ...
def trailing_ema(values: _Floats, offsets: _Offsets, window: int, *, threads: int | None = None) -> _Floats: ...
