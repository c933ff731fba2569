"""Twins of ``_sampling``'s items tried again and again: trial by trial, sample by sample, as the definitions read."""

from __future__ import annotations

import math
from collections import Counter
from itertools import combinations, permutations


def pass_until_replay(right: list[bool], required: int, budget: int | None = None) -> tuple[int, int]:
    """Successes and trials of one item whose samples come in this order, stopped at a success or by the budget."""
    successes = trials = 0
    for outcome in right:
        if successes == required or trials == budget:
            break
        trials += 1
        successes += outcome
    return successes, trials


def pass_until_rate(successes: int, trials: int, required: int, estimator: str = "unbiased") -> float:
    """Pass rate of one item: the share of the orders of its trials, all equally likely, that begin with a success.

    The last trial of an item stopped by its r-th success is that success: of the C(K-1, r-1) orders of the others
    C(K-2, r-2) begin with one. Of the C(N, s) orders of an item stopped by the budget C(N-1, s-1) do.
    """
    if trials == 0:
        return math.nan
    if estimator == "mle":
        return successes / trials
    if successes == required:
        if required == 1:
            return float(trials == 1)
        return math.comb(trials - 2, required - 2) / math.comb(trials - 1, required - 1)
    return math.comb(trials - 1, successes - 1) / math.comb(trials, successes) if successes else 0.0


def pass_until_likelihood(successes: list[int], trials: list[int], rates: list[float]) -> float:
    """Log-likelihood of one item over scales; an order of trials has the same in both ways of stopping."""
    return sum(
        s * math.log(p) + (n - s) * math.log1p(-p) for s, n, p in zip(successes, trials, rates, strict=True)
    )


def verifier_returns(samples: list[tuple[bool, bool]], tries: int) -> tuple[float, float, float, float]:
    """What up to so many tries return of one item, over all orders of its samples ``(correct, passes)``.

    Probabilities of a correct sample, an incorrect one and none, and the mean number of tries.
    """
    total = [0.0, 0.0, 0.0, 0.0]
    orders = list(permutations(samples, tries))
    for order in orders:
        outcome, tried = 2, 0
        for correct, passes in order:
            tried += 1
            if passes:
                outcome = 0 if correct else 1
                break
        total[outcome] += 1
        total[3] += tried
    return tuple(x / len(orders) for x in total)  # type: ignore[return-value]


def verifier_law(p: float, f: float, tries: int) -> tuple[float, float, float, float]:
    """The same of an item whose tries are correct and pass with probability p, are incorrect and pass with f."""
    reached = [(1 - p - f) ** before for before in range(tries)]
    return p * sum(reached), f * sum(reached), (1 - p - f) ** tries, sum(reached)


def majority_vote(answers: list[str | None], right: set[str], tries: int, ties: str = "uniform") -> float:
    """Probability that the most frequent answer of so many of the samples is right, over all subsets of them."""
    total = 0.0
    subsets = list(combinations(answers, tries))
    for subset in subsets:
        counts = Counter(answer for answer in subset if answer is not None)
        ahead = [answer for answer, count in counts.items() if count == max(counts.values())]
        share = sum(answer in right for answer in ahead) / max(len(ahead), 1)
        total += 0.5 if ties == "half" and 0 < share < 1 else share
    return total / len(subsets)
