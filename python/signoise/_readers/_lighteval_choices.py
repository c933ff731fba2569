"""Choices in details of lighteval: one row for each document.

    doc.choices, doc.gold_index                texts as they were scored, and the right one
    model_response.logprobs                    log-likelihood of each choice
    model_response.output_tokens               its tokens
    model_response.unconditioned_logprobs      its log-likelihood without the question, where the metric asked for it

Lengths are those of the texts with the blank before them, which is scored and counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from ._choices import Answered
from ._common import count_of, mapping, number_of

COLUMNS = ("doc", "model_response")
NO_RIGHT = (
    "a document must have one right choice (gold_index); such an instance has no metrics of its choices"
)
_RESPONSE = ("logprobs", "output_tokens", "unconditioned_logprobs")


def narrowed(schema: pl.Schema) -> list[pl.Expr]:
    """What is needed of both columns, as far as they have it."""
    wanted = {"doc": ("choices", "gold_index"), "model_response": _RESPONSE}
    return [
        pl.struct(
            pl.col(name).struct.field(field.name) for field in dtype.fields if field.name in wanted[name]
        ).alias(name)
        for name in COLUMNS
        if isinstance(dtype := schema.get(name), pl.Struct)
        and any(field.name in wanted[name] for field in dtype.fields)
    ]


def answered(doc: Any, response: Any) -> Answered | str | None:
    """Choices of one document, why there are none, or None where it has no log-likelihoods."""
    doc, response = mapping(doc), mapping(response)
    values = _numbers(response.get("logprobs"))
    texts = doc.get("choices")
    if not values or not isinstance(texts, list) or len(texts) != len(values):
        return None
    gold = doc.get("gold_index")
    right = count_of(gold[0] if isinstance(gold, list) and len(gold) == 1 else gold)
    if right is None or right >= len(values):
        return NO_RIGHT
    tokens = response.get("output_tokens")
    sizes = [float(len(text.encode("utf-8", "surrogatepass"))) for text in texts]
    return Answered(
        right=right,
        loglikelihood=values,
        characters=[float(len(text)) for text in texts],
        bytes=sizes,
        tokens=_lengths(tokens, len(values)),
        unconditional=_numbers(response.get("unconditioned_logprobs")) or None,
        scored_bytes=sizes,
    )


def _numbers(values: Any) -> list[float]:
    numbers = [number_of(value) for value in values] if isinstance(values, list) else []
    found = [number for number in numbers if number is not None]
    return found if len(found) == len(numbers) else []


def _lengths(tokens: Any, n: int) -> Sequence[float] | None:
    """Tokens of each choice."""
    if not isinstance(tokens, list) or len(tokens) != n:
        return None
    return [float(len(one)) for one in tokens] if all(isinstance(one, list) for one in tokens) else None
