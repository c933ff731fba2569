"""Every metric that the log-likelihoods of an instance's choices give: the definitions, one instance at a time.

l_c   log-likelihood of choice c (nats), c* the right one, K choices
m_c   its length: characters, bytes or tokens; u_c its unconditional log-likelihood
x     one of: raw x_c = l_c,  per_char, per_byte, per_token x_c = l_c / m_c,  uncond x_c = l_c - u_c

acc_x            1 if c* is the first of the largest x_c, else 0
correct_prob     exp x_{c*}
total_prob       sum_c exp x_c
norm_correct_prob  exp x_{c*} / sum_c exp x_c = q_{c*}
margin           exp x_{c*} - max_{c != c*} exp x_c
brier_score      sum_c (q_c - 1[c = c*])^2                             of the raw q alone
sum_logits_corr  l_{c*};  logits_per_char_corr, logits_per_token_corr  l_{c*} / m_{c*}
sum_logits_incorr  log sum_{c != c*} exp l_c
bits_per_byte    -l_{c*} / ln 2 / scored bytes of c*
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_LENGTHS = ("per_char", "per_byte", "per_token")


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
    """Every metric of every instance.

    Parameters
    ----------
    loglikelihoods : ndarray of float64 (n_choices_in_all,)
        Nats; those of an instance stand together.
    offsets : ndarray of int (n_instances + 1,)
        Instance i has the choices ``offsets[i]:offsets[i + 1]``, at least one.
    correct : ndarray of int (n_instances,)
        Index of the right choice among those of its instance.
    characters, bytes, tokens : ndarray of float64 (n_choices_in_all,), optional
        Lengths of the choices; NaN where unknown.
    unconditional : ndarray of float64 (n_choices_in_all,), optional
        Log-likelihoods without the question; NaN where unknown.
    scored_bytes : ndarray of float64 (n_choices_in_all,), optional
        Bytes whose log-likelihood was taken, for ``bits_per_byte``; default `bytes`. They differ where a harness does
        not count the blank between question and answer.

    Returns
    -------
    dict of str to ndarray of float64 (n_instances,)
        NaN where undefined: a log-likelihood is NaN, a length is unknown or 0, or one choice alone has nothing to be
        compared with (all but the probabilities and log-likelihoods of the right choice).
    """
    given: dict[str, Floats | None] = {
        "per_char": characters,
        "per_byte": bytes,
        "per_token": tokens,
        "uncond": unconditional,
        "scored": bytes if scored_bytes is None else scored_bytes,
    }
    rows = []
    for i, c in enumerate(correct):
        mine = slice(int(offsets[i]), int(offsets[i + 1]))
        rows.append(
            _instance(
                [float(value) for value in loglikelihoods[mine]],
                int(c),
                {
                    name: [math.nan] * (mine.stop - mine.start)
                    if column is None
                    else [float(value) for value in column[mine]]
                    for name, column in given.items()
                },
            )
        )
    names = _instance([-1.0], 0, {name: [math.nan] for name in given})
    return {name: np.array([row[name] for row in rows], dtype=np.float64) for name in names}


def _instance(logits: list[float], c: int, given: Mapping[str, list[float]]) -> dict[str, float]:
    forms = {"raw": logits} | {
        name: [_ratio(value, length) for value, length in zip(logits, given[name], strict=True)]
        for name in _LENGTHS
    }
    out: dict[str, float] = {}
    for name, x in forms.items():
        suffix = "" if name == "raw" else f"_{name}"
        out |= {f"acc_{name}": _accuracy(x, c)}
        out |= {f"{metric}{suffix}": value for metric, value in _probabilities(x, c).items()}
    out["acc_uncond"] = _accuracy([a - b for a, b in zip(logits, given["uncond"], strict=True)], c)
    sound = not any(map(math.isnan, logits))
    total = _log_sum(logits)
    shares = [math.exp(value - total) if total > -math.inf else math.nan for value in logits]
    brier = sum((share - (k == c)) ** 2 for k, share in enumerate(shares))
    out["brier_score"] = brier if len(logits) > 1 else math.nan
    right = logits[c] if sound else math.nan
    out["sum_logits_corr"] = right
    out["sum_logits_incorr"] = (
        _log_sum(logits[:c] + logits[c + 1 :]) if sound and len(logits) > 1 else math.nan
    )
    out["logits_per_char_corr"] = _ratio(right, given["per_char"][c])
    out["logits_per_token_corr"] = _ratio(right, given["per_token"][c])
    out["bits_per_byte"] = -_ratio(right, given["scored"][c]) / math.log(2)
    return out


def _ratio(value: float, length: float) -> float:
    return value / length if length > 0 else math.nan


def _accuracy(x: list[float], c: int) -> float:
    if len(x) < 2 or any(map(math.isnan, x)):
        return math.nan
    return float(x.index(max(x)) == c)


def _probabilities(x: list[float], c: int) -> dict[str, float]:
    names = ("correct_prob", "total_prob", "norm_correct_prob", "margin")
    if any(map(math.isnan, x)):
        return dict.fromkeys(names, math.nan)
    if len(x) < 2:
        return dict.fromkeys(names, math.nan) | {"correct_prob": math.exp(x[c])}
    chances = [math.exp(value) for value in x]
    total = _log_sum(x)
    share = math.exp(x[c] - total) if total > -math.inf else math.nan
    others = max(chances[:c] + chances[c + 1 :])
    return dict(zip(names, (chances[c], sum(chances), share, chances[c] - others), strict=True))


def _log_sum(x: list[float]) -> float:
    if any(map(math.isnan, x)):
        return math.nan
    top = max(x)
    return top + math.log(sum(math.exp(value - top) for value in x)) if top > -math.inf else top
