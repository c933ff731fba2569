"""The metrics of `signoise.reference.choice_metrics` for all instances at once."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
from numpy.typing import NDArray

from .._errors import ShapeError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_PROBABILITIES = ("correct_prob", "total_prob", "norm_correct_prob", "margin")

#: Metric -> what it needs beside log-likelihoods: lengths of all choices, or of the right one alone.
NEEDS: dict[str, str | None] = {
    "acc_raw": None,
    "acc_per_char": "characters",
    "acc_per_byte": "bytes",
    "acc_per_token": "tokens",
    "acc_uncond": "unconditional",
    "bits_per_byte": "scored_bytes",
    "correct_prob": None,
    "norm_correct_prob": None,
    "total_prob": None,
    "margin": None,
    "correct_prob_per_char": "characters",
    "norm_correct_prob_per_char": "characters",
    "total_prob_per_char": "characters",
    "margin_per_char": "characters",
    "correct_prob_per_byte": "bytes",
    "norm_correct_prob_per_byte": "bytes",
    "total_prob_per_byte": "bytes",
    "margin_per_byte": "bytes",
    "correct_prob_per_token": "tokens",
    "norm_correct_prob_per_token": "tokens",
    "total_prob_per_token": "tokens",
    "margin_per_token": "tokens",
    "brier_score": None,
    "sum_logits_corr": None,
    "logits_per_char_corr": "characters",
    "logits_per_token_corr": "tokens",
    "sum_logits_incorr": None,
}

#: Those that one choice alone has, too.
ALONE = (
    *("bits_per_byte", "sum_logits_corr", "logits_per_char_corr", "logits_per_token_corr"),
    *(name for name in NEEDS if name.startswith("correct_prob")),
)


def choice_metrics(
    loglikelihoods: Floats,
    offsets: Ints,
    correct: Ints,
    *,
    characters: Floats | None = None,
    bytes: Floats | None = None,  # noqa: A002 (the field's word for it)
    tokens: Floats | None = None,
    unconditional: Floats | None = None,
    scored_bytes: Floats | None = None,
) -> dict[str, Floats]:
    """As `signoise.reference.choice_metrics`, which is the definition.

    Raises
    ------
    ShapeError
        If an instance has no choice, or not the one that is said to be right.
    """
    sizes = np.diff(offsets)
    if len(correct) != len(sizes) or (sizes < 1).any() or int(np.sum(sizes)) != len(loglikelihoods):
        raise ShapeError(
            f"{len(loglikelihoods)} log-likelihoods, {len(correct)} right choices and offsets of {len(sizes)} "
            "instances do not fit: each instance needs one choice at least, and one right one"
        )
    if ((correct < 0) | (correct >= sizes)).any():
        raise ShapeError("correct must be the index of a choice of its instance, from 0")
    nowhere = np.full(len(loglikelihoods), np.nan)
    lengths = {
        "_per_char": _length(characters, nowhere),
        "_per_byte": _length(bytes, nowhere),
        "_per_token": _length(tokens, nowhere),
    }
    scored = lengths["_per_byte"] if scored_bytes is None else _length(scored_bytes, nowhere)
    each = _Choices(offsets, correct)
    out: dict[str, Floats] = {}
    with np.errstate(all="ignore"):
        for suffix, length in {"": None, **lengths}.items():
            logits = loglikelihoods if length is None else loglikelihoods / length
            out[f"acc{suffix or '_raw'}"] = each.accuracy(logits)
            for name, values in zip(_PROBABILITIES, each.probabilities(logits), strict=True):
                out[f"{name}{suffix}"] = values
        out["acc_uncond"] = each.accuracy(
            nowhere if unconditional is None else loglikelihoods - unconditional
        )
        out["brier_score"] = each.brier(loglikelihoods)
        right = np.where(np.isnan(each.largest(loglikelihoods)), np.nan, loglikelihoods[each.right])
        out["sum_logits_corr"] = right
        out["sum_logits_incorr"] = np.where(
            np.isnan(right) | (sizes < 2), np.nan, each.log_sum(each.wrong(loglikelihoods))
        )
        out["logits_per_char_corr"] = right / lengths["_per_char"][each.right]
        out["logits_per_token_corr"] = right / lengths["_per_token"][each.right]
        out["bits_per_byte"] = -right / scored[each.right] / math.log(2)
    return out


def _length(values: Floats | None, nowhere: Floats) -> Floats:
    return nowhere if values is None else np.where(values > 0, values, np.nan)


class _Choices:
    """Sums and maxima over the choices of each instance; what depends on other choices is NaN for one alone."""

    def __init__(self, offsets: Ints, correct: Ints) -> None:
        starts = offsets[:-1].astype(np.intp)
        sizes = np.diff(offsets)
        self.instance = np.repeat(np.arange(len(starts)), sizes)
        self.right = starts + correct
        self.several = sizes > 1
        self.largest = partial(np.maximum.reduceat, indices=starts) if len(starts) else np.asarray
        self._sum = partial(np.add.reduceat, indices=starts) if len(starts) else np.asarray
        self._starts = starts

    def accuracy(self, logits: Floats) -> Floats:
        top = self.largest(logits)
        place = np.where(logits == top[self.instance], np.arange(len(logits)), len(logits))
        first = np.minimum.reduceat(place, self._starts) if len(self._starts) else place
        return np.where(np.isnan(top) | ~self.several, np.nan, first == self.right)

    def wrong(self, logits: Floats) -> Floats:
        """The same without the right choices, which become impossible."""
        others = logits.copy()
        others[self.right] = -np.inf
        return others

    def log_sum(self, logits: Floats) -> Floats:
        top = self.largest(logits)
        shift = np.where(np.isfinite(top), top, 0.0)
        return shift + np.log(self._sum(np.exp(logits - shift[self.instance])))

    def probabilities(self, logits: Floats) -> tuple[Floats, Floats, Floats, Floats]:
        """Of the right choice; of all; the right one's share; and how far it is above the best wrong one."""
        top = self.largest(logits)
        correct = np.where(np.isnan(top), np.nan, np.exp(logits[self.right]))
        total = self._sum(np.exp(logits))
        share = np.exp(logits[self.right] - self.log_sum(logits))
        margin = correct - np.exp(self.largest(self.wrong(logits)))
        undefined = np.isnan(top) | ~self.several
        total, share, margin = (np.where(undefined, np.nan, values) for values in (total, share, margin))
        return correct, total, share, margin

    def brier(self, logits: Floats) -> Floats:
        share = np.exp(logits - self.log_sum(logits)[self.instance])
        share[self.right] -= 1.0
        return np.where(self.several, self._sum(share * share), np.nan)
