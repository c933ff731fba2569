"""What a comparison of two models can detect: of instances, smallest difference and power, two give the third."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal, TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ._errors import OptionError
from ._kernels import kernels
from ._options import check_choice, check_count, check_level, signature
from ._status import result_column

Floats = NDArray[np.float64]
Pair: TypeAlias = float | tuple[float, float]
Design = Literal["paired", "unpaired"]

#: Whole numbers are rounded up, but not for the last digits of a quotient.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Variances:
    """Parts of the variance of a difference between two models, score units squared."""

    items: float
    """Between instances, of the quantity compared."""
    samples_a: float
    """Between generations of one instance, first model."""
    samples_b: float
    training: float = 0.0
    """Of the difference between two trained models that no instance can reduce."""
    design_effect: float = 1.0

    def of_difference(self, n: Floats, samples_a: Floats, samples_b: Floats) -> Floats:
        """Variance of the difference over n instances with so many generations each."""
        an_item = self.items + self.samples_a / samples_a + self.samples_b / samples_b
        return self.design_effect * an_item / n + self.training


def power(
    *,
    n: int | Sequence[int] | None = None,
    mde: float | Sequence[float] | None = None,
    power: float | Sequence[float] | None = None,
    samples: int | Sequence[int] | None = None,
    samples_b: int | None = None,
    design: Design = "paired",
    variance_items: Pair | None = None,
    variance_samples: Pair = 0.0,
    p: Pair | None = None,
    correlation: float | None = None,
    variance_seed: float = 0.0,
    variance_step: float = 0.0,
    seeds: int = 1,
    checkpoints: int = 1,
    design_effect: float = 1.0,
    confidence_level: float = 0.95,
) -> pl.DataFrame:
    """How many instances a comparison takes, or what it can detect.

    Of `n`, `mde` and `power` give two and get the third; with only `n` or `mde`, power is 0.8. With all three given,
    the generations per instance are solved for. Lists make a row for every combination.

    Parameters
    ----------
    n
        Instances both models are scored on (paired), or instances of each model (unpaired).
    mde
        Smallest true difference to be detected, score units.
    power
        Probability that a two-sided test at 1 - `confidence_level` detects it.
    samples
        Generations (repeats) of each instance by each model, averaged; 1 by default.
    samples_b
        Of the second model, where it differs.
    design
        ``"paired"``: both models see the same instances. ``"unpaired"``: each has its own.
    variance_items
        Paired: variance over instances of the difference between the models' expected scores. Unpaired: variance
        over instances of one model's expected score, or a pair with one of each.
    variance_samples
        Variance between generations of one instance, averaged over instances; a pair if the models differ. 0: scores
        of an instance do not vary, or `variance_items` is of scores as measured, with their number of generations.
    p
        Instead of `variance_items`, for 0/1 scores: probability of success, or a pair; each score has the variance
        p (1 - p), of which `variance_samples` is a part.
    correlation
        With `p` and paired: correlation over instances of the two models' scores.
    variance_seed, variance_step
        Between training seeds and between late checkpoints of one run, of a score over all instances: for claims
        about recipes and not only these two checkpoints. See `signoise.variance`.
    seeds, checkpoints
        Training runs of each recipe and (independent) checkpoints of each run, whose scores are averaged.
    design_effect
        Factor on the variance over instances where they come in clusters, e.g. 1 + (size - 1) * intraclass
        correlation.
    confidence_level
        Of the interval or test.

    Returns
    -------
    DataFrame
        ``n, samples_a, samples_b, seeds, checkpoints, mde, power, confidence_level, design``; ``variance_items`` (of
        the difference), ``variance_samples_a, variance_samples_b, variance_seed, variance_step, design_effect``;
        ``stderr`` of the difference; ``solved_for``, ``status``, ``signature``. Counts are rounded up.

    Undefined when
        No number of instances (of generations) is enough, because what they cannot reduce is too large already
        (``unreachable``).

    Raises
    ------
    OptionError
        For options out of range, or too many or too few of them.

    Notes
    -----
    Normal theory: ``mde = (z_a + z_b) sqrt(V)`` with z_a the two-sided normal quantile of the level, z_b that of the
    power, ``V = design_effect (w + s_A/K_A + s_B/K_B)/n + 2 (seed + step/checkpoints)/seeds``. The chance to reject
    on the wrong side is left out. It is optimistic below about 30 instances.

    References
    ----------
    Miller 2024, "Adding error bars to evals", arXiv 2411.00640, section 5.

    Examples
    --------
    >>> import signoise as sn
    >>> sn.power(mde=0.03, variance_items=1 / 9)["n"].item()
    969
    >>> sn.power(n=164, p=0.5, design="unpaired")["mde"].round(5).item()
    0.15469
    """
    check_level(confidence_level)
    check_choice("design", design, ("paired", "unpaired"))
    check_count("seeds", seeds)
    check_count("checkpoints", checkpoints)
    for name, value in (("variance_seed", variance_seed), ("variance_step", variance_step)):
        _check_variance(name, value)
    if not 1.0 <= design_effect < np.inf:
        raise OptionError(f"design_effect must be a number of at least 1, got {design_effect!r}")
    given, solve = _what_to_solve(
        {"n": n, "mde": mde, "power": power, "samples": samples}, 1 - confidence_level, samples_b
    )
    noise_a, noise_b = _pair("variance_samples", variance_samples)
    variances = Variances(
        items=_item_variance(design, variance_items, p, correlation, (noise_a, noise_b)),
        samples_a=noise_a,
        samples_b=noise_b,
        training=2 * (variance_seed + variance_step / checkpoints) / seeds,
        design_effect=design_effect,
    )
    grid = np.array(list(zip(*product(*given.values()), strict=True)), dtype=float)
    columns = dict(zip(given, grid, strict=True))
    k_b = None if samples_b is None else float(samples_b)
    solved = _solve(columns, solve, variances, k_b, confidence_level)
    rows = len(grid[0])
    settings: dict[str, Any] = {
        "confidence_level": confidence_level,
        "design": design,
        "variance_items": variances.items,
        "variance_samples_a": noise_a,
        "variance_samples_b": noise_b,
        "variance_seed": float(variance_seed),
        "variance_step": float(variance_step),
        "design_effect": float(design_effect),
    }
    unreachable = np.isnan(solved[solve])
    return pl.DataFrame(
        [
            *(_count_column(name, solved[name]) for name in ("n", "samples_a", "samples_b")),
            pl.Series("seeds", [seeds] * rows, dtype=pl.Int64),
            pl.Series("checkpoints", [checkpoints] * rows, dtype=pl.Int64),
            *(result_column(name, solved[name]) for name in ("mde", "power")),
            *(pl.Series(name, [value] * rows) for name, value in settings.items()),
            result_column("stderr", solved["stderr"]),
            pl.Series("solved_for", [solve] * rows),
            pl.Series("status", np.where(unreachable, "unreachable", "ok").tolist(), dtype=pl.String),
            pl.Series("signature", [signature("power", design=design, level=confidence_level)] * rows),
        ]
    )


def detectable(stderr: Floats, power: float = 0.8, confidence_level: float = 0.95) -> Floats:
    """Smallest true difference that a two-sided test detects with this power, given the standard error."""
    quantiles = kernels().normal_quantile(np.array([(1 + confidence_level) / 2, power]))
    return float(quantiles.sum()) * stderr


def _solve(
    columns: dict[str, Floats], solve: str, variances: Variances, samples_b: float | None, level: float
) -> dict[str, Floats]:
    """Every column of the design, NaN where nothing reaches the goal."""
    z_level = float(kernels().normal_quantile(np.array([(1 + level) / 2]))[0])
    out = dict(columns)
    goal = out["power"] if solve != "power" else np.full(len(out["n"]), np.nan)
    z = z_level + kernels().normal_quantile(goal)
    if solve != "samples":
        out["samples_a"] = out.pop("samples")
        out["samples_b"] = out["samples_a"] if samples_b is None else np.full(len(z), samples_b)
    effect = variances.design_effect
    with np.errstate(all="ignore"):
        if solve == "n":
            left = (out["mde"] / z) ** 2 - variances.training
            an_item = variances.of_difference(np.ones_like(z), out["samples_a"], out["samples_b"])
            needed = (an_item - variances.training) / left
            out["n"] = np.where(left > 0, np.maximum(round_up(needed), 2.0), np.nan)
        elif solve == "samples":
            left = ((out["mde"] / z) ** 2 - variances.training) * out["n"] / effect - variances.items
            noise = variances.samples_a + variances.samples_b
            enough = (left > 0) | ((left == 0) & (noise == 0))
            needed = noise / left if noise else np.zeros_like(left)
            out["samples_a"] = np.where(enough, np.maximum(round_up(needed), 1.0), np.nan)
            out["samples_b"] = out["samples"] = out["samples_a"]
        out["stderr"] = np.sqrt(variances.of_difference(out["n"], out["samples_a"], out["samples_b"]))
        if solve == "mde":
            out["mde"] = z * out["stderr"]
        elif solve == "power":
            out["power"] = kernels().normal_cdf(out["mde"] / out["stderr"] - z_level)
    return out


def round_up(x: Floats) -> Floats:
    """The next whole number, but for the last digits of a quotient."""
    return np.ceil(x * (1 - _ROUNDING))


def _what_to_solve(
    asked: dict[str, Any], alpha: float, samples_b: int | None
) -> tuple[dict[str, list[float]], str]:
    """Values of the given quantities as lists, and the quantity that is left."""
    given = {name: _several(name, value) for name, value in asked.items() if value is not None}
    triple = [name for name in ("n", "mde", "power") if name in given]
    if not {"n", "mde"} & set(triple):
        raise OptionError("give n (instances) or mde (the difference to detect), or both")
    if len(triple) == 3:
        if "samples" in given or samples_b is not None:
            raise OptionError("n, mde, power and samples are all given; leave out the one to solve for")
        solve = "samples"
    else:
        if len(triple) == 1:
            given["power"] = [0.8]
        given.setdefault("samples", [1.0])
        solve = next(name for name in ("n", "mde", "power") if name not in given)
    for value in given.get("power", []):
        if not alpha / 2 < value < 1:
            raise OptionError(f"power must be between {alpha / 2:g} (no difference) and 1, got {value!r}")
    for value in given.get("mde", []):
        if not 0 < value < np.inf:
            raise OptionError(f"mde must be a positive difference in score units, got {value!r}")
    for name in ("n", "samples"):
        for value in given.get(name, []):
            check_count(name, int(value) if value == int(value) else value)
    if samples_b is not None:
        check_count("samples_b", samples_b)
    return given, solve


def _several(name: str, value: Any) -> list[float]:
    values = (
        list(value) if isinstance(value, (Sequence, np.ndarray)) and not isinstance(value, str) else [value]
    )
    for item in values:
        if isinstance(item, bool) or not isinstance(item, (int, float, np.number)) or not np.isfinite(item):
            raise OptionError(f"{name} must be a number or a list of numbers, got {item!r}")
    if not values:
        raise OptionError(f"{name} is an empty list")
    return [float(item) for item in values]


def _pair(name: str, value: Pair) -> tuple[float, float]:
    values = value if isinstance(value, tuple) else (value, value)
    if len(values) != 2:
        raise OptionError(f"{name} must be one number, or two for the two models, got {value!r}")
    for item in values:
        _check_variance(name, item)
    return float(values[0]), float(values[1])


def _check_variance(name: str, value: float) -> None:
    if not 0 <= value < np.inf:
        raise OptionError(f"{name} must be a number of at least 0, got {value!r}")


def _item_variance(
    design: Design,
    variance_items: Pair | None,
    p: Pair | None,
    correlation: float | None,
    noise: tuple[float, float],
) -> float:
    """Variance over instances of the quantity compared."""
    if (variance_items is None) == (p is None):
        raise OptionError("give either variance_items, or p for 0/1 scores")
    if p is None:
        if correlation is not None:
            raise OptionError(
                "correlation goes with p; variance_items is the variance of differences already"
            )
        assert variance_items is not None
        if design == "paired":
            if isinstance(variance_items, tuple):
                raise OptionError("paired: variance_items is one number, the variance of the differences")
            _check_variance("variance_items", variance_items)
            return float(variance_items)
        return sum(_pair("variance_items", variance_items))
    rates = _pair("p", p)
    if max(rates) > 1:
        raise OptionError(f"p must be a probability, got {p!r}")
    totals = [rate * (1 - rate) for rate in rates]
    if any(part > total for part, total in zip(noise, totals, strict=True)):
        raise OptionError(
            f"variance_samples {noise} is more than the whole variance p (1 - p) = {tuple(totals)}"
        )
    shared = 0.0
    if design == "paired":
        if correlation is None:
            raise OptionError(
                "paired 0/1 scores need correlation, that of the two models' scores over instances (0: as if "
                'unpaired); or give variance_items, or design="unpaired"'
            )
        if not -1 <= correlation <= 1:
            raise OptionError(f"correlation must lie between -1 and 1, got {correlation!r}")
        shared = 2 * correlation * float(np.sqrt(totals[0] * totals[1]))
    elif correlation is not None:
        raise OptionError("unpaired models share no instances, so that correlation means nothing")
    between = sum(totals) - shared - sum(noise)
    if between < -1e-12:
        raise OptionError(
            f"a correlation of {correlation} leaves no room for variance_samples {noise}: generations of one "
            "instance vary independently in both models"
        )
    return max(0.0, between)


def _count_column(name: str, values: Floats) -> pl.Series:
    return pl.Series(name, values, nan_to_null=True).cast(pl.Int64)
