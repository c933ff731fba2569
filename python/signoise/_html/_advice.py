"""The section "What to do": the sentences of `advise` about the scores of a report."""

from __future__ import annotations

from typing import Any

from .._errors import SignoiseError
from .._interventions._advice_words import in_words
from .._interventions._advise import make_advice
from .._report import Report


def advice(report: Report) -> list[str]:
    """What is advised, in ranked sentences, or why there is no advice; instances are left to the verb itself."""
    basis = report.basis
    sides = basis.sides
    # Early training against late is a question of the report's own; advice is about scales.
    decided: dict[str, Any] = {}
    if sides is not None and sides.kind != "stages":
        decided = {"small": sides.small, "target": sides.target, "match": sides.match}
    try:
        made = make_advice(
            basis.scores,
            **decided,
            window=basis.window,
            instances=False,
            choices=False,
            direction=basis.direction,
            confidence_level=basis.confidence_level,
            threads=basis.shared["threads"],
        )
    except SignoiseError as error:
        return [f"No advice: {error}"]
    return [
        made.headline,
        *in_words(made.table),
        f"Asked: {made.words}. More, with instances: signoise advise.",
    ]
