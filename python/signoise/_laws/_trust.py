"""How far to trust what laws foretell, in plain words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ._forecasts import COMBINATIONS
from ._splits import BASELINES

Row = Mapping[str, Any]
#: Scales below which errors are an anecdote.
_FEW = 3
#: Predictions that lie further apart than this many mean errors disagree.
_APART = 2.0


def sentence(rows: Sequence[Row], scale: str, n_near: int, too_few: str) -> str:
    """What the rows of a group, best first, say together; `scale` was predicted, `n_near` forms are near the best."""
    if too_few:
        return f"Nothing was tested: {too_few}."
    laws = [row for row in rows if row["kind"] == "law" and np.isfinite(row["error"])]
    guess = next(row for row in rows if row["law"] in BASELINES)
    if not laws or not np.isfinite(laws[0]["skill"]):
        return "No law could be held against a scale that it had not seen."
    selected = next(row for row in rows if row["law"] == COMBINATIONS[0])
    parts = _of_scales(scale, laws[0], guess, selected)
    if np.isfinite(selected["predicted"]):
        parts += _of_target(selected, n_near)
    return " ".join(parts)


def _of_scales(scale: str, best: Row, guess: Row, selected: Row) -> list[str]:
    """Of the scales that were predicted."""
    n = guess["n_scales"]
    scales = f"{n} scale{'s' * (n > 1)} of {scale}{' (few)' * (n < _FEW)}"
    if best["skill"] <= 0:
        return [
            f"Do not extrapolate: over {scales} no law foretold the next one better than {guess['law']} "
            f"({_percent(guess['error'])} off)."
        ]
    found = [
        f"Over {scales} {best['law']} foretold the next one best, {_percent(best['error'])} off on average and "
        f"{_percent(best['worst'])} at worst ({guess['law']}: {_percent(guess['error'])})."
    ]
    if n > 1 and selected["skill"] <= 0:
        found.append(
            f"But whichever law was best so far then did no better than {guess['law']} "
            f"({_percent(selected['error'])} off): do not trust the choice."
        )
    elif n > 1:
        found.append(
            f"Whichever law was best so far was then {_percent(selected['error'])} off: expect that, not less."
        )
    return found


def _of_target(selected: Row, n_near: int) -> list[str]:
    """Of a target."""
    away, n_far = selected["extrapolation"], selected["n_far"]
    place = f"lies {away:.3g} times beyond what is known" if away > 1 else "lies within what is known"
    if n_far:
        tries = f"{n_far} tr{'ies' if n_far > 1 else 'y'}"
        found = [
            f"The target {place}; that far ahead the choice was {_percent(selected['error_far'])} off ({tries})."
        ]
    else:
        found = [f"The target {place}, and nothing that far ahead could be tested."]
    if n_near > 1:
        low, high = selected["lowest"], selected["highest"]
        apart = (high - low) / abs(0.5 * (low + high)) if low + high else np.inf
        words = "agree" if apart <= _APART * selected["error"] else "disagree"
        found.append(f"There the {n_near} forms near the best {words}: {low:.4g} to {high:.4g}.")
    return found


def _percent(share: float) -> str:
    """A share in percent, to two digits."""
    return f"{100 * share:.2g} %" if share < 0.995 else f"{100 * share:.0f} %"
