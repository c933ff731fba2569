"""Choices in samples of lm-evaluation-harness: the log-likelihood of each continuation, and its text.

    arguments        {"gen_args_0": {"arg_0": context, "arg_1": continuation}, ..}; 0.4.2: [[context, continuation], ..]
    filtered_resps   [["-33.9", "False"], ..]: log-likelihood, and whether it is the model's own first choice
    target           index of the right choice (a number, or its digits), or its text

The continuation is scored with the delimiter before it (``target_delimiter`` of the task, a blank unless it says
otherwise; none with a chat template), so its bytes are those of ``bits_per_byte``. ``acc_norm`` and ``acc_bytes``
divide by the length of the choice without the delimiter: so do characters and bytes here. Of the pairs that the harness
adds for ``acc_mutual_info``, known by their empty contexts, come the unconditional log-likelihoods. Tokens are not
recorded.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ._choices import Answered
from ._common import mapping
from ._json_lines import BOOL, NUMBER, Field, Lines
from ._rows import parsed

#: The harness' name -> ours.
OWN = {
    "acc": "acc_raw",
    "acc_norm": "acc_per_char",
    "acc_bytes": "acc_per_byte",
    "acc_mutual_info": "acc_uncond",
}

_UNMATCHED = (
    "as many log-likelihoods as continuations are needed to tell choices apart; evaluate the task again"
)
_NO_TARGET = (
    "the target must say which choice is right (its index, or the text of one choice alone); such an instance has no "
    "metrics of its choices"
)


class Unknown(Exception):
    """Why the choices of an instance cannot be used."""


def answered(lines: Lines, delimiters: Sequence[str]) -> tuple[list[Answered | str | None], dict[str, Any]]:
    """Choices of each row, why there are none, or None where none were asked for; and the harness' own metrics.

    Parameters
    ----------
    lines
        Rows with ``arguments``, ``resps``, ``filtered_resps`` and ``target``.
    delimiters
        Of each row's task.
    """
    rows = len(lines.line)
    columns = {name: _field(lines, name) for name in ("arguments", "resps", "filtered_resps")}
    target = _field(lines, "target")
    own = {ours: _numbers(_field(lines, theirs)) for theirs, ours in OWN.items()}
    texts = zip(*(column.text.to_list() for column in columns.values()), strict=True)
    goals = zip(target.number.tolist(), target.text.to_list(), strict=True)
    found: list[Answered | str | None] = []
    for row, ((arguments, raw, filtered), goal) in enumerate(zip(texts, goals, strict=True)):
        pairs = _pairs(parsed(filtered)) or _pairs([one[0] for one in _lists(parsed(raw)) if one])
        if not pairs:
            found.append(None)
            continue
        try:
            found.append(_instance(pairs, parsed(arguments), goal, delimiters[row], own["acc_raw"][row]))
        except Unknown as error:
            found.append(str(error))
    alone = np.array(
        [isinstance(one, Answered) and len(one.loglikelihood) < 2 for one in found] or [False] * rows
    )
    # Of one continuation alone the harness' acc is whether the model would have written it.
    return found, {name: np.where(alone, np.nan, values) for name, values in own.items()}


def _field(lines: Lines, name: str) -> Field:
    return lines.fields.get(name) or Field.absent(len(lines.line))


def _numbers(field: Field) -> Any:
    return np.where((field.kind == NUMBER) | (field.kind == BOOL), field.number, np.nan)


def _lists(value: Any) -> list[list[Any]]:
    return [one for one in value if isinstance(one, list)] if isinstance(value, list) else []


def _pairs(responses: Any) -> list[float]:
    """Log-likelihoods, if each response is one beside a truth value."""
    found = []
    for response in responses if isinstance(responses, list) else []:
        if not (isinstance(response, list) and len(response) == 2 and _is_flag(response[1])):
            return []
        try:
            found.append(float(response[0]))
        except (TypeError, ValueError):
            return []
    return found


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool) or (isinstance(value, str) and value.lower() in ("true", "false"))


def _instance(
    values: list[float], arguments: Any, goal: tuple[float, str | None], delimiter: str, own: float
) -> Answered:
    asked = _asked(arguments)
    if len(asked) != len(values):
        raise Unknown(_UNMATCHED)
    unconditional = None
    half = len(values) // 2
    without = [not context for context, _ in asked]
    if len(values) == 2 * half and sum(without) == half:
        place = sorted(range(len(values)), key=lambda k: (without[k], k))
        values = [values[k] for k in place]
        asked = [asked[k] for k in place]
        unconditional, values, asked = values[half:], values[:half], asked[:half]
    texts = [text for _, text in asked]
    bare = (
        [text[len(delimiter) :] for text in texts] if all(t.startswith(delimiter) for t in texts) else texts
    )
    return Answered(
        right=_right(goal, texts, bare, values, own),
        loglikelihood=values,
        characters=[len(text) for text in bare],
        bytes=[_bytes(text) for text in bare],
        unconditional=unconditional,
        scored_bytes=[_bytes(text) for text in texts],
    )


def _asked(arguments: Any) -> list[tuple[str, str]]:
    """Context and continuation of each choice."""
    if isinstance(arguments, Mapping):
        numbered = sorted(arguments.items(), key=lambda item: (len(item[0]), item[0]))
        pairs: list[Any] = [[mapping(one).get("arg_0"), mapping(one).get("arg_1")] for _, one in numbered]
    else:
        pairs = _lists(arguments)
    return [
        (pair[0], pair[1])
        for pair in pairs
        if len(pair) == 2 and isinstance(pair[0], str) and isinstance(pair[1], str)
    ]


def _bytes(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


def _right(
    goal: tuple[float, str | None], texts: list[str], bare: list[str], values: list[float], own: float
) -> int:
    """The index of the right choice; nothing is guessed where target and texts leave it open."""
    if len(texts) == 1:
        return 0
    number, text = goal
    if not math.isnan(number):
        index = int(number)
        if index == number and 0 <= index < len(texts):
            return index
        raise Unknown(_NO_TARGET)
    same = {k for k, (whole, short) in enumerate(zip(texts, bare, strict=True)) if text in (whole, short)}
    if text is not None and text.isdecimal() and int(text) < len(texts):
        same.add(int(text))
    if len(same) == 1:
        return same.pop()
    if len(values) == 2 and own in (0.0, 1.0) and not any(map(math.isnan, values)):
        # Contexts that differ before one continuation (WinoGrande): of two choices the harness' verdict tells.
        first = int(values[1] > values[0])
        return first if own == 1.0 else 1 - first
    raise Unknown(_NO_TARGET)
