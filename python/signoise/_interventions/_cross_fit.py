"""The gain of a selection out of sample: chosen on one half of everything, judged on the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ._halves import Plan, Recipe, draw_halves
from ._items import Items
from ._selection import RULES, RandomUnions, nested_weights
from ._union import Samples

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]


@dataclass(frozen=True)
class Gains:
    """Of one rule and size, against the full set (0) and against random ones of equal size (1)."""

    out_of_sample: Floats
    """log SNR differences, (2, n_splits, 2 halves to choose on)."""
    in_sample: Floats
    """The same where all scores choose and judge, (2)."""
    sizes: Ints
    """Subtasks chosen, (n_splits, 2)."""
    whole_size: int
    """Subtasks that all scores choose."""


def cross_fit(
    recipe: Recipe,
    weights: Floats,
    rules: Sequence[str],
    sizes: Mapping[str, int | None],
    plan: Plan,
    n_random: int,
    items: Items | None = None,
) -> dict[tuple[str, str], Gains]:
    """Gains by rule and size; a size of None is the one whose SNR is best where the choice is made."""
    found: dict[tuple[str, str], list[tuple[Floats, Ints]]] = {
        (rule, size): [] for rule in rules for size in sizes
    }
    for first, samples in draw_halves(recipe, plan, items):
        n = len(samples) // 2
        other = np.roll(np.arange(2 * n), n)
        judges = _taken(samples, other)
        splits = np.tile(np.arange(first, first + n), 2)
        for key, (gains, chosen) in _judged(
            samples, judges, weights, rules, sizes, n_random, plan.key, splits + 1
        ).items():
            found[key].append((gains.reshape(2, 2, n).swapaxes(1, 2), chosen.reshape(2, n).T))
    whole = recipe.whole()
    all_in = _judged(whole, whole, weights, rules, sizes, n_random, plan.key, np.zeros(1, dtype=np.intp))
    return {
        key: Gains(
            np.concatenate([gains for gains, _ in parts], axis=1),
            all_in[key][0][:, 0],
            np.concatenate([chosen for _, chosen in parts]),
            int(all_in[key][1][0]),
        )
        for key, parts in found.items()
    }


def _taken(samples: Samples, which: Ints) -> Samples:
    return Samples(
        samples.scores[which],
        samples.noise_mean[which],
        samples.covariance[which],
        samples.shares[which],
        samples.relative,
    )


def _judged(
    choosers: Samples,
    judges: Samples,
    weights: Floats,
    rules: Sequence[str],
    sizes: Mapping[str, int | None],
    n_random: int,
    key: tuple[int, int],
    split: Ints,
) -> dict[tuple[str, str], tuple[Floats, Ints]]:
    """For each rule and size the log SNR differences (2, n_samples) and the numbers chosen (n_samples)."""
    at = np.arange(len(choosers))
    full = _logs(judges, np.broadcast_to(weights, (len(at), 1, len(weights))))[:, 0]
    # Unions are measured in one go: those of all rules and sizes, then as many random ones of each size in use.
    chosen: dict[tuple[str, str], Ints] = {}
    unions: list[Floats] = []
    for rule in rules:
        nested = nested_weights(RULES[rule](choosers, weights), weights)
        snr = choosers.measure(nested).snr
        best = np.argmax(np.where(np.isnan(snr), -np.inf, snr), axis=1) + 1
        for name, size in sizes.items():
            chosen[rule, name] = best if size is None else np.full(len(at), size)
            unions.append(nested[at, chosen[rule, name] - 1])
    logs = _logs(judges, np.stack(unions, axis=1))
    by_chance = _random_logs(judges, weights, np.stack(list(chosen.values()), axis=1), n_random, key, split)
    return {
        name: (np.stack([logs[:, place] - full, logs[:, place] - by_chance[:, place]]), count)
        for place, (name, count) in enumerate(chosen.items())
    }


def _random_logs(
    judges: Samples, weights: Floats, sizes: Ints, n_random: int, key: tuple[int, int], split: Ints
) -> Floats:
    """Mean log SNR of random unions of each sample's `sizes`, (n_samples, n_sizes)."""
    out = np.empty(sizes.shape)
    # Both halves of a split see the same random unions.
    unions = {number: RandomUnions(weights, n_random, key, number) for number in np.unique(split).tolist()}
    for sample, number in enumerate(split.tolist()):
        own, where = np.unique(sizes[sample], return_inverse=True)
        random = np.concatenate([unions[number].of(int(size)) for size in own])
        logs = _logs(_taken(judges, np.array([sample])), random)[0].reshape(len(own), n_random)
        out[sample] = logs.mean(axis=1)[where]
    return out


def _logs(samples: Samples, weights: Floats) -> Floats:
    with np.errstate(all="ignore"):
        logs = np.log(samples.measure(weights).snr)
    # A signal of 0 has no logarithm.
    return np.where(np.isfinite(logs), logs, np.nan)
