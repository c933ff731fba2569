import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "BUILD_PROFILE",
    "InstanceScan",
    "Text",
    "__version__",
    "aggregate_parquet",
    "agreement_columns",
    "agreement_decidable",
    "agreement_weighted",
    "archive_names",
    "archive_read",
    "autocorrelation_factors",
    "beta_cdf",
    "beta_quantile",
    "bit_matrix_counts",
    "bit_matrix_moments",
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
    "expected_agreement",
    "expected_range",
    "f_quantile",
    "file_checksums",
    "fit_item_response",
    "fit_laws",
    "group_noise",
    "item_abilities",
    "jackknife_interval",
    "label_permutation_test",
    "law_derivatives",
    "law_values",
    "map_parquet",
    "matrix_moments",
    "matrix_weighted_means",
    "max_t_quantiles",
    "max_t_test",
    "merge_parquet",
    "monotonicity_ar1",
    "noisy_agreement",
    "normal_cdf",
    "normal_quantile",
    "pair_agreement",
    "parquet_footers",
    "pass_probabilities",
    "philox_uint64",
    "plan_parquet",
    "read_json_lines",
    "sample_counts",
    "sampled_agreement",
    "segment_moments",
    "segment_weighted_mean",
    "sign_flip_test",
    "signal_variant_groups",
    "smoothness_groups",
    "studentised_range_cdf",
    "studentised_range_quantile",
    "t_cdf",
    "t_quantile",
    "trailing_ema",
    "trailing_mean",
    "wide_uint32",
    "window_summary",
    "write_part",
    "write_parts",
]

__version__: str
BUILD_PROFILE: str

_Floats = NDArray[np.float64]
_Offsets = NDArray[np.uintp]
_Addresses = NDArray[np.uint64]
_Matrix = NDArray[np.float32] | NDArray[np.float64]
_Bits = NDArray[np.uint8]

# aggregate
def aggregate_parquet(
    paths: Sequence[str],
    keys: Sequence[str],
    values: Sequence[str],
    *,
    by: int,
    inner: Sequence[bool],
    identity: str | None = None,
    constant: Sequence[str] | None = None,
    progress: Callable[[int, int], object] | None = None,
    threads: int | None = None,
) -> dict[str, Any]: ...
def plan_parquet(
    paths: Sequence[str],
    keys: Sequence[str],
    *,
    inner: Sequence[bool],
    identity: str | None = None,
    threads: int | None = None,
) -> dict[str, Any]: ...
def map_parquet(
    paths: Sequence[str],
    first: Sequence[int] | NDArray[np.uint64],
    rows: Sequence[int] | NDArray[np.uint64],
    keys: Sequence[str],
    values: Sequence[str],
    *,
    inner: Sequence[bool],
    kept: bytes,
    identity: str | None = None,
    constant: Sequence[str] | None = None,
    threads: int | None = None,
) -> bytes: ...
def merge_parquet(
    states: Iterable[bytes],
    n_values: int,
    *,
    by: int,
    inner: Sequence[bool],
    kept: bytes,
    threads: int | None = None,
) -> dict[str, Any]: ...
def parquet_footers(
    paths: Sequence[str | os.PathLike[str]], *, threads: int | None = None
) -> dict[str, NDArray[Any]]: ...

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

# matrix
def matrix_moments(
    matrices: Sequence[_Matrix], validity: Sequence[_Bits | None], *, threads: int | None = None
) -> dict[str, NDArray[Any]]: ...
def matrix_weighted_means(
    matrices: Sequence[_Matrix],
    weights: Sequence[_Matrix],
    validity: Sequence[_Bits | None],
    *,
    threads: int | None = None,
) -> dict[str, _Floats]: ...
def bit_matrix_counts(
    matrices: Sequence[_Bits],
    validity: Sequence[_Bits | None],
    rows: _Offsets,
    widths: _Offsets,
    *,
    threads: int | None = None,
) -> dict[str, NDArray[np.uint64]]: ...
def bit_matrix_moments(
    matrices: Sequence[_Bits],
    validity: Sequence[_Bits | None],
    rows: _Offsets,
    widths: _Offsets,
    *,
    threads: int | None = None,
) -> dict[str, NDArray[Any]]: ...

# store
def write_part(
    path: str,
    checkpoints: NDArray[np.uint32],
    width: int,
    columns: Sequence[tuple[str, _Matrix | NDArray[np.bool_], NDArray[np.bool_] | None, str]],
    *,
    threads: int | None = None,
) -> dict[str, Any]: ...
def write_parts(
    parts: Sequence[
        tuple[
            str,
            NDArray[np.uint32],
            int,
            Sequence[tuple[str, _Matrix | NDArray[np.bool_], NDArray[np.bool_] | None, str]],
        ]
    ],
    *,
    threads: int | None = None,
) -> list[dict[str, Any]]: ...
def file_checksums(
    paths: Sequence[str], *, whole: bool = True, threads: int | None = None
) -> list[tuple[int, str]]: ...

@final
class InstanceScan:
    """Checkpoints, units and instances of Parquet tables, from keys and ids alone; then their matrices.

    Instances that occur twice, rows without a score, and types it does not know: ``UnsupportedScan``.
    """

    def __new__(
        cls,
        paths: Sequence[str],
        *,
        outer: Sequence[str],
        inner: Sequence[str],
        identity: str,
        values: Sequence[str],
        extras: Sequence[str],
        cells: int,
        threads: int | None = None,
    ) -> InstanceScan: ...
    @property
    def rows(self) -> int: ...
    @property
    def labels(self) -> list[list[Any]]: ...
    @property
    def checkpoints(self) -> list[list[int]]: ...
    @property
    def units(self) -> list[list[int]]: ...
    @property
    def first_files(self) -> list[int]: ...
    @property
    def seen(self) -> list[tuple[int, int]]: ...
    @property
    def extras(self) -> list[tuple[list[Any], list[bool], list[int]]]: ...
    @property
    def at_once(self) -> int: ...
    def matrices(
        self, number: NDArray[np.uint32], *, first: int = 0, threads: int | None = None
    ) -> list[dict[str, Any]]: ...

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

# decisions
def pair_agreement(
    small: _Floats, target: _Floats, offsets: _Offsets, *, threads: int | None = None
) -> dict[str, NDArray[np.int64]]: ...
def agreement_weighted(
    small: _Floats, target: _Floats, offsets: _Offsets, *, threads: int | None = None
) -> dict[str, _Floats]: ...
def agreement_decidable(
    small: _Floats, target: _Floats, threshold: _Floats, offsets: _Offsets, *, threads: int | None = None
) -> dict[str, NDArray[np.int64] | _Floats]: ...
def expected_agreement(
    small: _Floats,
    target: _Floats,
    sd_small: _Floats,
    sd_target: _Floats,
    offsets: _Offsets,
    *,
    threads: int | None = None,
) -> dict[str, _Floats]: ...
def agreement_columns(small: _Floats, target: _Floats, *, threads: int | None = None) -> _Floats: ...
def noisy_agreement(
    small: _Floats,
    target: _Floats,
    sd_small: _Floats,
    sd_target: _Floats,
    offsets: _Offsets,
    group_units: _Addresses,
    n_resamples: int,
    rng_seed: int,
    *,
    threads: int | None = None,
) -> dict[str, _Floats]: ...
def sampled_agreement(
    small_values: _Floats,
    small_offsets: _Offsets,
    target_values: _Floats,
    target_offsets: _Offsets,
    group_offsets: _Offsets,
    group_units: _Addresses,
    n_resamples: int,
    rng_seed: int,
    *,
    threads: int | None = None,
) -> dict[str, _Floats]: ...
def jackknife_interval(
    estimates: _Floats,
    leave_one_out: _Floats,
    t_critical: _Floats,
    offsets: _Offsets,
    confidence_level: float,
    *,
    threads: int | None = None,
) -> dict[str, _Floats]: ...

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

# permutation
def sign_flip_test(
    values: _Floats,
    offsets: _Offsets,
    units: _Addresses,
    n_resamples: int,
    rng_seed: int,
    *,
    threads: int | None = None,
) -> dict[str, NDArray[Any]]: ...
def label_permutation_test(
    a: _Floats,
    a_offsets: _Offsets,
    b: _Floats,
    b_offsets: _Offsets,
    units: _Addresses,
    n_resamples: int,
    rng_seed: int,
    *,
    threads: int | None = None,
) -> dict[str, NDArray[Any]]: ...
def max_t_test(
    values: _Floats,
    left: _Offsets,
    right: _Offsets,
    unit: int,
    n_resamples: int,
    rng_seed: int,
    *,
    threads: int | None = None,
) -> dict[str, NDArray[Any]]: ...
def max_t_quantiles(
    values: _Floats,
    left: _Offsets,
    right: _Offsets,
    confidence_level: float,
    unit: int,
    n_resamples: int,
    rng_seed: int,
    *,
    threads: int | None = None,
) -> dict[str, NDArray[Any]]: ...

# laws
_Steps = tuple[NDArray[np.uint8], NDArray[np.uint32], NDArray[np.uint32], _Floats]

def law_values(
    steps: _Steps, columns: _Floats, parameters: _Floats, *, threads: int | None = None
) -> NDArray[np.float64]: ...
def law_derivatives(
    steps: _Steps, columns: _Floats, parameters: _Floats, *, threads: int | None = None
) -> NDArray[np.float64]: ...
def fit_laws(
    steps: _Steps,
    columns: _Floats,
    observed: _Floats,
    weights: _Floats,
    offsets: _Offsets,
    starts: _Floats,
    start_offsets: _Offsets,
    lower: _Floats,
    upper: _Floats,
    linear: NDArray[np.bool_],
    *,
    loss: str = "huber",
    delta: float = 1e-3,
    log: bool = True,
    overestimate_penalty: float = 1.0,
    max_steps: int = 500,
    polish: bool = True,
    threads: int | None = None,
) -> dict[str, NDArray[Any]]: ...

# item_response
def fit_item_response(
    values: _Bits,
    validity: _Bits | None,
    rows: int,
    width: int,
    *,
    common: bool = False,
    discrimination_sd: float = 0.5,
    difficulty_sd: float = 2.0,
    tolerance: float = 1e-5,
    max_iterations: int = 500,
    threads: int | None = None,
) -> dict[str, Any]: ...
def item_abilities(
    values: _Bits,
    validity: _Bits | None,
    rows: int,
    width: int,
    discrimination: _Floats,
    difficulty: _Floats,
    *,
    threads: int | None = None,
) -> dict[str, _Floats]: ...

# random
def philox_uint64(
    rng_seed: int, purpose: int, replicate: int, unit: int, n: int, *, threads: int | None = None
) -> _Addresses: ...
def wide_uint32(
    rng_seed: int, purpose: int, replicate: int, unit: int, n: int, *, threads: int | None = None
) -> NDArray[np.uint32]: ...

# sampling
def sample_counts(
    samples: NDArray[np.uint8] | NDArray[np.bool_], *, threads: int | None = None
) -> dict[str, NDArray[np.uint32]]: ...
def pass_probabilities(
    n: NDArray[np.uint32],
    c: NDArray[np.uint32],
    k: NDArray[np.uint32],
    *,
    estimator: str = "unbiased",
    success: str = "any",
    threads: int | None = None,
) -> _Floats: ...

# bootstrap
def bootstrap_bayesian(
    totals: NDArray[np.float64],
    sizes: NDArray[np.float64] | None,
    offsets: NDArray[np.uintp],
    units: NDArray[np.uint64],
    n_resamples: int,
    rng_seed: int,
    *,
    threads: int | None = None,
) -> NDArray[np.float64]: ...
def bootstrap_binomial(
    ones: _Addresses,
    n: _Addresses,
    units: _Addresses,
    n_resamples: int,
    rng_seed: int,
    *,
    threads: int | None = None,
) -> _Floats: ...
def bootstrap_counts(
    offsets: _Offsets,
    units: _Addresses,
    n_resamples: int,
    rng_seed: int,
    *,
    scheme: str = "multinomial",
    block_length: int = 1,
    threads: int | None = None,
) -> NDArray[np.uint16]: ...
def bootstrap_crossed(
    totals: _Floats,
    sizes: _Floats | None,
    row_offsets: _Offsets,
    row_units: _Addresses,
    offsets: _Offsets,
    units: _Addresses,
    n_resamples: int,
    rng_seed: int,
    *,
    scheme: str = "multinomial",
    block_length: int = 1,
    threads: int | None = None,
) -> _Floats: ...
def bootstrap_estimates(
    totals: _Floats,
    sizes: _Floats | None,
    offsets: _Offsets,
    *,
    macro_mean: bool = False,
    threads: int | None = None,
) -> dict[str, _Floats]: ...
def bootstrap_interval(
    values: _Floats,
    estimates: _Floats,
    accelerations: _Floats,
    method: str,
    confidence_level: float,
    *,
    threads: int | None = None,
) -> dict[str, _Floats | NDArray[np.bool_]]: ...
def bootstrap_means(
    totals: _Floats,
    sizes: _Floats | None,
    offsets: _Offsets,
    units: _Addresses,
    n_resamples: int,
    rng_seed: int,
    *,
    macro_mean: bool = False,
    scheme: str = "multinomial",
    block_length: int = 1,
    threads: int | None = None,
) -> _Floats: ...
def bootstrap_nested(
    values: _Floats,
    offsets: _Offsets,
    row_offsets: _Offsets,
    units: _Addresses,
    n_resamples: int,
    rng_seed: int,
    *,
    threads: int | None = None,
) -> _Floats: ...
def bootstrap_quantiles(
    values: _Floats,
    probabilities: _Floats,
    offsets: _Offsets,
    units: _Addresses,
    n_resamples: int,
    rng_seed: int,
    *,
    scheme: str = "multinomial",
    block_length: int = 1,
    threads: int | None = None,
) -> _Floats: ...
def bootstrap_studentised(
    totals: _Floats,
    sizes: _Floats | None,
    offsets: _Offsets,
    units: _Addresses,
    n_resamples: int,
    rng_seed: int,
    *,
    threads: int | None = None,
) -> tuple[_Floats, _Floats]: ...
def bootstrap_t_interval(
    values: _Floats,
    replicate_stderrs: _Floats,
    estimates: _Floats,
    stderrs: _Floats,
    confidence_level: float,
    *,
    threads: int | None = None,
) -> dict[str, _Floats]: ...
def bootstrap_trinomial(
    up: _Addresses,
    down: _Addresses,
    n: _Addresses,
    units: _Addresses,
    n_resamples: int,
    rng_seed: int,
    *,
    threads: int | None = None,
) -> _Floats: ...

# smoothness
def monotonicity_ar1(
    tau: _Floats,
    n: NDArray[np.uint64],
    rho: _Floats,
    n_resamples: int,
    rng_seed: int,
    *,
    threads: int | None = None,
) -> _Floats: ...
def smoothness_groups(
    values: _Floats, offsets: _Offsets, *, threads: int | None = None
) -> dict[str, _Floats | NDArray[np.uint64]]: ...

# distributions
def expected_range(members: _Floats, *, threads: int | None = None) -> _Floats: ...
def normal_cdf(x: _Floats, *, threads: int | None = None) -> _Floats: ...
def normal_quantile(p: _Floats, *, threads: int | None = None) -> _Floats: ...
def t_cdf(t: _Floats, df: _Floats, *, threads: int | None = None) -> _Floats: ...
def t_quantile(p: _Floats, df: _Floats, *, threads: int | None = None) -> _Floats: ...
def f_quantile(p: _Floats, df1: _Floats, df2: _Floats, *, threads: int | None = None) -> _Floats: ...
def beta_cdf(x: _Floats, a: _Floats, b: _Floats, *, threads: int | None = None) -> _Floats: ...
def beta_quantile(p: _Floats, a: _Floats, b: _Floats, *, threads: int | None = None) -> _Floats: ...
def chi2_quantile(p: _Floats, df: _Floats, *, threads: int | None = None) -> _Floats: ...
def studentised_range_cdf(
    q: _Floats, members: _Floats, df: _Floats, *, threads: int | None = None
) -> _Floats: ...
def studentised_range_quantile(
    p: _Floats, members: _Floats, df: _Floats, *, threads: int | None = None
) -> _Floats: ...
def autocorrelation_factors(
    n: _Floats, rho: _Floats, *, threads: int | None = None
) -> dict[str, _Floats]: ...

# json
@final
class Text:
    """Strings, some null: ``polars.Series(name, text)`` takes them without a copy."""

    def __len__(self) -> int: ...
    def __arrow_c_array__(self, requested_schema: object | None = None) -> tuple[object, object]: ...

def read_json_lines(
    paths: Sequence[str | os.PathLike[str]],
    *,
    skip: Sequence[str] | None = None,
    only: Sequence[str] | None = None,
    odd: Sequence[str] | None = None,
    max_line_bytes: int = 67108864,
    max_depth: int = 512,
    stop: Callable[[], bool] | None = None,
    threads: int | None = None,
) -> dict[str, Any]: ...

# `stop` is asked now and then whether to give up with KeyboardInterrupt.
# Keys: file, line (uint32); fields: name to kind (uint8), number (float64 or None), text (Text or None) and place
# (uint32 or None), which of the texts each row has; problems: (file, line, reason, excerpt) of the first 100 rows left
# out; n_problems.

# archive
def archive_names(
    path: str | os.PathLike[str], *, threads: int | None = None
) -> list[tuple[str, int, int]]: ...
def archive_read(
    path: str | os.PathLike[str], names: Sequence[str], *, max_bytes: int, threads: int | None = None
) -> list[bytes]: ...
