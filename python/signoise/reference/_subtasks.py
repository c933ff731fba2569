"""Definitions of subtask selection, as the published loop computes it: a mask over instances, means, ranks, every step.

``signoise/_interventions`` gives the same numbers from covariances of subtasks. Here scores are instance scores
(n_runs, n_checkpoints, n_instances), each run is a member, and `subtask` is the number of each instance's subtask. One
column a subtask gives unions of subtask scores.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

#: Relative differences of SNRs that are rounding, hence ties.
TIE = 1e-10


def union_scores(scores: Floats, subtask: Ints, chosen: Sequence[int], how: str = "macro") -> Floats:
    """Scores of a union, (n_runs, n_checkpoints): the mean of its instances (micro), or of its subtasks' means."""
    if how == "micro":
        return scores[..., np.isin(subtask, list(chosen))].mean(axis=-1)
    return np.mean([scores[..., subtask == one].mean(axis=-1) for one in chosen], axis=0)


def union_snr(
    scores: Floats,
    subtask: Ints,
    chosen: Sequence[int],
    *,
    how: str = "macro",
    noise: str = "within",
    ddof: int = 1,
    relative: bool = True,
) -> tuple[float, float, float]:
    """Signal, noise and SNR of a union of subtasks; NaN where there is no noise or no mean to divide by."""
    union = union_scores(scores, subtask, chosen, how)
    members = union.mean(axis=1)
    signal = float(members.max() - members.min())
    variances = union.var(axis=1, ddof=ddof)
    sd = math.sqrt(variances.mean()) if noise == "within" else float(np.sqrt(variances).mean())
    if relative:
        mean, noise_mean = float(members.mean()), float(union.mean())
        if mean == 0 or noise_mean == 0:
            return math.nan, math.nan, math.nan
        signal, sd = signal / abs(mean), sd / abs(noise_mean)
    return signal, sd, signal / sd if sd > 0 else math.nan


def subtask_order(scores: Floats, subtask: Ints, rule: str, **options: Any) -> list[int]:
    """Subtasks in the order of a rule: ``"snr"``, ``"greedy"`` or ``"backward"``; what has no SNR comes last."""
    every = list(range(int(subtask.max()) + 1))

    def snr(chosen: Sequence[int]) -> float:
        value = union_snr(scores, subtask, chosen, **options)[2] if chosen else math.nan
        return -1.0 if math.isnan(value) else value

    if rule == "snr":
        alone = [snr([one]) for one in every]
        return sorted(every, key=lambda one: (-alone[one], one))
    order: list[int] = []
    while len(order) < len(every):
        left = [one for one in every if one not in order]
        unions = [
            [*order, one] if rule == "greedy" else [other for other in left if other != one] for one in left
        ]
        values = [snr(union) for union in unions]
        best = max(values)
        order.append(left[next(i for i, value in enumerate(values) if value >= best - TIE * abs(best))])
    return order if rule == "greedy" else order[::-1]


def union_agreement(
    small: Floats, target: Floats, subtask: Ints, chosen: Sequence[int], how: str = "macro"
) -> float:
    """Decision accuracy of a union between two scales, ties one half; scores are (n_members, n_instances)."""
    a, b = (union_scores(side[:, None], subtask, chosen, how)[:, 0].round(12) for side in (small, target))
    return float(
        np.mean(
            [(1 + np.sign(a[i] - a[j]) * np.sign(b[i] - b[j])) / 2 for i, j in combinations(range(len(a)), 2)]
        )
    )


def subtask_gain(
    scores: Floats,
    subtask: Ints,
    halves: Sequence[tuple[Sequence[int], Sequence[int]]],
    rule: str,
    size: int | None = None,
    **options: Any,
) -> Floats:
    """Differences of log SNR, chosen minus all: chosen on the first half of the members, judged on the second.

    A `size` of None is the one whose SNR is largest where the choice is made.
    """
    every = list(range(int(subtask.max()) + 1))
    gains = []
    for mine, others in halves:
        order = subtask_order(scores[list(mine)], subtask, rule, **options)
        if size is None:
            curve = [
                union_snr(scores[list(mine)], subtask, order[:k], **options)[2]
                for k in range(1, len(order) + 1)
            ]
            best = int(np.nanargmax(curve)) + 1
        else:
            best = size
        judged = [
            union_snr(scores[list(others)], subtask, union, **options)[2] for union in (order[:best], every)
        ]
        gains.append(math.log(judged[0]) - math.log(judged[1]))
    return np.array(gains)
