"""Choices in predictions of OLMES: ``model_output`` holds one object for each.

    sum_logits, sum_logits_uncond    log-likelihoods
    num_tokens, num_chars            lengths of the continuation, the blank before it counted
    bits_per_byte | logits_per_byte  -sum_logits / ln 2 / bytes

Bytes are ``num_bytes``, else those of the continuation in the requests file, else what the bits per byte were divided
by where that is a whole number. The right choice is ``correct_choice`` of ``metrics``, else ``label``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from ._choices import Answered, Choices, collected
from ._common import count_of, mapping, number_of
from ._dump import Part
from ._files import Found
from ._json_lines import read_lines
from ._olmes_predictions import ALIASES, BITS, SKIPPED, field_of, instance_ids
from ._report import ReadReport
from ._rows import parsed

#: Metrics of an instance that `choice_metrics` computes again.
OWN = (
    *("acc_raw", "acc_per_token", "acc_per_char", "acc_per_byte", "acc_uncond"),
    *("sum_logits_corr", "logits_per_token_corr", "logits_per_char_corr", BITS),
)

_SKIP = tuple(name for name in SKIPPED if name != "model_output")
_BITS = tuple(name for name in (BITS, *ALIASES) if not name.endswith("_corr"))
_NO_RIGHT = (
    "a prediction must say which choice is right (correct_choice, or label: an index); such an instance has no "
    "metrics of its choices"
)
_WHOLE = 1e-6
"""How far from a whole number, relatively, bytes may lie that are found by division."""


def load(parts: Sequence[Part], report: ReadReport) -> tuple[Choices, int, int]:
    """Choices, the number of files with a sound row, and of rows read."""
    files = [part.file for part in parts]
    lines = read_lines(files, report, skip=_SKIP)
    ids = instance_ids(lines)
    names = ids.to_list()
    outputs, scores = (field_of(lines, name).text.to_list() for name in ("model_output", "metrics"))
    label = field_of(lines, "label").number.tolist()
    sizes = [_continuation_sizes(part.note.requests, report) for part in parts]
    answers: list[Answered | None] = []
    own: dict[str, list[float]] = {name: [] for name in OWN}
    for row, at in enumerate(lines.file.tolist()):
        stored = mapping(parsed(scores[row]))
        for name, values in own.items():
            values.append(_stored(stored, name))
        choices = _with_logits(parsed(outputs[row]))
        if not choices or names[row] is None:
            answers.append(None)
            continue
        right = count_of(stored.get("correct_choice"), label[row])
        if right is None or right >= len(choices):
            report.drop(_NO_RIGHT, files[at].label, int(lines.line[row]))
            answers.append(None)
            continue
        written = [sizes[at].get((names[row], k)) for k in range(len(choices))]
        answers.append(_answer(choices, right, written))
    rows = pl.DataFrame(
        {
            "part": pl.Series(lines.file, dtype=pl.UInt32),
            "instance_id": ids,
            "line": pl.Series(lines.line, dtype=pl.UInt32),
        }
    )
    found = collected(rows, answers, {name: np.array(values) for name, values in own.items()})
    return found, len(np.unique(lines.file)), len(lines.line)


def _with_logits(output: Any) -> list[Mapping[str, Any]]:
    """Objects of choices, if each has a log-likelihood; a generation has none."""
    choices: list[Mapping[str, Any]] = [mapping(one) for one in output] if isinstance(output, list) else []
    return choices if all(number_of(one.get("sum_logits")) is not None for one in choices) else []


def _answer(choices: Sequence[Mapping[str, Any]], right: int, written: Sequence[int | None]) -> Answered:
    numbers = {
        name: [_number(one, name) for one in choices]
        for name in ("sum_logits", "num_chars", "num_tokens", "sum_logits_uncond")
    }
    sizes = [
        _bytes(one, value, size)
        for one, value, size in zip(choices, numbers["sum_logits"], written, strict=True)
    ]
    return Answered(
        right=right,
        loglikelihood=numbers["sum_logits"],
        characters=numbers["num_chars"],
        bytes=sizes,
        tokens=numbers["num_tokens"],
        unconditional=numbers["sum_logits_uncond"],
        scored_bytes=sizes,
    )


def _number(values: Mapping[str, Any], name: str) -> float:
    number = number_of(values.get(name))
    return math.nan if number is None else number


def _bytes(choice: Mapping[str, Any], value: float, written: int | None) -> float:
    counted = count_of(choice.get("num_bytes"), written)
    if counted is not None:
        return float(counted)
    bits = next((bits for name in _BITS if (bits := number_of(choice.get(name))) is not None), math.nan)
    if not (bits > 0 and math.isfinite(value)):
        return math.nan
    size = -value / math.log(2) / bits
    return float(round(size)) if abs(size - round(size)) <= _WHOLE * size else math.nan


def _stored(metrics: Mapping[str, Any], name: str) -> float:
    names = (name, *(alias for alias, ours in ALIASES.items() if ours == name))
    return next((number for one in names if (number := number_of(metrics.get(one))) is not None), math.nan)


def _continuation_sizes(requests: Found | None, report: ReadReport) -> dict[tuple[str, int], int]:
    """UTF-8 bytes (at least 1) of each choice of each instance."""
    if requests is None:
        return {}
    lines = read_lines([requests], report, skip=SKIPPED)
    ids = instance_ids(lines).to_list()
    index = field_of(lines, "idx").number.tolist()
    found: dict[tuple[str, int], int] = {}
    for row, text in enumerate(field_of(lines, "request").text.to_list()):
        name, choice = ids[row], count_of(index[row])
        continuation = mapping(parsed(text)).get("continuation")
        if name is not None and choice is not None and isinstance(continuation, str):
            found[name, choice] = max(len(continuation.encode("utf-8", "surrogatepass")), 1)
    return found
