"""Instance rows of OLMES: ``task-NNN-<task>-predictions.jsonl``, one object for each instance.

Its ``metrics`` hold the scores. The key of an instance is ``native_id:doc_id``, as native ids repeat within a task.
"""

from __future__ import annotations

import io
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .._metrics import lookup
from ._common import mapping
from ._dump import Batch, Part
from ._files import Found, clean
from ._json_lines import NUMBER, OBJECT, Field, Lines, read_lines
from ._report import ReadReport
from ._rows import parsed, score_of

ALIASES = {
    "logits_per_byte": "bits_per_byte",
    "logits_per_byte_corr": "bits_per_byte",
    "bits_per_byte_corr": "bits_per_byte",
}
"""Other names of one metric."""

BOOKKEEPING = re.compile(r"correct_choice|predicted_index_.*|num_(?:bytes|chars|words|tokens)(?:_.*)?")
"""Indices of choices and counts of what was scored, which are no scores."""

PRIMARY = "primary_score"
BITS, LOGITS, SIZE = "bits_per_byte", "sum_logits_corr", "num_bytes"

SKIPPED = ("model_output", "task_hash", "model_hash", "doc", "request_type", "task_name")
"""Fields of rows that are checked to be sound JSON and not kept."""
_NO_METRICS = "a prediction must have an object of metrics; evaluate the instance again"
_NO_ID = "a prediction must have a native_id or a doc_id; evaluate the instance again"
_WEIGHT = "_n_bytes"


@dataclass(frozen=True)
class Note:
    """What loading a part needs beside its file."""

    requests: Found | None
    primary: str | None
    stored: Mapping[str, Any]
    """The tool's own scores of the task."""


def is_loss(metric: str | None) -> bool:
    """Whether lower is better: a primary score that is bits per byte would be taken for the contrary."""
    known = lookup(metric) if metric else None
    return known is not None and known.direction == "lower"


def load(parts: Sequence[Part], report: ReadReport) -> tuple[Batch, int, int]:
    """A batch, the number of files with a sound row, and of rows read.

    ``bits_per_byte`` of instances are averaged plainly by the tool, so they carry no weights, but for tasks whose own
    score is the ratio of sums (perplexity tasks, whose rows have ``num_bytes``).
    """
    files = [part.file for part in parts]
    lines = read_lines(files, report, skip=SKIPPED)
    ids = instance_ids(lines)
    metrics = field_of(lines, "metrics")
    sound = (metrics.kind == OBJECT) & ids.is_not_null().to_numpy()
    for row in np.flatnonzero(~sound).tolist():
        reason = _NO_ID if metrics.kind[row] == OBJECT else _NO_METRICS
        report.drop(reason, files[int(lines.file[row])].label, int(lines.line[row]))
    keep = pl.Series(sound)
    part_of = lines.file[sound]
    rows = pl.DataFrame(
        {
            "part": pl.Series(part_of, dtype=pl.UInt32),
            "instance_id": ids.filter(keep),
            "line": pl.Series(lines.line[sound], dtype=pl.UInt32),
        }
    )
    scores = _scores(metrics.text.filter(keep), part_of, files, report)
    weight = np.full(rows.height, np.nan)
    for at, part in enumerate(parts):
        mine = part_of == at
        if mine.any():
            scores = _completed(scores, mine, rows, part, report)
            if (sizes := _pooled(scores, mine, part.note)) is not None:
                weight[mine] = sizes
    scores = scores.drop(SIZE, strict=False)
    names = sorted(name for name in scores.columns if scores[name].null_count() < scores.height)
    rows = rows.hstack(scores.select(names))
    weights = {}
    if not np.isnan(weight).all():
        rows = rows.with_columns(pl.Series(_WEIGHT, np.where(np.isnan(weight), 1.0, weight)))
        weights = {BITS: _WEIGHT}
    batch = Batch(parts=parts, rows=rows, metrics=names, weights=weights)
    return batch, len(np.unique(lines.file)), len(lines.line)


# --- scores


def _scores(
    texts: pl.Series, part_of: NDArray[np.uint32], files: Sequence[Found], report: ReadReport
) -> pl.DataFrame:
    """A Float64 column for each metric under its one name, and ``num_bytes``."""
    decoded = _at_once(texts)
    if decoded is None:
        decoded, strange = _one_by_one(texts.to_list(), part_of.tolist())
        for (part, name), count in strange.items():
            label = files[part].label
            report.note(f"{label}: {name} is no number in {count} of its rows, and left out there")
    return _one_name_each(decoded)


def _at_once(texts: pl.Series) -> pl.DataFrame | None:
    """Objects of numbers, true, false and null only, types the same throughout; else None (0.1 of the time)."""
    try:
        frame = pl.read_ndjson(io.BytesIO("\n".join(texts.to_list()).encode()), infer_schema_length=None)
    except pl.exceptions.PolarsError:
        return None
    plain = all(dtype.is_numeric() or dtype in (pl.Boolean, pl.Null) for dtype in frame.dtypes)
    if not plain or frame.height != len(texts):
        return None
    names = [name for name in frame.columns if name == SIZE or not BOOKKEEPING.fullmatch(name)]
    return frame.select(pl.col(names).cast(pl.Float64))


def _one_by_one(
    texts: Sequence[str | None], part_of: Sequence[int]
) -> tuple[pl.DataFrame, Counter[tuple[int, str]]]:
    """The same for whatever JSON there is, and how often something was no score."""
    columns: dict[str, list[float | None]] = {}
    strange: Counter[tuple[int, str]] = Counter()
    for row, text in enumerate(texts):
        for name, value in mapping(parsed(text)).items():
            if name != SIZE and BOOKKEEPING.fullmatch(name):
                continue
            is_score, number = score_of(value)
            if is_score:
                columns.setdefault(clean(name), [None] * len(texts))[row] = number
            else:
                strange[part_of[row], clean(name)] += 1
    return pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.Float64)), strange


def _one_name_each(frame: pl.DataFrame) -> pl.DataFrame:
    names: dict[str, list[str]] = {}
    for name in frame.columns:
        names.setdefault(ALIASES.get(name, name), []).append(name)
    return frame.select(pl.coalesce(same).alias(name) for name, same in names.items())


def _completed(
    scores: pl.DataFrame, mine: NDArray[np.bool_], rows: pl.DataFrame, part: Part, report: ReadReport
) -> pl.DataFrame:
    """Bits per byte where a part lacks them, and its primary score."""
    note: Note = part.note
    mask = pl.Series(mine)

    def knows(name: str) -> bool:
        return name in scores.columns and bool((scores[name].is_not_null() & mask).any())

    def put(name: str, values: pl.Series) -> pl.DataFrame:
        before = (
            scores[name]
            if name in scores.columns
            else pl.repeat(None, len(mask), dtype=pl.Float64, eager=True)
        )
        return scores.with_columns(values.zip_with(mask, before).alias(name))

    wanted = knows(LOGITS) and not knows(BITS)
    if wanted and note.requests is not None and (sizes := _continuation_bytes(note.requests, report)):
        n_bytes = rows["instance_id"].replace_strict(sizes, default=None, return_dtype=pl.Float64)
        scores = put(BITS, -scores[LOGITS] / math.log(2) / n_bytes)
    primary = note.primary and ALIASES.get(note.primary, note.primary)
    if is_loss(primary):
        if knows(PRIMARY):
            scores = put(PRIMARY, pl.repeat(None, len(mask), dtype=pl.Float64, eager=True))
    elif primary and knows(primary) and not knows(PRIMARY):
        scores = put(PRIMARY, scores[primary])
    return scores


def _pooled(scores: pl.DataFrame, mine: NDArray[np.bool_], note: Note) -> NDArray[np.float64] | None:
    """Bytes of the instances, if the stored bits per byte are the ratio of sums and not the plain mean."""
    total = next((note.stored[name] for name in (BITS, *ALIASES) if name in note.stored), None)
    if not isinstance(total, (int, float)) or not {BITS, SIZE} <= set(scores.columns):
        return None
    own = scores.filter(pl.Series(mine)).select(BITS, SIZE)
    if own.null_count().sum_horizontal().item() or not (own[SIZE] > 0).all():
        return None
    values, sizes = own[BITS].to_numpy(), own[SIZE].to_numpy()
    plain = math.fsum(values) / len(values)
    pooled = math.fsum(values * sizes) / math.fsum(sizes)
    return sizes if abs(pooled - total) <= 1e-9 * max(1.0, abs(total)) < abs(plain - total) else None


def _continuation_bytes(requests: Found, report: ReadReport) -> dict[str, int]:
    """UTF-8 bytes (at least 1) of the right choice of each instance."""
    lines = read_lines([requests], report, skip=SKIPPED)
    ids = instance_ids(lines).to_list()
    choice, label = field_of(lines, "idx").number, field_of(lines, "label").number
    found: dict[str, int] = {}
    for row, text in enumerate(field_of(lines, "request").text.to_list()):
        single = np.isnan(choice[row]) or np.isnan(label[row])
        name = ids[row]
        if name is None or text is None or (not single and choice[row] != label[row]):
            continue
        continuation = mapping(parsed(text)).get("continuation")
        if isinstance(continuation, str):
            found[name] = max(len(continuation.encode("utf-8", "surrogatepass")), 1)
    return found


# --- fields


def field_of(lines: Lines, name: str) -> Field:
    """A field, also where no row has it."""
    return lines.fields.get(name) or Field.absent(len(lines.line))


def instance_ids(lines: Lines) -> pl.Series:
    """``native_id:doc_id``, either of which may be missing; null where both are."""
    fields = {name: field_of(lines, name) for name in ("native_id", "doc_id")}
    frame = pl.DataFrame({name: _id_texts(field) for name, field in fields.items()})
    both = pl.concat_str(pl.col("native_id").fill_null(""), pl.lit(":"), pl.col("doc_id").fill_null(""))
    return frame.select(
        pl.when(pl.any_horizontal(pl.all().is_not_null())).then(both).alias("instance_id")
    ).to_series()


def _id_texts(field: Field) -> pl.Series:
    number = pl.Series(field.number)
    whole = number.cast(pl.Int64, strict=False)
    frame = pl.DataFrame({"text": field.text, "kind": field.kind, "number": number, "whole": whole})
    digits = pl.when(pl.col("whole") == pl.col("number")).then(pl.col("whole").cast(pl.String))
    return frame.select(
        # Whole numbers that a float cannot hold come as their digits.
        pl.when(pl.col("text").is_not_null())
        .then(pl.col("text"))
        .when(pl.col("kind") == NUMBER)
        .then(digits.otherwise(pl.col("number").cast(pl.String)))
    ).to_series()
