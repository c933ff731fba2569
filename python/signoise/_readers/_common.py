"""What the readers of several harnesses share: small conversions, the columns of result rows, re-runs."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import polars as pl

from .._schema import COLUMNS
from ._dump import LABELS
from ._files import clean
from ._report import ReadReport, Rerun

RESULT_COLUMNS: dict[str, pl.DataType] = {
    **{name: dtype for name, dtype in LABELS.items() if name != "source"},
    **{name: COLUMNS[name] for name in ("metric", "filter", "value", "stderr", "n", "source")},
    "higher_is_better": pl.Boolean(),
}
"""Columns of the result rows of a harness, in order."""

RESULT_KEY = tuple(RESULT_COLUMNS)[: tuple(RESULT_COLUMNS).index("filter") + 1]

_STAMP = re.compile(
    r"(\d{4}-\d\d-\d\d)[T ](\d\d)[-:](\d\d)[-:](\d\d)(?:\.(\d{1,6})\d*)?(Z|[-+]\d\d[-:]\d\d)?"
)
_INT64 = 2**63


def mapping(value: Any) -> dict[str, Any]:
    """The object itself, or an empty one where there is something else."""
    return value if isinstance(value, dict) else {}


def text_of(value: Any) -> str | None:
    """Text that says something."""
    return value.strip() if isinstance(value, str) and value.strip() else None


def count_of(*candidates: Any) -> int | None:
    """The first that is a count: a whole number from 0, not a bool."""
    for value in candidates:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            continue
        if 0 <= value < _INT64 and value == int(value):
            return int(value)
    return None


def number_of(value: Any) -> float | None:
    """A finite or infinite float or NaN; None for what is no number (a bool is one)."""
    if isinstance(value, (int, float)):
        try:
            return float(value)
        except OverflowError:
            return math.inf if value > 0 else -math.inf
    return None


def seconds_of(text: Any) -> float | None:
    """A time stamp in a text or file name (``:`` or ``-`` in the time) in seconds; without a zone it is UTC."""
    match = _STAMP.search(text) if isinstance(text, str) else None
    if match is None:
        return None
    day, hour, minute, second, fraction, zone = match.groups()
    zone = "+00:00" if zone in (None, "Z") else zone[:3] + ":" + zone[4:]
    try:
        moment = datetime.fromisoformat(f"{day}T{hour}:{minute}:{second}{zone}")
    except ValueError:
        return None
    return moment.astimezone(timezone.utc).timestamp() + int((fraction or "0").ljust(6, "0")) / 1e6


def config_text(pairs: Mapping[str, Any]) -> str | None:
    """``name=value`` pairs in name order; what is None is left out."""
    written = [
        f"{one_word(name)}={one_word(value)}" for name, value in sorted(pairs.items()) if value is not None
    ]
    return ",".join(written) or None


def one_word(value: Any) -> str:
    """A value as it stands in a pair: without commas, equals signs and white space."""
    if isinstance(value, bool):
        return str(value).lower()
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return clean(re.sub(r"[,=\s]+", "_", text.strip()))[:200]


def place(path: Path) -> str:
    """File name and the two folders above it: further up, a number is more likely about something else."""
    return "/".join(path.absolute().parts[1:][-3:])


def results_frame(rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame | None:
    """Result rows as a table; None if there are none."""
    if not rows:
        return None
    return pl.DataFrame(
        {name: [row.get(name) for row in rows] for name in RESULT_COLUMNS}, schema=RESULT_COLUMNS
    )


def newest(
    frame: pl.DataFrame,
    report: ReadReport | None,
    *,
    stamps: Mapping[str, float | None] | None = None,
    key: Sequence[str] = RESULT_KEY,
) -> pl.DataFrame:
    """Of result rows with one key, those of the newest time stamp, in their order; equal stamps stay.

    The time of a row is that of its source in ``stamps``, else its column ``_stamp``. With a ``report``, what gave way
    is told there.
    """
    if stamps is not None:
        times = pl.DataFrame(
            {"source": list(stamps), "_stamp": list(stamps.values())},
            schema={"source": pl.String, "_stamp": pl.Float64},
        )
        frame = frame.join(times, on="source", how="left", maintain_order="left")
    names = [name for name in frame.columns if name != "_stamp"]
    key = list(key)
    if not frame.select(key).is_duplicated().any():
        return frame.select(names)
    best = frame.group_by(key).agg(
        _newest=pl.col("_stamp").max(), _kept=pl.col("source").sort_by("_stamp", nulls_last=False).last()
    )
    frame = frame.join(best, on=key, how="left", nulls_equal=True, maintain_order="left")
    older = (pl.col("_stamp") < pl.col("_newest")).fill_null(value=False)
    if report is not None:
        lost = frame.filter(older).group_by(["run", "revision", "_kept", "source"], maintain_order=True).len()
        report.reruns += [
            Rerun(run, revision, kept, source, rows) for run, revision, kept, source, rows in lost.iter_rows()
        ]
    return frame.filter(~older).select(names)


class Columns:
    """Columns of a batch, filled row by row; a metric that appears late is null before."""

    def __init__(self) -> None:
        self.part: list[int] = []
        self.instance_id: list[str | None] = []
        self.repeat: list[int] = []
        self.cluster: list[str | None] = []
        self.filter: list[str | None] = []
        self.line: list[int] = []
        self.values: dict[str, list[float | None]] = {}

    def add(
        self,
        part: int,
        instance_id: str,
        values: Mapping[str, float | None],
        *,
        line: int,
        repeat: int = 0,
        cluster: str | None = None,
        scorer: str | None = None,
    ) -> None:
        """Append one row."""
        at = len(self.part)
        self.part.append(part)
        self.instance_id.append(instance_id)
        self.repeat.append(repeat)
        self.cluster.append(cluster)
        self.filter.append(scorer)
        self.line.append(line)
        for name, value in values.items():
            column = self.values.setdefault(name, [])
            column.extend([None] * (at - len(column)))
            column.append(value)

    def frame(self) -> pl.DataFrame:
        """The rows; clusters and filters only where there are some."""
        rows = len(self.part)
        for column in self.values.values():
            column.extend([None] * (rows - len(column)))
        columns: list[pl.Series] = [
            pl.Series("part", self.part, pl.UInt32),
            pl.Series("instance_id", self.instance_id, pl.String),
            pl.Series("repeat", self.repeat, pl.Int32),
        ]
        if any(value is not None for value in self.cluster):
            columns.append(pl.Series("cluster", self.cluster, pl.String))
        if any(value is not None for value in self.filter):
            columns.append(pl.Series("filter", self.filter, pl.String))
        columns.append(pl.Series("line", self.line, pl.UInt32))
        columns += [pl.Series(name, values, pl.Float64) for name, values in self.values.items()]
        return pl.DataFrame(columns)
