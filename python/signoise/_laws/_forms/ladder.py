"""The model ladder: task loss of small models, and task accuracy of task loss."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from .._law import Floats, Law, Parameter
from .chinchilla import FORMULA, VARIABLES, powers_of_e

SOURCE = "Bhagia et al. 2024, arXiv 2412.04403"
_COMPUTE = {"flops": "training compute"}


def _sigmoid_starts(variables: Mapping[str, Floats], y: Floats) -> Floats:
    """Rates and middles over the range of the losses; height and floor follow from the scores."""
    (loss,) = variables.values()
    low, high = float(np.min(y)), float(np.max(y))
    middles = np.unique(np.quantile(loss, [0.0, 0.25, 0.5, 0.75, 1.0]))
    rows = [(low - 1.0, 0.9, 3.0, max(high, 1.0))]
    rows += [
        (low - high if high > low else -0.5, middle, rate, high)
        for middle in (*middles, 0.5 * middles[0], 1.5 * middles[-1])
        for rate in (1.0, 3.0, 8.0, 20.0)
    ]
    return np.array(rows)


def _log_sigmoid_starts(variables: Mapping[str, Floats], _: Floats) -> Floats:
    (loss,) = variables.values()
    rows = [(-0.1, 0.9, 3.0)]
    rows += [
        (height, middle, rate)
        for height in (-0.5, -0.1, -0.02)
        for middle in np.quantile(loss, [0.0, 0.5, 1.0])
        for rate in (1.0, 3.0, 10.0)
    ]
    return np.array(rows)


def _chained_starts(_: Mapping[str, Floats], y: Floats) -> Floats:
    """A few laws of the loss under the sigmoid of the reference."""
    low = float(np.min(y))
    rows = [(math.exp(3.0), math.exp(5.0), 0.2, 0.3, 0.0, low - 1.0, 1.0)]
    rows += [
        (math.exp(a), math.exp(b), alpha, beta, 0.0, low - 1.0, 1.0)
        for a, alpha in ((2.0, 0.1), (4.0, 0.2), (8.0, 0.4))
        for b, beta in ((2.0, 0.1), (5.0, 0.2), (9.0, 0.4))
    ]
    return np.array(rows)


def _chained_compute_starts(_: Mapping[str, Floats], y: Floats) -> Floats:
    low, high = float(np.min(y)), float(np.max(y))
    return np.array(
        [
            (math.exp(a), alpha, constant, low - 1.0, middle, rate, max(high, 0.9))
            for a, alpha in ((3.0, 0.05), (5.0, 0.12), (10.0, 0.25))
            for constant in (0.0, 0.5)
            for middle in (0.5, 1.0)
            for rate in (2.0, 6.0)
        ]
    )


LAWS = (
    Law(
        name="ladder_loss",
        formula=FORMULA,
        variables=VARIABLES,
        parameters=(
            Parameter("A", powers_of_e((3.0, 6.0, 10.0)), 1.0, transform="log", meaning="gain by parameters"),
            Parameter("B", powers_of_e((3.0, 6.0, 10.0)), 1.0, transform="log", meaning="gain by tokens"),
            Parameter("alpha", (0.1, 0.3), 0.0, meaning="exponent of parameters"),
            Parameter("beta", (0.2, 0.4), 0.0, meaning="exponent of tokens"),
            Parameter("E", (1.0, 0.2), 0.0, meaning="irreducible task loss"),
        ),
        y="bits_per_byte",
        question="What task loss (bits per byte of the right answer) will the target model have?",
        source=f"{SOURCE}, section 3.1, with the bounds of the released code",
    ),
    Law(
        name="ladder_loss_flops",
        formula="E + A * flops**-alpha",
        variables=_COMPUTE,
        parameters=(
            Parameter("A", powers_of_e((3.0, 6.0, 10.0)), 1.0, transform="log", meaning="gain by compute"),
            Parameter("alpha", (0.05, 0.1, 0.2, 0.4), 0.0, 1.0, meaning="exponent of compute"),
            Parameter("E", (0.5, 0.05), 0.0, meaning="irreducible task loss"),
        ),
        y="bits_per_byte",
        question="The same from compute alone.",
        source=f"{SOURCE}, appendix (FLOPs variant)",
    ),
    Law(
        name="ladder_loss_flops_pure",
        formula="A * flops**-alpha",
        variables=_COMPUTE,
        parameters=(
            Parameter(
                "A", powers_of_e((1.0, 3.0, 6.0, 10.0)), 1.0, transform="log", meaning="gain by compute"
            ),
            Parameter("alpha", (0.02, 0.05, 0.1, 0.4), 0.0, 1.0, meaning="exponent of compute"),
        ),
        y="bits_per_byte",
        question="The same with nothing irreducible: two parameters for very few runs.",
        source=f"{SOURCE}, appendix (FLOPs variant)",
    ),
    Law(
        name="ladder_accuracy",
        formula="E - A * params**-alpha - B * tokens**-beta",
        variables=VARIABLES,
        parameters=(
            Parameter(
                "A", powers_of_e((1.0, 2.0, 5.0)), 1.0, transform="log", meaning="loss by few parameters"
            ),
            Parameter("B", powers_of_e((1.0, 2.0, 5.0)), 1.0, transform="log", meaning="loss by few tokens"),
            Parameter("alpha", (0.1, 0.2, 0.4), 0.0, meaning="exponent of parameters"),
            Parameter("beta", (0.1, 0.2, 0.4), meaning="exponent of tokens"),
            Parameter("E", (1.0, 0.7), meaning="highest accuracy"),
        ),
        y="accuracy",
        question="What accuracy will the target model have, without a step over the loss?",
        source=f"{SOURCE}, section 5 (accuracy without intermediate step)",
    ),
    Law(
        name="ladder_accuracy_flops",
        formula="E - A * flops**-alpha",
        variables=_COMPUTE,
        parameters=(
            Parameter("A", (1.35, 5.0, 50.0), 1.0, transform="log", meaning="loss by little compute"),
            Parameter("alpha", (0.005, 0.05, 0.15), 0.0, meaning="exponent of compute"),
            Parameter("E", (1.4, 0.9), 0.0, meaning="highest accuracy"),
        ),
        y="accuracy",
        question="The same from compute alone.",
        source=f"{SOURCE}, appendix (negated FLOPs variant)",
    ),
    Law(
        name="ladder_sigmoid",
        formula="a * sigmoid(k * (loss - x0)) + b",
        variables={"loss": "task loss, bits per byte"},
        parameters=(
            Parameter("a", lower=-1.0, upper=0.0, meaning="height, below 0"),
            Parameter("x0", lower=0.0, meaning="loss in the middle"),
            Parameter("k", lower=0.0, meaning="steepness"),
            Parameter("b", lower=0.0, upper=1.0, meaning="accuracy at loss 0"),
        ),
        y="accuracy",
        objective="lsq",
        starts=_sigmoid_starts,
        question="What accuracy does a task loss mean?",
        source=f"{SOURCE}, section 3.2, with the bounds of the released code",
    ),
    Law(
        name="ladder_log_sigmoid",
        formula="1 + a * softplus(k * (loss - x0))",
        variables={"loss": "task loss, bits per byte"},
        parameters=(
            Parameter("a", upper=0.0, meaning="slope, below 0"),
            Parameter("x0", lower=0.0, meaning="loss at the bend"),
            Parameter("k", lower=0.0, meaning="steepness"),
        ),
        y="accuracy",
        objective="lsq",
        starts=_log_sigmoid_starts,
        question="The same where accuracy goes on falling with the loss: 1 - a ln(1 - sigmoid).",
        source=f"{SOURCE}, released code (log-sigmoid)",
    ),
    Law(
        name="ladder_single_step",
        formula="maximum(p * sigmoid(E + A * params**-alpha + B * tokens**-beta) + q, 0.000001)",
        variables=VARIABLES,
        parameters=(
            Parameter("A", lower=1.0, transform="log", meaning="gain by parameters"),
            Parameter("B", lower=1.0, transform="log", meaning="gain by tokens"),
            Parameter("alpha", lower=0.0, meaning="exponent of parameters"),
            Parameter("beta", lower=0.0, meaning="exponent of tokens"),
            Parameter("E", meaning="shift"),
            Parameter("p", lower=-1.0, upper=0.0, meaning="height, below 0"),
            Parameter("q", lower=0.0, upper=1.0, meaning="highest accuracy"),
        ),
        y="accuracy",
        starts=_chained_starts,
        question="Both steps in one: accuracy of parameters and tokens through a sigmoid.",
        source=f"{SOURCE}, section 5 (single step)",
    ),
    Law(
        name="ladder_single_step_flops",
        formula="a * sigmoid(k * (A * flops**-alpha + E - x0)) + b",
        variables=_COMPUTE,
        parameters=(
            Parameter("A", lower=0.0, transform="log", meaning="gain by compute"),
            Parameter("alpha", meaning="exponent of compute"),
            Parameter("E", meaning="irreducible loss"),
            Parameter("a", meaning="height"),
            Parameter("x0", meaning="loss in the middle"),
            Parameter("k", meaning="steepness"),
            Parameter("b", meaning="accuracy at loss 0"),
        ),
        y="accuracy",
        starts=_chained_compute_starts,
        question="Both steps in one from compute alone; E and x0, A and k are not identified.",
        source=f"{SOURCE}, appendix (single step, FLOPs)",
    ),
)
