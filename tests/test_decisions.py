"""Decision accuracy: golden values, Kendall's tau as oracle, invariances, noise against simulation."""

from __future__ import annotations

import json
import math
import os
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import signoise._core as core
from signoise import reference
from signoise._errors import OptionError, ShapeError

if TYPE_CHECKING:
    from collections.abc import Callable

SHARED = Path(os.environ.get("SIGNOISE_SHARED", Path(__file__).parents[1] / ".." / "shared"))
SWAP = ([1.0, 2.0, 3.0, 4.0], [1.0, 3.0, 2.0, 4.0])

pairs_of_scores = st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3)), max_size=25).map(
    lambda members: np.array(members, dtype=float).reshape(-1, 2).T.copy()
)


def one_group(n: int) -> np.ndarray:
    return np.array([0, n], dtype=np.uintp)


def counts_of(small: Any, target: Any) -> dict[str, Any]:
    """Counts of one group: integers, and arrays under ``member_``."""
    a, b = (np.ascontiguousarray(side, dtype=float) for side in (small, target))
    found = core.pair_agreement(a, b, one_group(len(a)))
    return {key: value if key.startswith("member_") else int(value[0]) for key, value in found.items()}


def half(counts: dict[str, Any]) -> float:
    ties = counts["tied_small"] + counts["tied_target"] + counts["tied_both"]
    return (counts["concordant"] + ties / 2) / counts["n_pairs"] if counts["n_pairs"] else math.nan


def call(name: str, *arrays: Any, **options: Any) -> dict[str, Any]:
    """A kernel on one group; the group's offsets are appended."""
    values = [np.asarray(array, dtype=float) for array in arrays]
    return getattr(core, name)(*values, one_group(len(values[0])), **options)


# ---- counts


def test_golden_swap() -> None:
    counts = counts_of(*SWAP)
    tau = (counts["concordant"] - counts["discordant"]) / counts["n_pairs"]
    assert tau == 2 / 3
    assert half(counts) == 5 / 6 == pytest.approx((1 + tau) / 2, rel=1e-15)
    assert counts["compat_agree"] == 5


@pytest.mark.parametrize(("target", "compat"), [([0.1, 0.2], 1), ([0.2, 0.1], 0)])
def test_golden_tie(target: list[float], compat: int) -> None:
    counts = counts_of([0.5, 0.5], target)
    assert counts["compat_agree"] == compat  # the reference depends on row order,
    assert half(counts) == 0.5  # ours does not
    assert (counts["tied_small"], counts["tied_target"], counts["tied_both"]) == (1, 0, 0)


def test_the_reference_on_four_models_depends_on_order() -> None:
    members = np.array([[0.5, 0.5, 0.6, 0.7], [0.1, 0.2, 0.3, 0.4]])
    assert counts_of(*members)["compat_agree"] == 6
    assert counts_of(*members[:, [1, 0, 2, 3]])["compat_agree"] == 5


@given(pairs_of_scores)
def test_counts_equal_the_loop(scores: np.ndarray) -> None:
    small, target = scores
    offsets = one_group(len(small))
    found, expected = (
        core.pair_agreement(small, target, offsets),
        reference.pair_agreement(small, target, offsets),
    )
    for key, value in expected.items():
        assert found[key].dtype == np.int64
        np.testing.assert_array_equal(found[key], value, err_msg=key)


@given(pairs_of_scores)
def test_kendall_from_counts(scores: np.ndarray) -> None:
    counts = counts_of(*scores)
    net, pairs = counts["concordant"] - counts["discordant"], counts["n_pairs"]
    kinds = ("concordant", "discordant", "tied_small", "tied_target", "tied_both")
    assert sum(counts[kind] for kind in kinds) == pairs
    if not pairs:
        return
    assert half(counts) == pytest.approx((1 + net / pairs) / 2, rel=1e-15)
    tied_small, tied_target = (counts[kind] + counts["tied_both"] for kind in ("tied_small", "tied_target"))
    if max(tied_small, tied_target) < pairs:
        tau_b = net / math.sqrt((pairs - tied_small) * (pairs - tied_target))
        assert tau_b == pytest.approx(stats.kendalltau(*scores).statistic, abs=1e-12)


@given(pairs_of_scores)
def test_members_add_up_to_twice_the_group(scores: np.ndarray) -> None:
    counts = counts_of(*scores)
    for kind in ("concordant", "discordant", "tied_both", "compat_agree"):
        assert counts[f"member_{kind}"].sum() == 2 * counts[kind]
    assert counts["member_tied_one"].sum() == 2 * (counts["tied_small"] + counts["tied_target"])


@given(pairs_of_scores, st.data())
def test_without_a_member(scores: np.ndarray, data: st.DataObject) -> None:
    n = scores.shape[1]
    if n == 0:
        return
    member = data.draw(st.integers(0, n - 1))
    counts, rest = counts_of(*scores), counts_of(*np.delete(scores, member, axis=1))
    for kind in ("concordant", "discordant", "tied_both", "compat_agree"):
        assert counts[kind] - counts[f"member_{kind}"][member] == rest[kind]
    assert rest["n_pairs"] == counts["n_pairs"] - (n - 1)


@given(pairs_of_scores, st.randoms(use_true_random=False))
def test_member_order_matters_to_compat_alone(scores: np.ndarray, random: Any) -> None:
    order = list(range(scores.shape[1]))
    random.shuffle(order)
    before, after = counts_of(*scores), counts_of(*scores[:, order])
    for key, value in before.items():
        if key.startswith("member_") and "compat" not in key:
            np.testing.assert_array_equal(after[key], value[order])
        elif "compat" not in key:
            assert after[key] == value


@given(pairs_of_scores, st.floats(-5, 5), st.floats(0.1, 10))
def test_shift_scale_and_swapped_sides(scores: np.ndarray, shift: float, scale: float) -> None:
    (small, target), counts = scores, counts_of(*scores)
    # Rounding may join scores or not, but never reverses them: a power of two and an integer are exact.
    moved = counts_of(small * 4 + round(shift), target * 2.0 ** round(math.log2(scale)))
    swapped = counts_of(target, small)
    for key, value in counts.items():
        np.testing.assert_array_equal(moved[key], value)
        mirror = {"tied_small": "tied_target", "tied_target": "tied_small"}.get(key, key)
        np.testing.assert_array_equal(swapped[mirror], value)


def test_many_members_with_ties() -> None:
    rng = np.random.default_rng(3)
    small, target = rng.integers(0, 300, (2, 2000)).astype(float)
    counts = counts_of(small, target)
    greater = [np.triu(np.greater.outer(side, side), 1) for side in (small, target)]
    assert counts["compat_agree"] == np.triu(greater[0] == greater[1], 1).sum()
    net = (np.sign(np.subtract.outer(small, small)) * np.sign(np.subtract.outer(target, target))).sum() / 2
    assert counts["concordant"] - counts["discordant"] == net


def test_signed_zeros_tie_and_infinities_order() -> None:
    assert counts_of([0.0, -0.0], [1.0, 2.0])["tied_small"] == 1
    assert counts_of([-math.inf, 0.0, math.inf, math.inf], [1.0, 2.0, 3.0, 4.0])["concordant"] == 5


# ---- weighted and decidable pairs


def test_weighted_and_decidable_golden() -> None:
    # Pairs: (1,2) gap 10 right, (1,3) gap 9 right, (2,3) gap 1 wrong.
    small, target = [1.0, 2.0, 3.0], [0.0, 10.0, 9.0]
    assert call("agreement_weighted", small, target)["weighted"] == [19 / 20]
    assert call("agreement_weighted", [1.0, 1.0, 3.0], target)["weighted"] == [(5 + 9) / 20]
    for threshold, n_pairs, agreement in [(0.0, 3, 2 / 3), (1.0, 2, 1.0), (9.5, 1, 1.0)]:
        found = core.agreement_decidable(
            np.array(small), np.array(target), np.array([threshold]), one_group(3)
        )
        assert (found["n_pairs"].tolist(), found["agreement"].tolist()) == ([n_pairs], [agreement])


@pytest.mark.parametrize("target", [[], [1.0], [2.0, 2.0, 2.0], [1.0, math.inf]])
def test_no_weight_is_undefined(target: list[float]) -> None:
    small = list(range(len(target)))
    assert np.isnan(call("agreement_weighted", small, target)["weighted"]).all()
    found = core.agreement_decidable(
        np.array(small, dtype=float), np.array(target), np.array([math.inf]), one_group(len(small))
    )
    assert found["n_pairs"].tolist() == [0]
    assert np.isnan(found["agreement"]).all()


@given(pairs_of_scores)
def test_decidable_at_zero_is_plain_without_target_ties(scores: np.ndarray) -> None:
    counts = counts_of(*scores)
    found = core.agreement_decidable(*scores, np.zeros(1), one_group(scores.shape[1]))
    pairs = counts["concordant"] + counts["discordant"] + counts["tied_small"]
    assert found["n_pairs"].tolist() == [pairs]
    if pairs:
        assert found["agreement"][0] == pytest.approx(
            (counts["concordant"] + counts["tied_small"] / 2) / pairs
        )


@given(pairs_of_scores)
def test_scores_ignore_member_order_and_scale(scores: np.ndarray) -> None:
    small, target = scores
    for name, key in (("agreement_weighted", "weighted"), ("expected_agreement", "expected")):
        sds = [np.full_like(side, 0.7) for side in scores] if name == "expected_agreement" else []
        found = call(name, small, target, *sds)[key]
        reverse = call(name, small[::-1].copy(), target[::-1].copy(), *sds)[key]
        scaled = call(name, 8 * small, 8 * target, *(8 * sd for sd in sds))[key]
        np.testing.assert_allclose(reverse, found, rtol=1e-10)
        np.testing.assert_allclose(scaled, found, rtol=1e-10)


# ---- agreement under noise


@given(pairs_of_scores)
def test_expected_without_noise_is_plain(scores: np.ndarray) -> None:
    n = scores.shape[1]
    for sd in (0.0, 1e-9):
        expected = call("expected_agreement", *scores, np.full(n, sd), np.full(n, sd))["expected"]
        np.testing.assert_allclose(expected, [half(counts_of(*scores))], rtol=1e-14)


@pytest.mark.parametrize("seed", [0, 1])
def test_expected_against_simulation(seed: int) -> None:
    rng = np.random.default_rng(seed)
    small, target = rng.normal(size=(2, 8))
    sd_small, sd_target = rng.uniform(0.1, 1.0, (2, 8))
    sd_small[0] = 0.0
    n = 20_000
    a, b = rng.normal(small, sd_small, (n, 8)), rng.normal(target, sd_target, (n, 8))
    left, right = np.triu_indices(8, 1)
    draws = ((a[:, left] > a[:, right]) == (b[:, left] > b[:, right])).mean(axis=1)
    expected = call("expected_agreement", small, target, sd_small, sd_target)["expected"][0]
    assert abs(draws.mean() - expected) < 4 * draws.std(ddof=1) / math.sqrt(n)


def test_expected_uses_an_accurate_normal_distribution() -> None:
    gaps = np.linspace(-30, 30, 301)
    for gap in gaps:
        found = call("expected_agreement", [gap, 0.0], [1.0, 0.0], [0.6, 0.8], [0.0, 0.0])["expected"][0]
        assert found == pytest.approx(stats.norm.cdf(gap), rel=1e-13, abs=1e-300)


def test_expected_at_the_edges() -> None:
    def expected(small: list[float], sd_small: list[float]) -> float:
        n = len(small)
        return call("expected_agreement", small, list(range(n)), sd_small, [0.0] * n)["expected"][0]

    assert math.isnan(expected([1.0, 2.0, 3.0], [0.1, math.nan, 0.1]))
    assert math.isnan(expected([1.0], [0.1]))
    assert math.isnan(expected([], []))
    assert expected([math.inf, math.inf], [1.0, 1.0]) == 0.5
    assert expected([0.0, 1.0], [math.inf, 0.0]) == 0.5
    assert expected([0.0, math.inf], [1.0, 1.0]) == 1.0


def windows(rng: np.random.Generator, members: int, longest: int = 4) -> list[np.ndarray]:
    return [rng.integers(0, 6, rng.integers(1, longest + 1)) / 10 for _ in range(members)]


def sampled(
    groups: list[tuple[list[np.ndarray], list[np.ndarray]]],
    units: list[int],
    n_resamples: int,
    rng_seed: int = 0,
) -> dict[str, np.ndarray]:
    def flat(side: int) -> tuple[np.ndarray, np.ndarray]:
        parts = [window for group in groups for window in group[side]]
        offsets = np.concatenate([[0], np.cumsum([len(part) for part in parts])]).astype(np.uintp)
        return np.concatenate([np.empty(0), *parts]), offsets

    members = np.concatenate([[0], np.cumsum([len(group[0]) for group in groups])]).astype(np.uintp)
    addresses = np.array(units, dtype=np.uint64)
    return core.sampled_agreement(*flat(0), *flat(1), members, addresses, n_resamples, rng_seed)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_sampled_mean_against_its_expectation(seed: int) -> None:
    rng = np.random.default_rng(seed)
    small, target = windows(rng, 6), windows(rng, 6)

    def mean_sign(x: np.ndarray, y: np.ndarray) -> float:
        return float(np.mean([np.sign(a - b) for a, b in product(x, y)]))

    scores = [
        (1 + mean_sign(small[i], small[j]) * mean_sign(target[i], target[j])) / 2
        for i in range(6)
        for j in range(i + 1, 6)
    ]
    n = 20_000
    found = sampled([(small, target)], [seed], n)
    assert found["draws"].shape == (n,)
    assert found["mean"][0] == pytest.approx(found["draws"].mean(), rel=1e-12)
    assert found["sd"][0] == pytest.approx(found["draws"].std(ddof=1), rel=1e-12)
    assert abs(found["mean"][0] - np.mean(scores)) < 4 * found["sd"][0] / math.sqrt(n)


def test_another_group_moves_no_draw() -> None:
    rng = np.random.default_rng(1)
    first, second, third = ((windows(rng, 9), windows(rng, 9)) for _ in range(3))
    alone = sampled([second], [22], 300)["draws"]
    among = sampled([first, second, third], [11, 22, 33], 300)["draws"].reshape(3, 300)
    np.testing.assert_array_equal(among[1], alone)
    elsewhere = sampled([second, second], [22, 44], 300)["draws"].reshape(2, 300)
    np.testing.assert_array_equal(elsewhere[0], alone)
    assert (elsewhere[1] != alone).any()
    assert (sampled([second], [22], 300, rng_seed=1)["draws"] != alone).any()
    np.testing.assert_array_equal(sampled([second], [22], 500)["draws"][:300], alone)


def test_sampled_edges() -> None:
    single = [np.array([value]) for value in SWAP[0]], [np.array([value]) for value in SWAP[1]]
    found = sampled([single, ([], []), (single[0][:1], single[1][:1])], [1, 2, 3], 4)
    assert found["draws"][:4].tolist() == [5 / 6] * 4
    assert found["sd"][0] == 0.0
    assert np.isnan(found["draws"][4:]).all()
    assert np.isnan(found["mean"][1:]).all()
    assert np.isnan(sampled([single], [1], 1)["sd"]).all()
    empty = [np.empty(0), *single[0][1:]], single[1]
    assert np.isnan(sampled([empty], [1], 3)["mean"]).all()
    with pytest.raises(OptionError, match="n_resamples"):
        sampled([single], [1], 0)


# ---- the delete-one-recipe interval


def interval(
    estimate: float, leave_one_out: Any, confidence_level: float = 0.95, t_critical: float | None = None
) -> tuple[float, float]:
    deleted = np.asarray(leave_one_out, dtype=float)
    if t_critical is None:
        t_critical = float(stats.t.ppf((1 + confidence_level) / 2, max(len(deleted) - 1, 1)))
    found = core.jackknife_interval(
        np.array([estimate]), deleted, np.array([t_critical]), one_group(len(deleted)), confidence_level
    )
    return found["low"][0], found["high"][0]


def test_interval_of_the_golden_swap() -> None:
    counts = counts_of(*SWAP)
    deleted = (counts["concordant"] - counts["member_concordant"]) / 3
    assert deleted == pytest.approx([2 / 3, 1, 1, 2 / 3])
    # se^2 = 3/4 * 4/36 = 1/12; U (1 - U) = 5/36; logit(5/6) = ln 5; t_3(.975) = 3.182446
    margin = 3.182446305284263 * math.sqrt(1 / 12) / (5 / 36)
    expected = [1 / (1 + math.exp(-(math.log(5) + sign * margin))) for sign in (-1, 1)]
    assert interval(5 / 6, deleted) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("n", "half_n"), [(2, 1), (3, 1), (4, 2), (5, 2), (25, 12)])
@pytest.mark.parametrize("level", [0.9, 0.95])
def test_interval_at_a_bound(n: int, half_n: int, level: float) -> None:
    end = ((1 - level) / 2) ** (1 / half_n)
    assert interval(1.0, np.ones(n), level) == pytest.approx((end, 1.0), rel=1e-12)
    assert interval(0.0, np.zeros(n), level) == pytest.approx((0.0, 1 - end), rel=1e-12)
    assert interval(1.0, np.full(n, np.nan), level, t_critical=math.nan)[1] == 1.0


@pytest.mark.parametrize(
    ("estimate", "deleted"),
    [
        (1.0, []),
        (0.0, [1.0]),
        (0.5, [0.4, 0.6]),  # two members
        (0.5, [0.5, 0.5, 0.5]),  # no deletion changes it
        (0.1, [0.1] * 10),  # the same, where the mean rounds
        (math.nan, [0.4, 0.5, 0.6]),
        (0.5, [0.4, math.nan, 0.6]),
    ],
)
def test_undefined_intervals(estimate: float, deleted: list[float]) -> None:
    assert np.isnan(interval(estimate, deleted)).all()


def test_an_interval_needs_its_quantile() -> None:
    assert np.isnan(interval(0.5, [0.4, 0.5, 0.6], t_critical=math.nan)).all()


@given(st.lists(st.floats(0, 1), min_size=3, max_size=30), st.floats(0.01, 0.99))
def test_interval_is_mirrored_holds_its_estimate_and_grows_with_the_level(
    deleted: list[float], estimate: float
) -> None:
    low, high = interval(estimate, deleted)
    if math.isnan(low):
        assert len(set(deleted)) == 1
        return
    assert 0 <= low <= estimate * (1 + 1e-12)
    assert estimate * (1 - 1e-12) <= high <= 1
    wider = interval(estimate, deleted, 0.99)
    assert wider[0] <= low
    assert high <= wider[1]
    mirrored = interval(1 - estimate, [1 - value for value in deleted])
    if not math.isnan(mirrored[0]):  # 1 - value may make two values equal
        assert mirrored == pytest.approx((1 - high, 1 - low), rel=1e-6, abs=1e-9)


# ---- misuse


@pytest.mark.parametrize("module", [core, reference], ids=["kernel", "twin"])
@pytest.mark.parametrize(
    ("error", "match", "use"),
    [
        (OptionError, "small must be free of NaN", lambda m, a, o: m.pair_agreement(a * np.nan, a, o)),
        (OptionError, "target must be free of NaN", lambda m, a, o: m.agreement_weighted(a, a * np.nan, o)),
        (ShapeError, "target has 2 values, expected 3", lambda m, a, o: m.pair_agreement(a, a[:2], o)),
        (ShapeError, "offsets", lambda m, a, o: m.pair_agreement(a, a, o[:1])),
        (ShapeError, "threshold has 3", lambda m, a, o: m.agreement_decidable(a, a, a, o)),
        (OptionError, "threshold", lambda m, a, o: m.agreement_decidable(a, a, np.array([-1.0]), o)),
        (OptionError, "sd_small", lambda m, a, o: m.expected_agreement(a, a, -a, a, o)),
        (ShapeError, "sd_target", lambda m, a, o: m.expected_agreement(a, a, a, a[:1], o)),
        (OptionError, "estimates", lambda m, a, o: m.jackknife_interval(a[2:], a, a[:1], o, 0.95)),
        (OptionError, "confidence_level", lambda m, a, o: m.jackknife_interval(a[:1], a, a[:1], o, 95.0)),
        (ShapeError, "t_critical", lambda m, a, o: m.jackknife_interval(a[:1], a, a, o, 0.95)),
        (
            ShapeError,
            "target_offsets",
            lambda m, a, o: m.sampled_agreement(
                a, o, a, np.array([0, 1, 3], np.uintp), o // 3, np.zeros(1, np.uint64), 2, 0
            ),
        ),
    ],
)
def test_misuse(
    module: Any, error: type[Exception], match: str, use: Callable[[Any, np.ndarray, np.ndarray], object]
) -> None:
    with pytest.raises(error, match=match):
        use(module, np.array([1.0, 2.0, 3.0]), np.array([0, 3], dtype=np.uintp))


# ---- published scores


def test_zero_against_five_shot_scores() -> None:
    path = SHARED / "oracles" / "pythia_v1_zero_vs_five_shot.json"
    if not path.exists():
        pytest.skip(f"{path} is absent; set SIGNOISE_SHARED")
    results = json.loads(path.read_text())["results"]
    assert results
    for task, oracle in results.items():
        counts = counts_of(oracle["zero"], oracle["five"])
        assert oracle["models"] == sorted(oracle["models"]), task
        assert counts["compat_agree"] / counts["n_pairs"] == pytest.approx(
            oracle["decision_accuracy"], abs=1e-11
        )
        assert half(counts) == pytest.approx(oracle["tie_half"], abs=1e-11)
        untied = [
            counts["n_pairs"] - counts[kind] - counts["tied_both"] for kind in ("tied_small", "tied_target")
        ]
        if oracle["kendall_tau_b"] is None:
            assert 0 in untied
        else:
            tau_b = (counts["concordant"] - counts["discordant"]) / math.sqrt(math.prod(untied))
            assert tau_b == pytest.approx(oracle["kendall_tau_b"], abs=1e-11)
