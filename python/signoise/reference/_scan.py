"""Twin of the streaming scan of Parquet files: the same groups from whole tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from polars.exceptions import PolarsError


def aggregate_parquet(
    paths: Sequence[str],
    keys: Sequence[str],
    values: Sequence[str],
    *,
    by: int,
    inner: Sequence[bool],
    identity: str | None = None,
    constant: Sequence[str] | None = None,
    progress: Callable[[int, int], None] | None = None,
    threads: int | None = None,
) -> dict[str, Any]:
    """Moments of groups of rows over Parquet files.

    Parameters
    ----------
    paths : sequence of str
    keys : sequence of str
        Columns whose values name a cell; the first `by` of them name a group.
    values : sequence of str
        Columns of scores.
    by, inner, constant
        As in the kernel; `inner` and `constant` only matter to its speed.
    identity : str, optional
        Column that names the instances: a group is doubtful where one of its cells holds an instance twice, or a row
        without one.

    Returns
    -------
    dict
        ``labels`` of each by-column (sorted), ``codes`` into them for each group (uint32), ``moments`` of each group,
        its score columns one after the other (``n`` uint64; ``n_null, n_nan, n_plus, n_minus`` uint32; ``mean, m2, min,
        max`` of the finite scores float64), ``doubtful`` (bool) and ``rows``. Groups are in the order of their labels.
    """
    del inner, progress, threads
    columns = list(dict.fromkeys([*keys, *values, *([identity] if identity else []), *(constant or [])]))
    frame = pl.concat([pl.read_parquet(path, columns=columns, glob=False) for path in paths])
    frame = frame.with_columns(
        pl.col(name).cast(pl.String) for name in keys if frame[name].dtype == pl.Categorical
    )
    labels = [frame[name].unique().sort().to_list() for name in keys[:by]]
    groups = frame.select(keys[:by]).unique().sort(keys[:by])
    codes = [
        np.array([labels[at].index(label) for label in groups[name]], dtype=np.uint32)
        for at, name in enumerate(keys[:by])
    ]
    doubtful: list[bool] = []
    sums: list[dict[str, Any]] = []
    for key in groups.iter_rows():
        rows = frame.filter(
            pl.all_horizontal(
                pl.col(name).eq_missing(label) for name, label in zip(keys[:by], key, strict=True)
            )
        )
        seen = rows.select(*keys[by:], identity) if identity else rows.select(pl.lit(0)).head(1)
        doubtful.append(
            bool(seen.is_duplicated().any() or (identity is not None and rows[identity].null_count() > 0))
        )
        sums += [_moments(rows[column].cast(pl.Float64)) for column in values]
    return {
        "doubtful": np.array(doubtful, dtype=bool),
        "labels": labels,
        "codes": codes,
        "moments": {name: np.array([row[name] for row in sums], dtype=_DTYPES[name]) for name in _DTYPES},
        "rows": frame.height,
    }


_DTYPES = {
    "n": np.uint64,
    **dict.fromkeys(("n_null", "n_nan", "n_plus", "n_minus"), np.uint32),
    **dict.fromkeys(("mean", "m2", "min", "max"), np.float64),
}


def _moments(column: pl.Series) -> dict[str, Any]:
    there = column.drop_nulls().to_numpy()
    finite = there[np.isfinite(there)]
    n = len(finite)
    mean = finite.mean() if n else np.nan
    if n and finite.min() == finite.max():
        mean = finite[0]
    return {
        "n": n,
        "n_null": column.null_count(),
        "n_nan": int(np.isnan(there).sum()),
        "n_plus": int((there == np.inf).sum()),
        "n_minus": int((there == -np.inf).sum()),
        "mean": mean,
        "m2": ((finite - mean) ** 2).sum() if n else np.nan,
        "min": finite.min() if n else np.inf,
        "max": finite.max() if n else -np.inf,
    }


def parquet_footers(paths: Sequence[str], *, threads: int | None = None) -> dict[str, NDArray[Any]]:
    """Rows and layouts of Parquet files.

    Parameters
    ----------
    paths : sequence of str
    threads : int, optional
        Without effect.

    Returns
    -------
    dict
        ``rows`` of each file, 0 where it is none, and its ``layout``: equal numbers where the columns are the same,
        -1 where it is none.
    """
    del threads
    numbers: dict[Any, int] = {}
    rows, layouts = [], []
    for path in paths:
        try:
            table = pl.scan_parquet(path, glob=False)
            layout = tuple(table.collect_schema().items())
            height = int(table.select(pl.len()).collect().item())
        except (PolarsError, OSError):
            layout, height = None, 0
        rows.append(height)
        layouts.append(-1 if layout is None else numbers.setdefault(layout, len(numbers)))
    return {"rows": np.array(rows, dtype=np.uint64), "layout": np.array(layouts, dtype=np.int64)}
