"""The section "What to do": the sentences of `advise` about the scores of a report."""

from __future__ import annotations

import warnings
from typing import Any

from .._errors import SignoiseError, SignoiseWarning
from .._interventions._advice_words import headline, in_words, scales
from .._interventions._advise import advise
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
        with warnings.catch_warnings():
            # The report has said what there is to say of these rows.
            warnings.simplefilter("ignore", SignoiseWarning)
            table = advise(
                basis.scores,
                per="question",
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
    return [headline(table), *in_words(table), f"{scales(table)} More, with instances: signoise advise."]
