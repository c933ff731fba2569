"""Data seen again, and data pruned: what is it still worth?"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ..._errors import OptionError
from .._law import Floats, Law, Parameter
from ._starts import EXPONENTS, Variables, power, separable
from .chinchilla import VARIABLES

#: Epochs of one pool that the laws of repetition speak of.
EPOCHS = 16
FILTERING = "Goyal et al. 2024, arXiv 2404.07177"
#: Samples that count as one in the released code.
_NORMALISER = 1e5
_HALF_LIVES = (0.3, 1.0, 3.0, 10.0, 40.0)
_SLOPES = (-0.05, -0.1, -0.2, -0.35, -0.6, -1.0)
_POOL = {"samples": "samples seen, repetitions counted", "pool_size": "different samples there are"}


def _epochs(inputs: Mapping[str, Floats]) -> tuple[Floats, Floats]:
    """Samples seen before and until the end of each epoch (n_points, EPOCHS)."""
    seen, pool = inputs["samples"][:, None], inputs["pool_size"][:, None]
    most = float(np.max(seen / pool)) if len(seen) else 0.0
    if most > EPOCHS:
        raise OptionError(
            f"samples is {most:.3g} times pool_size; the laws of repetition hold {EPOCHS} epochs: filter longer runs"
        )
    index = np.arange(EPOCHS)
    return np.minimum(seen, index * pool), np.minimum(seen, (index + 1) * pool)


def _log_ratios(inputs: Mapping[str, Floats], _: NDArray[np.int64]) -> dict[str, Floats]:
    """The logarithm of samples in the first epoch, then how it grows in each."""
    before, after = _epochs(inputs)
    with np.errstate(divide="ignore"):
        grown = np.log(after) - np.where(before > 0, np.log(before), 0.0)
    return {f"r{epoch}": grown[:, epoch] for epoch in range(EPOCHS)}


def _counts(inputs: Mapping[str, Floats], _: NDArray[np.int64]) -> dict[str, Floats]:
    """Samples seen in each epoch."""
    before, after = _epochs(inputs)
    return {f"n{epoch}": (after - before)[:, epoch] for epoch in range(EPOCHS)}


def _faded(letter: str, first: int) -> str:
    """The sum over epochs from `first` on, each worth a share 2^(-1/c) of the one before."""
    share = "0.5**(1/c)"
    text = f"{letter}{EPOCHS - 1}"
    for epoch in range(EPOCHS - 2, first - 1, -1):
        text = f"({letter}{epoch} + {share} * {text})"
    return text if first == 0 else f"{share} * {text}"


def faded(variables: Variables, letter: str, half_life: float, first: int = 0) -> Floats:
    """The same as numbers."""
    total = sum(variables[f"{letter}{epoch}"] * 0.5 ** (epoch / half_life) for epoch in range(first, EPOCHS))
    return np.asarray(total, dtype=np.float64)


def _unique(inputs: Mapping[str, Floats], _: NDArray[np.int64]) -> dict[str, Floats]:
    """No more different tokens than tokens; `repeats` of each beyond the first."""
    unique = np.minimum(inputs["unique_tokens"], inputs["tokens"])
    return {"params": inputs["params"], "unique": unique, "repeats": inputs["tokens"] / unique - 1}


def _worth(variables: Variables, half: float) -> Floats:
    return variables["unique"] * (1 + half * -np.expm1(-variables["repeats"] / half))


_B = Parameter("b", upper=0.0, meaning="utility of the pool, below 0")
_HALF_LIFE = Parameter("c", lower=0.05, upper=1e4, transform="log", meaning="epochs in which utility halves")
_FLOOR = Parameter("d", lower=0.0, meaning="irreducible error")
_AT_ONE = Parameter("a", lower=0.0, transform="log", meaning="error at one sample")
_GROWTH = {f"r{epoch}": f"growth of ln samples in epoch {epoch}" for epoch in range(EPOCHS)}
_ORDER, _GRID = ("a", "b", "c", "d"), {"b": _SLOPES, "c": _HALF_LIVES}
_QUESTION = "What does a pool of data still give when it is seen again?"

LAWS = (
    Law(
        name="data_filtering",
        formula=f"a * exp(b * {_faded('r', 0)}) + d",
        variables=_GROWTH,
        inputs=_POOL,
        prepare=_log_ratios,
        parameters=(_AT_ONE, _B, _HALF_LIFE, _FLOOR),
        y="error",
        starts=separable(
            _ORDER,
            _GRID,
            lambda v, held: {
                "a": np.exp(held["b"] * faded(v, "r", held["c"])),
                "d": np.ones_like(v["r0"]),
            },
        ),
        question=_QUESTION,
        source=f"{FILTERING}, equation 3: y = a prod (n_e / n_(e-1))^(b_e) + d, b_e = b 2^(-e / c)",
    ),
    Law(
        name="data_filtering_code",
        formula=f"(exp(b * (log(a / {_NORMALISER:.0f}) + r0)) + d) * exp(b * {_faded('r', 1)})",
        variables=_GROWTH,
        inputs=_POOL,
        prepare=_log_ratios,
        parameters=(
            Parameter("a", lower=0.0, transform="log", meaning="factor of samples, in 1e5"),
            _B,
            _HALF_LIFE,
            _FLOOR,
        ),
        y="error",
        starts=separable(
            _ORDER,
            _GRID,
            lambda v, held: {
                "a": np.exp(held["b"] * (v["r0"] + faded(v, "r", held["c"], 1))),
                "d": np.exp(held["b"] * faded(v, "r", held["c"], 1)),
            },
            made=lambda row: row | {"a": _NORMALISER * power(row["a"], 1 / row["b"], 1e100)},
        ),
        question="The same as the authors' code has it: repetition also shrinks what is irreducible.",
        source=f"{FILTERING}, released code (func_effective_utility)",
    ),
    Law(
        name="effective_samples",
        formula=f"a * {_faded('n', 0)}**b + d",
        variables={f"n{epoch}": f"samples seen in epoch {epoch}" for epoch in range(EPOCHS)},
        inputs=_POOL,
        prepare=_counts,
        parameters=(_AT_ONE, _B, _HALF_LIFE, _FLOOR),
        y="error",
        starts=separable(
            _ORDER,
            _GRID,
            lambda v, held: {
                "a": faded(v, "n", held["c"]) ** held["b"],
                "d": np.ones_like(v["n0"]),
            },
        ),
        question="How many fresh samples is a pool worth that is seen again?",
        source=f"{FILTERING}, released code (func_effective_data)",
    ),
    Law(
        name="repeated_tokens",
        formula="E + A * params**-alpha + B * (unique * (1 + R * (1 - exp(-repeats / R))))**-beta",
        variables={
            "params": "parameters",
            "unique": "different tokens",
            "repeats": "times that each was seen again",
        },
        inputs={**VARIABLES, "unique_tokens": "different tokens"},
        prepare=_unique,
        parameters=(
            Parameter("A", lower=0.0, transform="log", meaning="gain by parameters"),
            Parameter("B", lower=0.0, transform="log", meaning="gain by tokens"),
            Parameter("alpha", lower=0.0, upper=10.0, meaning="exponent of parameters"),
            Parameter("beta", lower=0.0, upper=10.0, meaning="exponent of tokens"),
            Parameter("E", lower=0.0, meaning="irreducible loss"),
            Parameter(
                "R", lower=0.0, transform="log", meaning="repetitions after which 63 % of all gain is had"
            ),
        ),
        starts=separable(
            ("A", "B", "alpha", "beta", "E", "R"),
            {"alpha": EXPONENTS[1:5], "beta": EXPONENTS[1:5], "R": (3.0, 15.387756, 60.0)},
            lambda v, held: {
                "E": np.ones_like(v["params"]),
                "A": v["params"] ** -held["alpha"],
                "B": _worth(v, held["R"]) ** -held["beta"],
            },
        ),
        question="What loss do tokens reach that are seen several times, and how many fresh ones are they worth?",
        source="Muennighoff et al. 2023, arXiv 2305.16264, equation 5 (of the data; parameters as they are)",
    ),
    Law(
        name="pruned_data",
        formula="E + A * exp(-(x / scale)**p)",
        variables={"x": "examples kept, or any amount"},
        parameters=(
            Parameter("E", lower=0.0, meaning="irreducible error"),
            Parameter("A", lower=0.0, meaning="what can be gained"),
            Parameter("scale", lower=0.0, transform="log", meaning="amount after which 63 % of A is gained"),
            Parameter("p", lower=0.01, upper=5.0, meaning="1: exponential; towards 0: a power law"),
        ),
        y="error",
        starts=separable(
            ("E", "A", "scale", "p"),
            {
                "p": (0.1, 0.3, 0.6, 1.0),
                "scale": lambda v, _: tuple(np.quantile(v["x"], (0.0, 0.25, 0.5, 0.75, 1.0))),
            },
            lambda v, held: {
                "E": np.ones_like(v["x"]),
                "A": np.exp(-((v["x"] / held["scale"]) ** held["p"])),
            },
        ),
        question="Does well-pruned data make the error fall faster than any power of its amount? Compare `power_law`.",
        source="Sorscher et al. 2022, arXiv 2206.14486, section 2: E + A exp(-kappa n^p), kappa = scale^-p",
    ),
)
