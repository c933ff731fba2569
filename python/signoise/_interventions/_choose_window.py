"""The verb `choose_window`: how many checkpoints to average, and what that gains on scores the choice has not seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .._addresses import WINDOW_SPLITS, group_addresses
from .._decisions import FEW_MEMBERS as FEW_DECIDING
from .._duplicates import Duplicates
from .._encode import Encoded
from .._errors import OptionError
from .._measure import FEW_MEMBERS
from .._options import check_choice, check_count, check_level, check_seed, signature
from .._scores import Filter, Groups, Scores
from .._status import Statuses, check_strict, flag_lists
from ._averages import HOWS
from ._member_halves import (
    LEAST_MEMBERS,
    Choices,
    Values,
    agreement_values,
    log_snr_values,
    random_halves,
)
from ._smoothed import (
    SIDES,
    WINDOWS,
    Members,
    Study,
    average_variance,
    averaged_scores,
    check_windows,
    open_study,
    signs_of,
    stretch,
    up_to,
    with_masks,
)

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
Mask = NDArray[np.bool_]

#: Checkpoints left out between the block that chooses and the one that evaluates.
GAP = 1


@dataclass(frozen=True)
class _Block:
    """Averaged scores of the members of every group on one block of checkpoints, a row for each window."""

    first: list[Members]
    """Of the small side, or of all rows."""
    second: list[Members]
    """Of the target; empty without sides."""
    variances: Floats
    """Noise variance of an average, (n_windows, n_members) beside `first`; used for the SNR alone."""
    usable: Mask
    """Whether each group has the checkpoints for each window, (n_groups, n_windows)."""
    smallest: Ints
    """Smallest number of checkpoints of a run that is averaged, by group."""


def choose_window(
    scores: Scores,
    *,
    windows: Sequence[int] = WINDOWS,
    how: Literal["mean", "ema"] = "mean",
    small: Filter = None,
    target: Filter = None,
    side: Literal["small", "target", "both"] = "both",
    at: float | None = None,
    measure: Literal["decision_accuracy", "snr"] | None = None,
    split: Literal["members_and_checkpoints", "members"] = "members_and_checkpoints",
    n_splits: int = 20,
    match: str | Sequence[str] | None = None,
    by: str | Sequence[str] = ("task", "metric"),
    where: Filter = None,
    across: str | Sequence[str] = "run",
    last: int = 30,
    direction: Mapping[str, str] | None = None,
    order: str = "tokens",
    confidence_level: float = 0.95,
    rng_seed: int = 0,
    groups: Groups = None,
    columns: Mapping[str, str] | None = None,
    duplicates: Duplicates = "raise",
    strict: bool = False,
    threads: int | None = None,
) -> pl.DataFrame:
    """Choose how many trailing checkpoints to average, with the gain that the choice makes out of sample.

    Members are split into random halves; one half chooses the window that is best for it, on the earlier half of the
    last checkpoints, and the gain of that window over single checkpoints is taken on the other half of the members, on
    the later checkpoints. Then the halves change places; all of it `n_splits` times.

    Parameters
    ----------
    scores, by, where, across, order, groups, columns, duplicates, strict, threads
        As in `snr`; `across` only without `small` and `target`.
    windows, how, small, target, side, at, match, direction
        As in `averaging_gain`, with one side and one point to stop at. Of equally good windows the smallest is chosen.
    measure
        What to make large: ``"decision_accuracy"`` (default with `small` and `target`) or ``"snr"``, whose gain is the
        logarithm of the ratio of two SNRs (range over standard deviation, of the averaged side).
    split
        ``"members_and_checkpoints"``, or ``"members"`` alone where runs have few checkpoints: noise that runs share at
        one step then helps the choice.
    n_splits
        Random splits into halves.
    last
        Last checkpoints of each run that are used; the halves of them are a checkpoint apart.
    confidence_level
        Of ``gain_low, gain_high``.
    rng_seed
        Of the splits; each group has its own.

    Returns
    -------
    DataFrame
        By-columns, ``measure, n_members, n_checkpoints`` (smallest number of a run in the evaluated block),
        ``candidates`` (windows for which there are enough checkpoints); ``window``, the best one for all members in
        that block, and ``window_share``, the share of the halves that chose it; ``gain_in_sample`` (of the window that
        is best on the very half it is evaluated on), ``gain`` (of the one that the other half chose) with ``gain_low,
        gain_high`` and the two-sided ``p_value`` of no gain, ``optimism`` (their difference); ``status, flags,
        signature``.

    Undefined when
        Fewer than 4 members, or checkpoints for no window but 1 (``too_few``); an SNR that is not finite on some half
        (``constant``, ``not_finite``). Limits need 6 members; they are null
        where no member, left out, changes the gain.

    Raises
    ------
    UnknownMetricError
        For decisions, where a metric's direction is not known.
    SchemaError, OptionError, DuplicateKeyError
        For a table or an option that cannot be used.

    Notes
    -----
    ``gain`` is that of choosing on half of the members: with all of them one chooses better. Gains are compared at
    equal numbers of members, since the range grows with them. A window n needs n checkpoints in each block for
    decisions, 2 n for the SNR.

    Limits: delete-one standard error of the whole procedure, with t quantiles of J - 1 degrees of freedom. Simulated
    coverage of the gain of the same rule on fresh members .94 to .99 (10 and 25 members, autocorrelations of 0 and .5),
    where the in-sample gain of a decision accuracy was .03 to .07 too large. Where scores are nothing but noise
    ``gain_low`` was above 0 in .005 of tables (6 to 25 members), and the gain in sample .09 to .26.

    References
    ----------
    Heineman et al. 2025, arXiv 2508.13144, section 5; Stone 1974, "Cross-validatory choice and assessment of
    statistical predictions", JRSS B 36:111.

    Examples
    --------
    >>> import signoise as sn
    >>> scores, _ = sn.simulate(tasks=1, recipes=12, params=(1e8, 1e9), checkpoints=30, step_noise=0.02)
    >>> table = sn.choose_window(scores, small="params = 100000000", target="params = 1000000000")
    >>> table.select("measure", "n_members").row(0)
    ('decision_accuracy', 12)
    """
    sizes = check_windows((1, *check_windows(windows)))
    check_choice("how", how, HOWS)
    check_choice("side", side, SIDES)
    check_choice("split", split, ("members_and_checkpoints", "members"))
    check_count("n_splits", n_splits)
    check_count("last", last, 2)
    check_level(confidence_level)
    check_seed(rng_seed)
    if at is not None and (not isinstance(at, (int, float)) or isinstance(at, bool) or not 0 < at < np.inf):
        raise OptionError(f"at must be a share of training up to 1, or tokens (steps) beyond, got {at!r}")
    if measure is not None:
        check_choice("measure", measure, ("decision_accuracy", "snr"))
    study = open_study(
        scores,
        small=small,
        target=target,
        match=match,
        across=across,
        by=by,
        where=where,
        order=order,
        groups=groups,
        columns=columns,
        duplicates=duplicates,
        strict=strict,
        threads=threads,
    )
    if measure == "decision_accuracy" and not study.sided:
        raise OptionError('measure="decision_accuracy" needs small and target')
    chosen_measure = measure or ("decision_accuracy" if study.sided else "snr")
    if at is not None:
        early = "small" if study.sided else "all"
        study = with_masks(study, {early: up_to(study.encoded, early, at)})
    deciding = chosen_measure == "decision_accuracy"
    averaged = ("small", "target") if side == "both" else (side,)
    masks = ("small", "target") if deciding else (_measured_mask(study, side),)
    study = _with_blocks(study, masks, last, averaged, apart=split == "members_and_checkpoints")
    unsigned = np.ones(len(study.encoded.groups))
    signs = {mask: signs_of(study, mask, direction) if deciding else unsigned for mask in masks}
    # Infinite scores make undefined numbers; they become null with a status, not NumPy's warnings.
    with np.errstate(all="ignore"):
        choosing, evaluating = (
            _block(study, masks, averaged, name, sizes, how, signs, last, threads)
            for name in ("choose", "evaluate")
        )
        result = _choices(
            study,
            choosing,
            evaluating,
            sizes,
            deciding=deciding,
            n_splits=n_splits,
            rng_seed=rng_seed,
            level=confidence_level,
        )
    result = result.with_columns(
        pl.lit(
            signature(
                "choose_window",
                how=how,
                small=small,
                target=target,
                side=side if study.sided else None,
                at=at,
                match=study.members if study.sided else None,
                across=None if study.sided else study.members,
                split=split,
                n_splits=n_splits,
                rng=rng_seed,
                last=last,
                order=order,
                interval="delete_one_member",
                level=confidence_level,
            )
        ).alias("signature")
    )
    check_strict(result, study.encoded.by, strict=strict)
    return result


def _measured_mask(study: Study, side: str) -> str:
    """The selection whose SNR is measured."""
    if not study.sided:
        return "all"
    return "target" if side == "target" else "small"


def _with_blocks(
    study: Study, masks: Sequence[str], last: int, averaged: Sequence[str], *, apart: bool
) -> Study:
    """Selections ``choose <mask>`` and ``evaluate <mask>``: earlier and later checkpoints of what is averaged."""
    blocks: dict[str, Mask] = {}
    for mask in masks:
        split = apart and (mask in averaged or not study.sided)
        for name, rows in zip(
            ("choose", "evaluate"), _halves_of(study.encoded, mask, last, split), strict=True
        ):
            blocks[f"{name} {mask}"] = rows
    return with_masks(study, blocks)


def _halves_of(encoded: Encoded, mask: str, last: int, split: bool) -> tuple[Mask, Mask]:
    """The earlier and the later half of the last checkpoints of each series, or all of them twice."""
    series = encoded.series(last, mask)
    rows = encoded.window_rows(series, mask)
    n = series.columns["n"].astype(np.intp)
    number = np.arange(n.sum()) - np.repeat(np.cumsum(n) - n, n)
    half = np.repeat((n - GAP) // 2, n)
    parts = []
    for inside in (number < half, number >= np.repeat(n, n) - half):
        chosen = np.zeros(len(encoded.values), dtype=bool)
        chosen[rows[inside] if split else rows] = True
        parts.append(chosen)
    return parts[0], parts[1]


def _block(
    study: Study,
    masks: Sequence[str],
    averaged: Sequence[str],
    name: str,
    sizes: Sequence[int],
    how: str,
    signs: Mapping[str, Floats],
    last: int,
    threads: int | None,
) -> _Block:
    n_groups = len(study.encoded.groups)
    deciding = len(masks) > 1
    smallest = np.full(n_groups, np.iinfo(np.intp).max, dtype=np.intp)
    found: list[list[Members]] = [[], []]
    variances: list[Floats] = []
    for number, mask in enumerate(masks):
        block = f"{name} {mask}"
        is_averaged = mask in averaged or not deciding
        stretched = stretch(study.encoded, block, last, threads)
        if is_averaged:
            smallest = np.minimum(smallest, stretched.smallest(n_groups))
        for window in sizes:
            size = window if is_averaged else 1
            found[number].append(averaged_scores(study, block, size, how, signs[mask], threads))
            if not deciding:
                noise = average_variance(stretched, window, how)
                variances.append(_over_members(noise, stretched.series.group, stretched.series.member))
    needed = np.array(sizes) * (1 if deciding else 2)
    return _Block(found[0], found[1], np.array(variances), smallest[:, None] >= needed, smallest)


def _over_members(values: Floats, group: Ints, member: Ints) -> Floats:
    """Mean of consecutive runs of one member."""
    new = np.ones(len(values), dtype=bool)
    new[1:] = (group[1:] != group[:-1]) | (member[1:] != member[:-1])
    starts = np.flatnonzero(new)
    if not len(starts):
        return np.zeros(0)
    return np.add.reduceat(values, starts) / np.diff(np.append(starts, len(values)))


def _choices(
    study: Study,
    choosing: _Block,
    evaluating: _Block,
    sizes: Sequence[int],
    *,
    deciding: bool,
    n_splits: int,
    rng_seed: int,
    level: float,
) -> pl.DataFrame:
    encoded = study.encoded
    n_groups = len(encoded.groups)
    units = group_addresses(encoded.groups.select(encoded.by))
    usable = choosing.usable & evaluating.usable
    members: Ints = np.zeros(n_groups, dtype=np.intp)
    constant = np.zeros(n_groups, dtype=bool)
    choices = Choices(n_groups)
    window: list[int | None] = [None] * n_groups
    named = encoded.members.select(pl.all_horizontal(pl.all().is_not_null())).to_series().to_numpy()
    for group in range(n_groups):
        common = _common_members(choosing, evaluating, group, named)
        n = members[group] = len(common)
        options = np.flatnonzero(usable[group])
        if n < LEAST_MEMBERS or len(options) < 2 or options[0] != 0:
            continue
        choose, evaluate = (
            _values(block, group, common, options, deciding=deciding) for block in (choosing, evaluating)
        )
        constant[group] = any(
            np.ptp(side[0].scores[_places(side[0], group, common)]) == 0
            for side in (evaluating.first, evaluating.second)
            if side
        )
        halves = random_halves(n, n_splits, rng_seed, WINDOW_SPLITS, int(units[group]))
        choices.choose(group, choose, evaluate, halves)
        if (best := choices.best[group]) is not None:
            window[group] = sizes[options[best]]
    statuses = Statuses(n_groups)
    statuses.set("too_few", (members < LEAST_MEMBERS) | (usable.sum(axis=1) < 2))
    statuses.set("constant", constant)
    statuses.check_finite(np.isnan(choices.gain))
    flags: dict[str, Any] = {
        "missing_values": (encoded.n_missing + encoded.n_nan) > 0,
        "few_members": members < (FEW_DECIDING if deciding else 2 * FEW_MEMBERS),
        "few_checkpoints": ~usable.all(axis=1),
        "mixed_config": np.full(n_groups, "config" in encoded.joined),
    }
    candidates = [[size for size, there in zip(sizes, row, strict=True) if there] for row in usable.tolist()]
    return encoded.groups.select(encoded.by).with_columns(
        pl.lit("decision_accuracy" if deciding else "snr").alias("measure"),
        pl.Series("n_members", members.astype(np.int64)),
        pl.Series("n_checkpoints", evaluating.smallest),
        pl.Series("candidates", candidates, dtype=pl.List(pl.Int64)),
        pl.Series("window", window, dtype=pl.Int64),
        *choices.columns("window_share", members, level),
        statuses.column(),
        flag_lists(flags, n_groups),
    )


def _common_members(choosing: _Block, evaluating: _Block, group: int, named: Mask) -> Ints:
    """Members of a group with a score in every block and on every side, and a key that is not null."""
    sides = [block.first[0] for block in (choosing, evaluating)]
    sides += [block.second[0] for block in (choosing, evaluating) if block.second]
    common: Ints | None = None
    for side in sides:
        places = slice(int(side.offsets[group]), int(side.offsets[group + 1]))
        there = side.member[places][~np.isnan(side.scores[places])]
        common = there if common is None else np.intersect1d(common, there)
    found = np.zeros(0, dtype=np.intp) if common is None else common
    return found[named[found]]


def _values(block: _Block, group: int, common: Ints, options: Ints, *, deciding: bool) -> Values:
    first = _matrix([block.first[option] for option in options], group, common)
    if deciding:
        return agreement_values(first, _matrix([block.second[option] for option in options], group, common))
    variances = block.variances[options][:, _places(block.first[0], group, common)]
    # A run whose score never changes has no noise, whatever rounding says about its averages.
    return log_snr_values(first, np.where(variances[:1] == 0, 0.0, variances))


def _matrix(sides: Sequence[Members], group: int, common: Ints) -> Floats:
    return np.stack([side.scores[_places(side, group, common)] for side in sides])


def _places(side: Members, group: int, common: Ints) -> Ints:
    start, end = int(side.offsets[group]), int(side.offsets[group + 1])
    return start + np.searchsorted(side.member[start:end], common)
