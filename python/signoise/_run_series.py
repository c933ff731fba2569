"""Each run's series of checkpoints by itself: what `smoothness`, `plateau` and `time_to_target` look along."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from ._duplicates import Duplicates
from ._encode import Encoded, encode
from ._errors import SchemaError
from ._schema import RUN_IDENTITY, did_you_mean


def encode_runs(
    frame: pl.DataFrame, *, by: Sequence[str], runs: Sequence[str], order: str, duplicates: Duplicates
) -> tuple[Encoded, list[str]]:
    """Scores with a group for each run, and the columns that joined the key to tell runs of one name apart.

    Raises
    ------
    SchemaError
        A column of `runs` (the option ``across``) that the table does not have; else as `encode`.
    """
    for name in runs:
        if name not in frame.columns:
            raise SchemaError(
                f"across: the table has no column {name!r}{did_you_mean(name, frame.columns)} "
                f"(it has {', '.join(frame.columns)})"
            )
    apart = _telling_apart(frame, runs)
    key = list(dict.fromkeys([*by, *runs, *apart]))
    return encode(frame, by=key, members=runs, order=order, duplicates=duplicates), apart


def _telling_apart(frame: pl.DataFrame, runs: Sequence[str]) -> list[str]:
    """Columns, such as the seed, by which several runs share one name."""
    candidates = [name for name in RUN_IDENTITY if name in frame.columns and name not in runs]
    if not candidates:
        return []
    most = frame.group_by(list(runs)).agg(pl.col(candidates).n_unique()).select(pl.col(candidates).max())
    return [name for name in candidates if (most[name][0] or 0) > 1]
