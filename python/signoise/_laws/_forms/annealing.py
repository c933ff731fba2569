"""Whole loss curves under a learning-rate schedule."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from .._law import Floats, Law, Parameter
from ._starts import EXPONENTS, separable

#: How much of what annealing has gained so far is kept at each step.
DECAY = 0.999


def annealing_sums(step: Floats, learning_rate: Floats, decay: float = DECAY) -> tuple[Floats, Floats]:
    """S1 = sum of the learning rates up to each step, S2 = sum of their falls, each fading by `decay` a step.

    m_i = decay m_(i-1) + (rate_(i-1) - rate_i), m_0 = 0, S2 = sum m_i. Steps between two rows take rates between theirs
    (a straight line); steps before the first row its rate, which counts a warm-up at the peak.
    """
    last = int(step[-1])
    rates = np.interp(np.arange(1, last + 1), step, learning_rate)
    falls = np.concatenate([[0.0], rates[:-1] - rates[1:]])
    faded = np.empty(last)
    momentum = 0.0
    for index, fall in enumerate(falls.tolist()):
        momentum = decay * momentum + fall
        faded[index] = momentum
    places = np.maximum(step.astype(np.int64), 1) - 1
    return np.cumsum(rates)[places], np.cumsum(faded)[places]


def _prepare(inputs: Mapping[str, Floats], run: NDArray[np.int64]) -> dict[str, Floats]:
    """The sums of every run."""
    s1, s2 = np.empty_like(inputs["step"]), np.empty_like(inputs["step"])
    for one in np.unique(run):
        rows = np.flatnonzero(run == one)
        rows = rows[np.argsort(inputs["step"][rows], kind="stable")]
        s1[rows], s2[rows] = annealing_sums(inputs["step"][rows], inputs["learning_rate"][rows])
    # What else a law speaks of stands as it is.
    return {"s1": s1, "s2": s2} | {name: inputs[name] for name in inputs if name == "params"}


LAWS = (
    Law(
        name="lr_annealing",
        formula="L0 + A * s1**-alpha - C * s2",
        variables={"s1": "summed learning rate", "s2": "summed annealing"},
        parameters=(
            Parameter("L0", (1.0, 2.0, 4.0), 0.0, 10.0, meaning="irreducible loss"),
            Parameter("A", (1.0, 2.0, 4.0), 0.0, 20.0, meaning="gain by training"),
            Parameter("alpha", (0.2, 0.4, 0.6, 0.8, 1.0, 1.2), 0.0, 10.0, meaning="exponent of S1"),
            Parameter("C", (0.5, 1.0), 0.0, 20.0, meaning="gain by annealing"),
        ),
        inputs={"step": "optimizer step", "learning_rate": "learning rate of the step"},
        prepare=_prepare,
        question="What loss curve would another learning-rate schedule give?",
        source="Tissue et al. 2024, arXiv 2408.11029, equation 1 (decay 0.999; bounds of a replication)",
    ),
    Law(
        name="lr_annealing_params",
        formula="L0 + A * s1**-alpha + B * params**-beta - C * s2",
        variables={"s1": "summed learning rate", "s2": "summed annealing", "params": "parameters"},
        parameters=(
            Parameter("L0", lower=0.0, meaning="irreducible loss"),
            Parameter("A", lower=0.0, meaning="gain by training"),
            Parameter("alpha", lower=0.0, upper=10.0, meaning="exponent of S1"),
            Parameter("B", lower=0.0, transform="log", meaning="gain by parameters"),
            Parameter("beta", lower=0.0, upper=10.0, meaning="exponent of parameters"),
            Parameter("C", lower=0.0, meaning="gain by annealing"),
        ),
        starts=separable(
            ("L0", "A", "alpha", "B", "beta", "C"),
            {"alpha": (0.2, 0.5, 0.8, 1.2), "beta": EXPONENTS},
            lambda v, held: {
                "L0": np.ones_like(v["s1"]),
                "A": v["s1"] ** -held["alpha"],
                "B": v["params"] ** -held["beta"],
                "C": -v["s2"],
            },
        ),
        inputs={
            "step": "optimizer step",
            "learning_rate": "learning rate of the step",
            "params": "parameters",
        },
        prepare=_prepare,
        question="What loss curve would another schedule give a model of another size?",
        source="Tissue et al. 2024, arXiv 2408.11029, extension to model sizes (form unverified)",
    ),
)
