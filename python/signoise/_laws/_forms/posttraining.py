"""After pre-training: fine-tuning, reinforcement learning, translation, steps taken at test time."""

from __future__ import annotations

import numpy as np

from .._law import Law, Parameter
from ._starts import on_logs, separable
from .kaplan import amounts

RL = "Tan et al. 2025, arXiv 2509.25300"
TRANSLATION = "Isik et al. 2024, arXiv 2402.04177"

LAWS = (
    Law(
        name="rl_post_training",
        formula="10**(E - K_max / (1 + N_0 / params) * log(x) / log(10))",
        variables={"params": "parameters", "x": "compute or data of reinforcement learning"},
        parameters=(
            Parameter(
                "K_max", (0.5, 0.1, 1.0), 0.0, 2.0, meaning="learning efficiency of the largest models"
            ),
            Parameter("N_0", (7e9, 1e9, 3e10), 1e8, 1e11, transform="log", meaning="size at half of K_max"),
            Parameter("E", (0.1, 2.0, 5.0), -10.0, 10.0, meaning="log10 error at x = 1"),
        ),
        y="error",
        objective="lsq_log",
        question="How does the error (1 - pass@1) fall with compute or data of RL, and does size make it fall faster?",
        source=f"{RL}, equation 1, bounds of the released code; E of every size apart: `vary_parameter`",
    ),
    Law(
        name="rl_curve",
        formula="((N_0 / params)**beta + B_0 / (x + C_0))**alpha",
        variables={"params": "parameters", "x": "compute or data of reinforcement learning"},
        parameters=(
            Parameter("N_0", lower=0.0, transform="log", meaning="size at which the first term is 1"),
            Parameter("beta", lower=1e-2, upper=10.0, meaning="exponent of parameters in it"),
            Parameter("B_0", lower=0.0, transform="log", meaning="what training gains"),
            Parameter("C_0", lower=0.0, transform="log", meaning="training that is worth the start"),
            Parameter("alpha", lower=1e-2, upper=5.0, meaning="exponent of both"),
        ),
        y="error",
        objective="lsq_log",
        starts=separable(
            ("N_0", "beta", "B_0", "C_0", "alpha"),
            {
                "beta": (0.3, 0.6, 1.0, 1.7),
                "C_0": lambda v, _: tuple(np.quantile(v["x"], (0.0, 0.25, 0.5, 0.75))),
                "alpha": (0.1, 0.2, 0.4, 0.8),
            },
            lambda v, held: {
                "N_0": v["params"] ** -held["beta"],
                "B_0": 1 / (v["x"] + held["C_0"]),
            },
            observed=lambda y, _, held: y ** (1 / held["alpha"]),
            elasticity=lambda held: held["alpha"],
            made=amounts(N_0="beta"),
        ),
        question="The whole curve of RL; `B_0` and `C_0` of every size apart: `vary_parameter`.",
        source=f"{RL}, released code (postopenai)",
    ),
    Law(
        name="fine_tuning",
        formula="a * x**b",
        variables={"x": "fine-tuning examples"},
        parameters=(
            Parameter("a", lower=0.0, transform="log", meaning="score or error at one example"),
            Parameter("b", meaning="exponent, below 0 for errors"),
        ),
        y="error",
        objective="lsq_log",
        starts=on_logs(("a", "b"), "a", {"x": "b"}),
        question="How far does a score (or error) go on changing with fine-tuning examples?",
        source="Raghavendra et al. 2024, arXiv 2410.03717 (form unverified)",
    ),
    Law(
        name="fine_tuning_saturation",
        formula="E + A / (x**beta + D_0)",
        variables={"x": "fine-tuning examples"},
        parameters=(
            Parameter("E", lower=0.0, meaning="irreducible loss"),
            Parameter("A", lower=0.0, meaning="gain"),
            Parameter("beta", lower=0.0, upper=5.0, meaning="exponent of examples"),
            Parameter("D_0", lower=0.0, transform="log", meaning="what pre-training is worth, as x^beta"),
        ),
        starts=separable(
            ("E", "A", "beta", "D_0"),
            {
                "beta": (0.2, 0.5, 1.0),
                "D_0": lambda v, _: (1.0, *(np.quantile(v["x"], (0.0, 0.5, 1.0)) ** 0.5)),
            },
            lambda v, held: {
                "E": np.ones_like(v["x"]),
                "A": 1 / (v["x"] ** held["beta"] + held["D_0"]),
            },
        ),
        question="The same of a loss that starts level, because pre-training is worth examples too.",
        source="Lin et al. 2024, arXiv 2402.02314 (rectified law: pre-learned data)",
    ),
    Law(
        name="translation_bleu",
        formula="(log(A) + alpha * log(tokens))**beta",
        variables={"tokens": "pre-training tokens"},
        parameters=(
            Parameter("A", lower=0.0, transform="log", meaning="factor of tokens"),
            Parameter("alpha", lower=0.0, meaning="exponent of tokens"),
            Parameter("beta", lower=0.01, upper=20.0, meaning="power of the logarithm"),
        ),
        y="bleu",
        delta=0.1,
        starts=separable(
            ("A", "alpha", "beta"),
            {"beta": (0.5, 1.0, 2.0, 4.0)},
            lambda v, _: {"A": np.ones_like(v["tokens"]), "alpha": np.log(v["tokens"])},
            observed=lambda y, _, held: y ** (1 / held["beta"]),
            elasticity=lambda held: held["beta"],
            signed=("A",),
            made=lambda row: row | {"A": np.exp(np.clip(row["A"], -300.0, 300.0))},
        ),
        question="What BLEU after fine-tuning does pre-training on more tokens give, where both languages are in them?",
        source=f"{TRANSLATION}, equation 1 (log law; the loss follows `power_law`)",
    ),
    Law(
        name="bleu_of_loss",
        formula="c * loss**-p",
        variables={"loss": "nats per token"},
        parameters=(
            Parameter("c", lower=0.0, transform="log", meaning="BLEU at loss 1"),
            Parameter("p", meaning="exponent of the loss"),
        ),
        y="bleu",
        objective="lsq_log",
        starts=on_logs(("c", "p"), "c", {"loss": "p"}, falls=("p",)),
        question="What BLEU does a loss mean, on text written in the target language?",
        source="Ghorbani et al. 2021, arXiv 2109.07740, section 5",
    ),
    Law(
        name="interaction_saturation",
        formula="ceiling - A * exp(-x / scale)",
        variables={"x": "steps of interaction, or any effort at test time"},
        parameters=(
            Parameter("ceiling", meaning="score with unlimited steps"),
            Parameter("A", meaning="what steps gain"),
            Parameter("scale", lower=0.0, transform="log", meaning="steps that gain 63 % of it"),
        ),
        y="accuracy",
        objective="lsq",
        starts=separable(
            ("ceiling", "A", "scale"),
            {
                "scale": lambda v, _: tuple(
                    float(v["x"].max()) * share for share in (0.05, 0.15, 0.4, 1.0, 3.0)
                )
            },
            lambda v, held: {"ceiling": np.ones_like(v["x"]), "A": -np.exp(-v["x"] / held["scale"])},
            signed=("ceiling", "A"),
        ),
        question="Where does more interaction at test time stop to help?",
        source="Shen et al. 2025, arXiv 2506.07976 (curves; a generic saturation)",
    ),
    Law(
        name="imitation_learning",
        formula="c * environments**-alpha",
        variables={"environments": "training environments, objects, or pairs of both"},
        parameters=(
            Parameter("c", lower=0.0, transform="log", meaning="1 - score with one environment"),
            Parameter("alpha", meaning="exponent"),
        ),
        y="error",
        objective="lsq_log",
        starts=on_logs(("c", "alpha"), "c", {"environments": "alpha"}, falls=("alpha",)),
        question="How many environments and objects does a policy need to work in new ones?",
        source="Lin et al. 2024, arXiv 2410.18647, section 4: 1 - score = c x^-alpha",
    ),
)
