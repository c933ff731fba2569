"""Draws of items for statistics of several numbers at once, and the flags that intervals over items come with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .._bootstrap import FEW_INSTANCES, effective_clusters
from .._bootstrap_replicates import Found
from .._bootstrap_samples import Sample
from .._kernels import kernels
from .._mean_intervals import FEW_CLUSTERS, too_skewed
from ._samples import RepeatedSamples

Floats = NDArray[np.float64]


def sample_of(loaded: RepeatedSamples, group: int, values: Floats) -> Sample:
    """What a group has of the values of all items, as it is drawn."""
    return loaded.sample(group, values[loaded.starts[group] : loaded.starts[group + 1]])


def item_counts(
    cluster_sizes: NDArray[np.intp], unit: int, n_resamples: int, rng_seed: int, threads: int | None
) -> Floats:
    """How often each draw (rows) holds each item, whole clusters at a time; clusters lie one after the other."""
    drawn = kernels().bootstrap_counts(
        np.array([0, len(cluster_sizes)], dtype=np.uintp),
        np.array([unit], dtype=np.uint64),
        n_resamples,
        rng_seed,
        threads=threads,
    )
    return np.repeat(drawn, cluster_sizes, axis=1).astype(float)


def sample_flags(
    loaded: RepeatedSamples, groups: NDArray[np.intp], samples: Sequence[Sample], found: Found | None = None
) -> dict[str, NDArray[np.bool_]]:
    """Flags of rows of a result, each about a group of items."""
    sizes = [np.diff(sample.members) for sample in samples]
    n_items = np.array([len(sample.values) for sample in samples], dtype=np.intp)
    effective = effective_clusters(sizes)
    n_clusters = np.array([len(own) for own in sizes], dtype=np.intp)
    flags = {
        "missing_values": (loaded.counts.sum_horizontal().to_numpy() > 0)[groups],
        "mixed_config": np.full(len(groups), "config" in loaded.joined),
        "few_instances": n_items < FEW_INSTANCES,
        "few_clusters": (n_clusters < n_items) & (effective < FEW_CLUSTERS),
    }
    if found is not None:
        flags["skewed"] = too_skewed(found.skewness, effective)
        flags["percentile_fallback"] = found.fallback
    return flags
