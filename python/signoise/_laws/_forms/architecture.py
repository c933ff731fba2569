"""Loss of what else a model is made of: parallel streams, an encoder and a decoder, few bits."""

from __future__ import annotations

import numpy as np

from .._law import Law, Parameter
from ._starts import on_logs, separable
from .chinchilla import powers_of_e

_HIGH = (0.05, 0.1, 0.2, 0.35, 0.6)

LAWS = (
    Law(
        name="parallel_scaling",
        formula="E + (A * 1e9 / (params * (k * log(streams) + 1)))**alpha",
        variables={"params": "non-embedding parameters", "streams": "parallel streams P"},
        parameters=(
            Parameter("E", powers_of_e((-1.0, -0.5, 0.0)), 1e-8, meaning="irreducible loss"),
            Parameter(
                "A", powers_of_e((-4, -2, 0, 2, 4)), 1e-8, transform="log", meaning="billions of parameters"
            ),
            Parameter("alpha", (0.0, 0.5, 1.0, 1.5, 2.0), 1e-8, meaning="exponent of parameters"),
            Parameter("k", (0.2, 0.4, 0.6, 0.8), 1e-8, meaning="parameters that ln P streams are worth"),
        ),
        question="What loss do P parallel streams reach, and how many parameters are they worth?",
        source="Chen et al. 2025, arXiv 2505.10475, with starts and bounds of the released code",
        published={
            "Stack-V2": {"E": 0.69124, "A": 0.011306, "alpha": 0.18937, "k": 0.39346},
            "Pile": {"E": 1.28877, "A": 0.197352, "alpha": 0.19633, "k": 0.33446},
        },
    ),
    Law(
        name="encoder_decoder",
        formula="L_inf + a * encoder_params**-p_e * decoder_params**-p_d",
        variables={"encoder_params": "parameters of the encoder", "decoder_params": "of the decoder"},
        parameters=(
            Parameter("L_inf", lower=0.0, meaning="irreducible loss"),
            Parameter("a", lower=0.0, transform="log", meaning="gain, at one parameter each"),
            Parameter("p_e", lower=0.0, upper=10.0, meaning="exponent of the encoder"),
            Parameter("p_d", lower=0.0, upper=10.0, meaning="exponent of the decoder"),
        ),
        starts=separable(
            ("L_inf", "a", "p_e", "p_d"),
            {"p_e": _HIGH, "p_d": _HIGH},
            lambda v, held: {
                "L_inf": np.ones_like(v["encoder_params"]),
                "a": v["encoder_params"] ** -held["p_e"] * v["decoder_params"] ** -held["p_d"],
            },
        ),
        question="What loss do an encoder and a decoder reach, and which should grow (`optimal_split`)?",
        source="Ghorbani et al. 2021, arXiv 2109.07740, equation 1 (reference sizes inside the factor)",
    ),
    Law(
        name="quantization_degradation",
        formula="k * tokens**beta / (params**alpha * bits**gamma)",
        variables={
            "params": "non-embedding parameters",
            "tokens": "training tokens",
            "bits": "bits per weight",
        },
        parameters=(
            Parameter("k", lower=0.0, transform="log", meaning="factor"),
            Parameter("beta", meaning="exponent of tokens"),
            Parameter("alpha", meaning="exponent of parameters"),
            Parameter("gamma", meaning="exponent of bits"),
        ),
        y="loss_difference",
        starts=on_logs(
            ("k", "beta", "alpha", "gamma"),
            "k",
            {"tokens": "beta", "params": "alpha", "bits": "gamma"},
            falls=("alpha", "gamma"),
        ),
        question="How much loss does quantisation after training cost, and what training level does a cost imply?",
        source="Ouyang et al. 2024, arXiv 2411.17691 (form from summaries, coefficients and their units unverified)",
        published={
            "Ouyang et al. 2024 (unverified)": {"k": 0.017, "beta": 0.5251, "alpha": 0.2261, "gamma": 5.4967}
        },
    ),
    Law(
        name="qat_error",
        formula="k * tokens**gamma_D * (log(group_size) / log(2))**gamma_G / params**gamma_N",
        variables={
            "params": "parameters",
            "tokens": "training tokens",
            "group_size": "weights that share a scale, above 1",
        },
        parameters=(
            Parameter("k", lower=0.0, transform="log", meaning="factor"),
            Parameter("gamma_D", meaning="exponent of tokens"),
            Parameter("gamma_G", meaning="exponent of log2 of the group size"),
            Parameter("gamma_N", meaning="exponent of parameters"),
        ),
        y="loss_difference",
        starts=separable(
            ("k", "gamma_D", "gamma_G", "gamma_N"),
            {"gamma_D": (0.05, 0.2), "gamma_G": (0.5, 1.0), "gamma_N": (0.1, 0.4)},
            lambda v, held: {
                "k": v["tokens"] ** held["gamma_D"]
                * np.log2(v["group_size"]) ** held["gamma_G"]
                / v["params"] ** held["gamma_N"]
            },
        ),
        question="How much loss does quantisation-aware training leave above that in 16 bits?",
        source="Chen et al. 2025, arXiv 2505.14302, unified law (form from summaries)",
    ),
)
