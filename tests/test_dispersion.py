"""Signal variants: golden values, SciPy, invariances and undefined cases."""

from __future__ import annotations

import json
import math
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.stats import qmc

import signoise._core as core
from signoise import reference
from signoise._errors import OptionError, ShapeError
from signoise.reference._dispersion import SIGNAL_VARIANTS

SHARED = Path(os.environ.get("SIGNOISE_SHARED", Path(__file__).parents[1] / ".." / "shared"))

C, LAST, STEP, DATA = [0.40, 0.42, 0.45, 0.47, 0.50], [0.44, 0.46, 0.45], [0.01, 0.02], [0.03, 0.05]

GOLDEN = {
    "rel_std": "0.089286",
    "discrepancy": "0.067293",
    "star_discrepancy": "0.200000",
    "star_discrepancy_shifted": "0.100000",
    "rel_star_discrepancy": "0.444444",
    "dispersion": "0.100000",
    "dispersion_shifted": "1.000000",
    "rel_dispersion": "0.222222",
    "mpd": "0.050000",
    "rel_mpd": "0.111111",
    "mpsd": "0.003140",
    "rel_mpsd": "0.006978",
    "mad": "0.030000",
    "aad": "0.030400",
    "dist_std": "0.025298",
    "gini": "0.416667",
    "quartile_deviation": "0.025000",
    "rms_deviation": "0.035440",
    "range": "0.100000",
    "iqr": "0.111111",
    "tukey": "0.444444",
    "projection": "0.486756",
    "entropy": "-128.992198",
}
"""Signals of the 22 registered variants in the reference's order, and of its unregistered entropy."""

GOLDEN_NOISE = {"tukey": "0.032143", "projection": "0.017092"}
GOLDEN_RATIO = {"rel_dispersion": "6.666667", "tukey": "13.827160", "projection": "28.479355"}


def kernel(name: str, c: Any, last: Any = LAST, step: Any = STEP, data: Any = DATA) -> tuple[float, float]:
    """One group through the compiled kernel."""
    arrays: list[np.ndarray] = []
    for values in (c, last, step, data):
        array = np.asarray(values, dtype=np.float64)
        arrays += [array, np.array([0, len(array)], dtype=np.uintp)]
    found = core.signal_variant_groups(name, *arrays)  # type: ignore[arg-type]
    return float(found["signal"][0]), float(found["noise"][0])


def twin(name: str, c: Any, last: Any = LAST, step: Any = STEP, data: Any = DATA) -> tuple[float, float]:
    return reference.signal_variant(name, c, last, step, data)[:2]


both = pytest.mark.parametrize("compute", [kernel, twin])
scores = st.lists(st.integers(0, 60).map(lambda k: k / 60), min_size=2, max_size=25)


def test_kernel_and_twin_have_the_same_names() -> None:
    known = []
    for function in (core.signal_variant_groups, reference.signal_variant_groups):
        empty = [np.empty(0), np.zeros(1, dtype=np.uintp)] * 4
        with pytest.raises(OptionError, match='signal has no entry "compat:none"') as caught:
            function("compat:none", *empty)
        known.append(str(caught.value).split("known: ")[1].split(", "))
    assert known[0] == known[1] == list(SIGNAL_VARIANTS)


def test_names_are_those_of_the_published_results() -> None:
    path = SHARED / "oracles" / "pythia_v1_signal_noise.json"
    if not path.exists():
        pytest.skip(f"{path} is absent")
    published = set.union(*(set(row["variants"]) for row in json.loads(path.read_text())["results"].values()))
    assert published == set(GOLDEN) | {"robust_range"}
    assert {f"compat:{name}" for name in published} <= set(SIGNAL_VARIANTS)


def test_group_form_needs_the_prefix() -> None:
    with pytest.raises(OptionError, match="compat:mpd"):
        kernel("mpd", C)
    assert reference.signal_variant("mpd", C, LAST, STEP, DATA) == reference.signal_variant(
        "compat:mpd", C, LAST, STEP, DATA
    )
    with pytest.raises(OptionError):
        reference.signal_variant("textbook:mad", C, LAST, STEP, DATA)


@both
@pytest.mark.parametrize("name", GOLDEN)
def test_golden(name: str, compute: Any) -> None:
    signal, noise = compute(f"compat:{name}", C)
    assert f"{signal:.6f}" == GOLDEN[name]
    assert f"{noise:.6f}" == GOLDEN_NOISE.get(name, "0.033333")


@pytest.mark.parametrize("name", GOLDEN_RATIO)
def test_golden_ratio(name: str) -> None:
    assert f"{reference.signal_variant(name, C, LAST, STEP, DATA)[2]:.6f}" == GOLDEN_RATIO[name]


def test_registered_variants_come_in_the_order_of_the_reference() -> None:
    assert [name.removeprefix("compat:") for name in SIGNAL_VARIANTS][:22] == list(GOLDEN)[:22]


def test_five_groups_at_once() -> None:
    rng = np.random.default_rng(3)
    groups = [[rng.random(size) for size in sizes] for sizes in rng.integers(2, 9, (5, 4))]
    arrays: list[np.ndarray] = []
    for column in zip(*groups, strict=True):
        offsets = np.cumsum([0, *(len(part) for part in column)]).astype(np.uintp)
        arrays += [np.concatenate(column), offsets]
    for name in SIGNAL_VARIANTS:
        found = core.signal_variant_groups(name, *arrays)  # type: ignore[arg-type]
        expected = [kernel(name, *group) for group in groups]
        np.testing.assert_array_equal(
            np.column_stack([found["signal"], found["noise"]]), expected, err_msg=name
        )


@both
@given(c=scores)
def test_scipy_agrees(compute: Any, c: list[float]) -> None:
    x = np.array(c)
    expected = {
        "compat:discrepancy": float(qmc.discrepancy(x.reshape(-1, 1), method="CD")),
        "compat:mad": stats.median_abs_deviation(x),
        "compat:quartile_deviation": stats.iqr(x) / 2,
        "compat:iqr": stats.iqr(x) / np.mean(LAST),
        "compat:robust_range": stats.iqr(x, rng=(5, 95)),
        "compat:rms_deviation": np.std(x),
        "compat:mpsd": 2 * np.var(x, ddof=1),
        "compat:dist_std": np.std([abs(a - b) for i, a in enumerate(c) for b in c[i + 1 :]]),
        "textbook:star_discrepancy": stats.kstest(x, "uniform").statistic,
        "textbook:mpsd": 2 * np.var(x),
    }
    for name, value in expected.items():
        assert compute(name, c)[0] == pytest.approx(value, rel=1e-11, abs=1e-12), name


@both
@given(c=scores)
def test_projection_depth_against_scipy_scaling(compute: Any, c: list[float]) -> None:
    x, scale = np.array(c), stats.median_abs_deviation(c, scale="normal")
    signal, noise = compute("compat:projection", c)
    if scale == 0:
        assert math.isnan(signal)
        assert math.isnan(noise)
        return
    depths = 1 / (1 + np.abs(x - np.median(x)) / scale)
    depths_of_last = 1 / (1 + np.abs(np.array(LAST) - np.median(x)) / scale)
    assert signal == pytest.approx(stats.iqr(depths) / np.mean(LAST), rel=1e-11, abs=1e-12)
    assert noise == pytest.approx(np.mean(STEP) / np.mean(depths_of_last), rel=1e-11)


@both
@given(c=scores)
def test_entropies_against_numpy_histogram(compute: Any, c: list[float]) -> None:
    x = np.array(c)
    iqr = np.percentile(x, 75) - np.percentile(x, 25)
    width = 2 * iqr / len(x) ** (1 / 3) if iqr > 0 else 0.1
    bins = max(5, min(int((x.max() - x.min()) / width), len(x)))
    densities, _ = np.histogram(x, bins, density=True)
    counts, _ = np.histogram(x, bins)
    densities, shares = densities[densities > 0], counts[counts > 0] / len(x)
    assert compute("compat:entropy", c)[0] == pytest.approx(
        -np.sum(densities * np.log(densities)), rel=1e-10, abs=1e-12
    )
    assert compute("textbook:entropy", c)[0] == pytest.approx(stats.entropy(shares), rel=1e-11, abs=1e-14)


@both
def test_textbook_forms_by_hand(compute: Any) -> None:
    assert compute("textbook:mpd", C)[0] == pytest.approx(0.05 * 20 / 25)
    assert compute("textbook:mpsd", C)[0] == pytest.approx(0.00314 * 20 / 25)
    assert compute("textbook:gini", C)[0] == pytest.approx(0.05 * 20 / 25 / (2 * 0.448))
    assert compute("textbook:star_discrepancy", C)[0] == pytest.approx(0.5)  # F_n(0.5) = 1
    assert compute("textbook:gini", [0.0, 0.0, 0.0, 1.0])[0] == pytest.approx(0.75)


@both
def test_differential_entropy_of_a_grid(compute: Any) -> None:
    c = np.arange(6) / 10
    harmonic = sum(1 / k for k in range(1, 6))
    assert compute("compat:differential_entropy", c)[0] == pytest.approx(math.exp(harmonic) * 2 * 0.1)
    assert compute("compat:rel_differential_entropy", c)[0] == pytest.approx(
        math.exp(harmonic) * 2 * 0.1 / 0.45
    )
    # The reference breaks ties with random jitter; here they are undefined.
    assert math.isnan(compute("compat:differential_entropy", [0.1, 0.2, 0.2])[0])


DEGREE = {  # signal(a c + b) = a^degree signal(c), with the last scores left alone
    **dict.fromkeys(["dispersion", "rel_dispersion", "range", "mpd", "rel_mpd", "mad", "aad", "dist_std"], 1),
    **dict.fromkeys(["quartile_deviation", "rms_deviation", "iqr", "robust_range"], 1),
    **dict.fromkeys(["differential_entropy", "rel_differential_entropy"], 1),
    **dict.fromkeys(["mpsd", "rel_mpsd"], 2),
    **dict.fromkeys(["dispersion_shifted", "star_discrepancy_shifted", "gini", "tukey", "projection"], 0),
}


@both
@given(c=scores, scale=st.sampled_from([0.25, 2.0, 8.0]), shift=st.sampled_from([-4.0, 0.5, 16.0]))
def test_shift_and_scale(compute: Any, c: list[float], scale: float, shift: float) -> None:
    c = [
        round(x * 64) / 64 for x in c
    ]  # exact in binary, so that ties and zero deviations stay what they are
    moved = [scale * x + shift for x in c]
    for name, degree in DEGREE.items():
        signal = compute(f"compat:{name}", c)[0]
        expected = pytest.approx(scale**degree * signal, rel=1e-9, abs=1e-12, nan_ok=True)
        assert compute(f"compat:{name}", moved)[0] == expected, name


@given(c=scores, seed=st.integers(0, 99))
def test_order_of_the_scores_does_not_matter(c: list[float], seed: int) -> None:
    shuffled = np.random.default_rng(seed).permutation(c)
    for name in SIGNAL_VARIANTS.keys() - {"compat:rel_std"}:
        np.testing.assert_array_equal(kernel(name, c), kernel(name, shuffled), err_msg=name)


@given(c=scores)
def test_identities_between_variants(c: list[float]) -> None:
    def signal(name: str) -> float:
        return kernel(f"compat:{name}", c)[0]

    level = float(np.mean(LAST))
    assert signal("range") == signal("dispersion") == pytest.approx(signal("rel_dispersion") * level)
    assert signal("mpd") == pytest.approx(signal("rel_mpd") * level)
    assert signal("mpd") ** 2 + signal("dist_std") ** 2 == pytest.approx(signal("mpsd"), abs=1e-15)
    assert signal("dispersion_shifted") == 1 or len(set(c)) == 1
    assert kernel("textbook:mpd", c)[0] * len(c) == pytest.approx(signal("mpd") * (len(c) - 1))


CONSTANT_IS_NAN = {
    "compat:star_discrepancy_shifted",
    "compat:dispersion_shifted",
    "compat:gini",
    "compat:projection",
    "compat:differential_entropy",
    "compat:rel_differential_entropy",
}
CONSTANT_IS_NOT_ZERO = {
    "compat:rel_std": 0.04 / 0.1,
    "compat:discrepancy": 1 / 12 + 0.4**2,
    "compat:star_discrepancy": (7 / 30 + 17 / 30 + 0.9) / 4,  # |1/3 - .1| + |2/3 - .1| + |1 - .1| over n + 1
    "compat:rel_star_discrepancy": (7 / 30 + 17 / 30 + 0.9) / 4 / 0.45,
    "compat:entropy": -5 * math.log(5),  # one bin of width 0.2
    "textbook:star_discrepancy": 0.9,
}


@both
@pytest.mark.parametrize("name", SIGNAL_VARIANTS)
def test_equal_scores(name: str, compute: Any) -> None:
    signal, _ = compute(name, [0.1, 0.1, 0.1])
    if name in CONSTANT_IS_NAN:
        assert math.isnan(signal)
    else:
        assert signal == pytest.approx(CONSTANT_IS_NOT_ZERO.get(name, 0.0), rel=1e-12, abs=1e-16)


@both
@pytest.mark.parametrize("name", SIGNAL_VARIANTS)
@pytest.mark.parametrize("c", [[], [0.5], [0.5, math.nan], [0.5, math.inf, 0.1]])
def test_undefined_signal(name: str, c: list[float], compute: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        signal, noise = compute(name, c)
    assert math.isnan(signal)
    assert math.isnan(noise) == (name in {"compat:tukey", "compat:projection"})


@both
@pytest.mark.parametrize("name", SIGNAL_VARIANTS)
def test_undefined_noise(name: str, compute: Any) -> None:
    relative = name.split(":")[1] in {"iqr", "tukey", "projection"} or name.startswith("compat:rel_")
    for last in ([], [-0.5, 0.5], [math.nan]):
        signal, noise = compute(name, C, last)
        assert math.isnan(signal) == (relative and name != "compat:rel_std")
        # A depth is a number for every last score, so only these two survive a mean of 0.
        if name not in {"compat:tukey", "compat:projection"}:
            assert math.isnan(noise)
    assert math.isnan(compute(name, C, LAST, [])[1])


@both
def test_zero_mean_of_the_scores(compute: Any) -> None:
    for name in ("compat:rel_std", "textbook:gini"):
        assert math.isnan(compute(name, [-0.5, 0.5])[0])


@both
def test_discrepancies_live_on_the_unit_interval(compute: Any) -> None:
    for c in ([-0.1, 0.5], [0.5, 1.5]):
        assert math.isnan(compute("compat:discrepancy", c)[0])
        assert math.isnan(compute("textbook:star_discrepancy", c)[0])
        assert not math.isnan(compute("compat:star_discrepancy", c)[0])  # its formula asks for no bounds


def test_array_form_takes_any_sequence_and_returns_floats() -> None:
    found = reference.signal_variant("rel_dispersion", tuple(C), np.array(LAST), range(1, 3), ())
    assert [type(x) for x in found] == [float] * 3
    assert found[0] == pytest.approx(0.1 / 0.45)
    assert math.isnan(reference.signal_variant("rel_dispersion", C, LAST, [0.0, 0.0], [])[2])


def test_groups_must_agree_in_number() -> None:
    offsets, short = np.array([0, 0], dtype=np.uintp), np.array([0], dtype=np.uintp)
    for function in (core.signal_variant_groups, reference.signal_variant_groups):
        with pytest.raises(ShapeError):
            function("compat:mpd", *[np.empty(0), offsets] * 3, np.empty(0), short)
        with pytest.raises(ShapeError):
            function("compat:mpd", np.ones(2), *[offsets, np.empty(0)] * 3, offsets)
