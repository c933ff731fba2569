"""Mixtures of domains and of languages."""

from __future__ import annotations

import numpy as np

from .._law import Law, Parameter
from ._starts import EXPONENTS, separable
from .chinchilla import VARIABLES

LAWS = (
    Law(
        name="multilingual",
        formula="(E + A * params**-alpha + B * tokens**-beta) * share**-gamma",
        variables={**VARIABLES, "share": "sampling ratio of the language family, 0 to 1"},
        parameters=(
            Parameter("E", lower=0.0, meaning="irreducible loss at share 1"),
            Parameter("A", lower=0.0, transform="log", meaning="gain by parameters"),
            Parameter("B", lower=0.0, transform="log", meaning="gain by tokens"),
            Parameter("alpha", lower=0.0, upper=10.0, meaning="exponent of parameters"),
            Parameter("beta", lower=0.0, upper=10.0, meaning="exponent of tokens"),
            Parameter("gamma", lower=0.0, upper=10.0, meaning="exponent of the share"),
        ),
        starts=separable(
            ("E", "A", "B", "alpha", "beta", "gamma"),
            {"alpha": EXPONENTS[1:5], "beta": EXPONENTS[1:5], "gamma": (0.02, 0.05, 0.1, 0.2, 0.4)},
            lambda v, held: {
                "E": np.ones_like(v["params"]),
                "A": v["params"] ** -held["alpha"],
                "B": v["tokens"] ** -held["beta"],
            },
            observed=lambda y, v, held: y * v["share"] ** held["gamma"],
        ),
        question="Which loss has a language family at its share of the data, and which shares are best?",
        source="He et al. 2024, arXiv 2410.12883, equation of L_i(N, D, p_i)",
    ),
    Law(
        name="critical_mixture",
        formula="b_0 + b_1 * tokens**s",
        variables={"tokens": "tokens of continued pre-training"},
        parameters=(
            Parameter("b_0", meaning="share at no tokens"),
            Parameter("b_1", meaning="growth"),
            Parameter("s", lower=-5.0, upper=5.0, meaning="exponent of tokens"),
        ),
        y="domain_share",
        objective="lsq",
        starts=separable(
            ("b_0", "b_1", "s"),
            {"s": (-1.0, -0.3, -0.1, 0.1, 0.3, 1.0)},
            lambda v, held: {"b_0": np.ones_like(v["tokens"]), "b_1": v["tokens"] ** held["s"]},
            signed=("b_0", "b_1"),
        ),
        question="How much domain data may continued pre-training take before the general loss rises?",
        source="Gu et al. 2024, arXiv 2407.17467 (form from summaries)",
    ),
    Law(
        name="mixture_loss",
        formula="alpha * share**s + beta",
        variables={"share": "share of the domain, 0 to 1"},
        parameters=(
            Parameter("alpha", meaning="effect of the share"),
            Parameter("s", lower=-5.0, upper=5.0, meaning="exponent of the share"),
            Parameter("beta", meaning="loss without it"),
        ),
        objective="lsq",
        starts=separable(
            ("alpha", "s", "beta"),
            {"s": (-1.0, -0.3, -0.1, 0.2, 0.5, 1.0, 2.0)},
            lambda v, held: {"alpha": v["share"] ** held["s"], "beta": np.ones_like(v["share"])},
            signed=("alpha", "beta"),
        ),
        question="General or domain loss of the share of domain data, at one number of tokens.",
        source="Gu et al. 2024, arXiv 2407.17467 (form unverified)",
    ),
)
