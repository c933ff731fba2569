"""Checkpoint averaging: the score table again, one smoothed value a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import polars as pl

from ._duplicates import Duplicates
from ._encode import encode
from ._kernels import kernels
from ._options import check_choice, check_count
from ._schema import SCORE_IDENTITY
from ._scores import Filter, Groups, Scores, load, warn_notes


def average_checkpoints(
    scores: Scores,
    *,
    window: int = 5,
    how: Literal["mean", "ema"] = "mean",
    min_checkpoints: int = 1,
    where: Filter = None,
    order: str = "tokens",
    groups: Groups = None,
    columns: Mapping[str, str] | None = None,
    duplicates: Duplicates = "raise",
    strict: bool = False,
    threads: int | None = None,
) -> pl.DataFrame:
    """Replace each checkpoint's score by a trailing average; no checkpoint looks ahead.

    ``"mean"``: mean of the last `window` scores up to the checkpoint. ``"ema"``: y_t = (1 - a) y_{t-1} + a x_t with
    a = 2/(window + 1).

    Parameters
    ----------
    scores, where, order, groups, columns, duplicates, strict, threads
        As in `snr`.
    window
        Number of checkpoints.
    how
        ``"mean"`` or ``"ema"``.
    min_checkpoints
        Leave out checkpoints with fewer scores so far; ``min_checkpoints=window`` keeps full windows alone.

    Returns
    -------
    DataFrame
        The score table with its other columns; rows without a score are left out, ``stderr`` (of a single
        checkpoint) is dropped. Sorted by score, run and order.

    Notes
    -----
    This averages scores, not weights. Averaging n independent checkpoints divides noise by sqrt(n); autocorrelation
    makes it less.

    References
    ----------
    Heineman et al. 2025, arXiv 2508.13144, section 5 (averaging checkpoints).

    Examples
    --------
    >>> import signoise as sn
    >>> scores = sn.example_scores()
    >>> sn.average_checkpoints(scores, window=3).height == scores.height
    True
    """
    check_count("window", window)
    check_count("min_checkpoints", min_checkpoints)
    check_choice("how", how, ("mean", "ema"))
    table = load(
        scores,
        columns=columns,
        where=where,
        groups=groups,
        keep_all=True,
        duplicates=duplicates,
        strict=strict,
        threads=threads,
    )
    frame = table.frame.drop("stderr", strict=False)
    encoded = encode(
        frame,
        by=[name for name in SCORE_IDENTITY if name in frame.columns],
        members=("run",),
        order=order,
        duplicates=duplicates,
    )
    warn_notes([*table.notes, *encoded.notes])
    values, _, offsets, filled = encoded.select()
    kernel = kernels().trailing_mean if how == "mean" else kernels().trailing_ema
    smoothed = kernel(values, offsets, window, threads=threads)
    bounds = offsets.astype(np.intp)
    place = np.full(len(encoded.heads), -1, dtype=np.intp)
    place[filled] = np.arange(len(filled))
    order_of = place[encoded.canonical]
    pieces = [np.arange(bounds[s], bounds[s + 1]) for s in order_of[order_of >= 0]]
    rows = np.concatenate(pieces or [np.zeros(0, dtype=np.intp)])
    number = np.arange(len(values)) - np.repeat(bounds[:-1], np.diff(bounds)) + 1
    rows = rows[number[rows] >= min_checkpoints]
    source = np.flatnonzero(encoded.rows())[rows]
    source = source if encoded.row is None else encoded.row[source]
    return frame[source].with_columns(pl.Series("value", smoothed[rows]))


__all__: Sequence[str] = ["average_checkpoints"]
