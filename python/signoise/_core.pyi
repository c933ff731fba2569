from typing import Any

import numpy as np
from numpy.typing import NDArray

__version__: str
BUILD_PROFILE: str

_Floats = NDArray[np.float64]
_Offsets = NDArray[np.uintp]

# checkpoints
def trailing_mean(
    values: _Floats, offsets: _Offsets, window: int, *, threads: int | None = None
) -> _Floats: ...
def trailing_ema(
    values: _Floats, offsets: _Offsets, window: int, *, threads: int | None = None
) -> _Floats: ...

# moments
def segment_moments(
    values: _Floats, offsets: _Offsets, *, threads: int | None = None
) -> dict[str, NDArray[Any]]: ...
def segment_weighted_mean(
    values: _Floats, weights: _Floats, offsets: _Offsets, *, threads: int | None = None
) -> _Floats: ...

# snr
def window_summary(
    values: _Floats, positions: _Floats, offsets: _Offsets, window: int, *, threads: int | None = None
) -> dict[str, NDArray[Any]]: ...
def group_noise(
    n: NDArray[np.uint64],
    mean: _Floats,
    m2: _Floats,
    slope: _Floats,
    sxx: _Floats,
    residual: _Floats,
    successive: _Floats,
    offsets: _Offsets,
    estimator: str,
    ddof: int,
    *,
    threads: int | None = None,
) -> dict[str, NDArray[Any]]: ...

# dispersion
def signal_variant_groups(
    name: str,
    data_scores: _Floats,
    data_offsets: _Offsets,
    last_n_scores: _Floats,
    last_n_offsets: _Offsets,
    step_noise: _Floats,
    step_offsets: _Offsets,
    data_noise: _Floats,
    noise_offsets: _Offsets,
    *,
    threads: int | None = None,
) -> dict[str, _Floats]: ...

# smoothness
def smoothness_groups(
    values: _Floats, offsets: _Offsets, *, threads: int | None = None
) -> dict[str, _Floats | NDArray[np.uint64]]: ...
