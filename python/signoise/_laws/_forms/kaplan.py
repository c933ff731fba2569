"""Laws in which an amount is measured by the one at which the loss is 1: (x_c / x)^alpha, nothing irreducible."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from .._law import Law, Parameter
from ._starts import EXPONENTS, separable

SOURCE = "Kaplan et al. 2020, arXiv 2001.08361"
KAPLAN = "Kaplan et al. 2020"
#: A replication on C4; its coefficients were read in secondary sources alone.
SU = "Su et al. 2024 (unverified)"
_PARAMS = {"params": "non-embedding parameters"}
_TOKENS = {"tokens": "training tokens"}
#: Amounts above this start here: their powers are what is fitted.
_HIGHEST = 1e200


def amounts(**exponents: str) -> Callable[[dict[str, float]], Mapping[str, float]]:
    """Amounts from their powers, each with the name of its exponent."""

    def made(row: dict[str, float]) -> Mapping[str, float]:
        return row | {
            name: min(float(row[name]) ** (1 / row[exponent]), _HIGHEST)
            for name, exponent in exponents.items()
        }

    return made


def _exponent(name: str, of: str) -> Parameter:
    return Parameter(name, lower=1e-4, upper=10.0, meaning=f"exponent of {of}")


def _amount(name: str, of: str) -> Parameter:
    return Parameter(name, lower=0.0, transform="log", meaning=f"{of} at which the term is 1")


LAWS = (
    Law(
        name="kaplan_params",
        formula="(N_c / params)**alpha_N",
        variables=_PARAMS,
        parameters=(_amount("N_c", "parameters"), _exponent("alpha_N", "parameters")),
        starts=separable(
            ("N_c", "alpha_N"),
            {"alpha_N": EXPONENTS},
            lambda v, held: {"N_c": v["params"] ** -held["alpha_N"]},
            made=amounts(N_c="alpha_N"),
        ),
        question="What loss do models of a size reach when trained to convergence on unlimited data?",
        source=f"{SOURCE}, equation 1.1",
        published={KAPLAN: {"N_c": 8.8e13, "alpha_N": 0.076}},
    ),
    Law(
        name="kaplan_tokens",
        formula="(D_c / tokens)**alpha_D",
        variables=_TOKENS,
        parameters=(_amount("D_c", "tokens"), _exponent("alpha_D", "tokens")),
        starts=separable(
            ("D_c", "alpha_D"),
            {"alpha_D": EXPONENTS},
            lambda v, held: {"D_c": v["tokens"] ** -held["alpha_D"]},
            made=amounts(D_c="alpha_D"),
        ),
        question="What loss do large models reach on limited data, stopped in time?",
        source=f"{SOURCE}, equation 1.2",
        published={KAPLAN: {"D_c": 5.4e13, "alpha_D": 0.095}},
    ),
    Law(
        name="kaplan",
        formula="((N_c / params)**(alpha_N / alpha_D) + D_c / tokens)**alpha_D",
        variables=_PARAMS | _TOKENS,
        parameters=(
            _amount("N_c", "parameters"),
            _amount("D_c", "tokens"),
            _exponent("alpha_N", "parameters"),
            _exponent("alpha_D", "tokens"),
        ),
        starts=separable(
            ("N_c", "D_c", "alpha_N", "alpha_D"),
            {"alpha_N": EXPONENTS[:5], "alpha_D": EXPONENTS[:5]},
            lambda v, held: {
                "N_c": v["params"] ** -(held["alpha_N"] / held["alpha_D"]),
                "D_c": 1 / v["tokens"],
            },
            observed=lambda y, _, held: y ** (1 / held["alpha_D"]),
            elasticity=lambda held: held["alpha_D"],
            made=lambda row: (
                row | {"N_c": min(float(row["N_c"]) ** (row["alpha_D"] / row["alpha_N"]), _HIGHEST)}
            ),
        ),
        question="What loss do N parameters and D tokens reach, where nothing is irreducible and both limits interact?",
        source=f"{SOURCE}, equation 1.5",
        published={KAPLAN: {"N_c": 6.4e13, "D_c": 1.8e13, "alpha_N": 0.076, "alpha_D": 0.103}},
    ),
    Law(
        name="kaplan_steps",
        formula="(N_c / params)**alpha_N + (S_c / min_steps)**alpha_S",
        variables=_PARAMS | {"min_steps": "steps at a batch far above the critical one"},
        parameters=(
            _amount("N_c", "parameters"),
            _amount("S_c", "steps"),
            _exponent("alpha_N", "parameters"),
            _exponent("alpha_S", "steps"),
        ),
        starts=separable(
            ("N_c", "S_c", "alpha_N", "alpha_S"),
            {"alpha_N": EXPONENTS, "alpha_S": EXPONENTS},
            lambda v, held: {
                "N_c": v["params"] ** -held["alpha_N"],
                "S_c": v["min_steps"] ** -held["alpha_S"],
            },
            made=amounts(N_c="alpha_N", S_c="alpha_S"),
        ),
        question="What loss does a model have after S steps? With `critical_batch`: at any batch (`loss_trajectory`).",
        source=f"{SOURCE}, equation 1.6",
        published={
            KAPLAN: {"N_c": 6.5e13, "S_c": 2.1e3, "alpha_N": 0.077, "alpha_S": 0.76},
            SU: {"N_c": 1.5e14, "S_c": 2.6e3, "alpha_N": 0.076, "alpha_S": 0.67},
        },
    ),
    Law(
        name="critical_batch",
        formula="B_star / loss**(1 / alpha_B)",
        variables={"loss": "nats per token"},
        parameters=(
            Parameter("B_star", lower=0.0, transform="log", meaning="critical batch at loss 1, tokens"),
            Parameter("alpha_B", lower=0.01, upper=10.0, meaning="inverse exponent of the loss"),
        ),
        y="batch_tokens",
        objective="lsq_log",
        starts=separable(
            ("B_star", "alpha_B"),
            {"alpha_B": (0.1, 0.2, 0.4, 1.0)},
            lambda v, held: {"B_star": v["loss"] ** (-1 / held["alpha_B"])},
        ),
        question="Above which batch do further tokens per step save no more steps, at a given loss?",
        source=f"{SOURCE}, equation 1.4",
        published={KAPLAN: {"B_star": 2e8, "alpha_B": 0.21}, SU: {"B_star": 1.7e8, "alpha_B": 0.205}},
    ),
    Law(
        name="batch_tradeoff",
        formula="S_min * (1 + B_crit / batch_tokens)",
        variables={"batch_tokens": "tokens per step"},
        parameters=(
            Parameter("S_min", lower=0.0, transform="log", meaning="fewest steps, at a very large batch"),
            Parameter("B_crit", lower=0.0, transform="log", meaning="critical batch, tokens"),
        ),
        y="steps",
        objective="lsq_log",
        starts=separable(
            ("S_min", "B_crit"),
            {},
            lambda v, _: {"S_min": v["batch_tokens"] ** 0, "B_crit": 1 / v["batch_tokens"]},
            made=lambda row: row | {"B_crit": row["B_crit"] / row["S_min"]},
        ),
        question="How many steps to one loss at each batch: the fewest steps and the critical batch.",
        source=f"{SOURCE}, equation 5.1: (S / S_min - 1)(E / E_min - 1) = 1, E = batch x S",
    ),
    Law(
        name="characteristic_scale",
        formula="(x_c / x)**alpha",
        variables={"x": "any amount: params, tokens, flops"},
        parameters=(_amount("x_c", "amount"), _exponent("alpha", "the amount")),
        starts=separable(
            ("x_c", "alpha"),
            {"alpha": EXPONENTS},
            lambda v, held: {"x_c": v["x"] ** -held["alpha"]},
            made=amounts(x_c="alpha"),
        ),
        question="At what amount would the loss be 1, and does the exponent hold out of distribution (time series)?",
        source="Yao et al. 2024, arXiv 2410.12360 (time-series models; params, tokens, flops)",
    ),
)
