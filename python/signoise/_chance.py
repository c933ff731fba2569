"""Accuracy of guessing on well-known multiple-choice tasks.

Only tasks with one fixed number of options are listed, where no choice is controversial; everything else is
None, never 0. ARC has a few items with 3 or 5 options (mean chance 0.2503 and 0.2508 in the usual splits):
0.25 is close enough for a flag. Generation tasks have no chance level. Tasks whose classes are unbalanced are
listed at the level of uniform guessing, not of the majority class.
"""

from __future__ import annotations

import math
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from ._errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Mapping

_HALF = (
    "boolq piqa winogrande wsc wsc273 winograd copa storycloze xstorycloze xcopa rte wic qnli mrpc sst2 cola "
    "blimp"
)
_THIRD = "socialiqa social_iqa siqa mnli mnli_mismatch anli_r1 anli_r2 anli_r3 pubmedqa xnli"
_QUARTER = (
    "arc_easy arc_challenge arc_e arc_c hellaswag swag openbookqa obqa sciq mmlu logiqa logiqa2 race "
    "race_high race_middle medmcqa medqa medqa_4options cosmosqa cmmlu"
)
_FIFTH = "csqa commonsense_qa commonsenseqa mathqa"

_LEVELS: dict[str, float] = {
    **dict.fromkeys(_HALF.split(), 1 / 2),
    **dict.fromkeys(_THIRD.split(), 1 / 3),
    **dict.fromkeys(_QUARTER.split(), 1 / 4),
    **dict.fromkeys(_FIFTH.split(), 1 / 5),
}
# First match wins. MMLU-Pro has up to ten options, and fewer for some items: no single level.
_PATTERNS: list[tuple[str, float | None]] = [
    ("mmlu_pro*", None),
    ("mmlu_*", 1 / 4),
    ("hendryckstest_*", 1 / 4),
    ("cmmlu_*", 1 / 4),
    ("blimp_*", 1 / 2),
    ("xcopa_*", 1 / 2),
    ("xstorycloze_*", 1 / 2),
    ("xnli_*", 1 / 3),
]


def chance_level(task: str, declared: Mapping[str, float] | None = None) -> float | None:
    """Expected accuracy of guessing uniformly among the options of ``task``, or None where it is not known.

    It applies to accuracies only (``signoise._metrics.is_accuracy``).

    Parameters
    ----------
    task : str
        Upper case, ``-`` for ``_`` and what follows a ``:`` (``arc_easy:rc::olmes``) do not matter.
    declared : mapping of str to float, optional
        Levels by task or glob; they win.

    Raises
    ------
    OptionError
        If a declared level is not between 0 and 1.

    Examples
    --------
    >>> chance_level("arc_easy"), chance_level("hendrycksTest-virology"), chance_level("gsm8k")
    (0.25, 0.25, None)
    """
    for pattern, level in (declared or {}).items():
        if task == pattern or fnmatchcase(task, pattern):
            if not (isinstance(level, (int, float)) and math.isfinite(level) and 0 <= level <= 1):
                raise OptionError(
                    f"chance level of task {pattern!r} is {level!r}; it must be a number from 0 to 1"
                )
            return float(level)
    bare = task.partition(":")[0].strip().lower().replace("-", "_")
    if bare in _LEVELS:
        return _LEVELS[bare]
    return next((level for pattern, level in _PATTERNS if fnmatchcase(bare, pattern)), None)
