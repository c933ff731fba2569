"""Problems with planted parameters, a kind a law: where it is observed, its parameters, the size of the errors."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from peer_fits import Problem
from signoise._laws._law import find_law
from signoise._laws._points import variables_of

Floats = NDArray[np.float64]


def _grid(_: np.random.Generator) -> dict[str, Floats]:
    """Five sizes, each on five budgets of tokens."""
    params = np.repeat(np.geomspace(7e7, 3e9, 5), 5)
    return {"params": params, "tokens": params * np.tile([5.0, 20.0, 60.0, 160.0, 500.0], 5)}


def _ratios(rng: np.random.Generator) -> dict[str, Floats]:
    grid = _grid(rng)
    return {"params": grid["params"], "tokens_per_param": grid["tokens"] / grid["params"]}


def _flops_ratios(rng: np.random.Generator) -> dict[str, Floats]:
    grid = _grid(rng)
    return {
        "flops": 6 * grid["params"] * grid["tokens"],
        "tokens_per_param": grid["tokens"] / grid["params"],
    }


def _flops(_: np.random.Generator) -> dict[str, Floats]:
    return {"flops": np.geomspace(1e18, 1e22, 16)}


def _losses(low: float, high: float) -> Callable[[np.random.Generator], dict[str, Floats]]:
    return lambda rng: {"loss": np.sort(rng.uniform(low, high, 24))}


def _schedule(_: np.random.Generator) -> dict[str, Floats]:
    steps = np.arange(2000.0, 24001.0, 200.0)
    rates = 3e-5 + 1.35e-4 * (1 + np.cos(np.pi * steps / 24000))
    return {"step": steps, "learning_rate": rates}


def _amount(
    low: float, high: float, n: int = 16, name: str = "x"
) -> Callable[[np.random.Generator], dict[str, Floats]]:
    return lambda _: {name: np.geomspace(low, high, n)}


def _cross(**levels: tuple[float, ...]) -> Callable[[np.random.Generator], dict[str, Floats]]:
    """Every combination of the levels of some columns."""
    grids = np.meshgrid(*(np.array(values, dtype=np.float64) for values in levels.values()), indexing="ij")
    return lambda _: {name: grid.ravel().copy() for name, grid in zip(levels, grids, strict=True)}


def _schedules_of_sizes(rng: np.random.Generator) -> dict[str, Floats]:
    """The schedule at three sizes."""
    one = {name: column[9::10] for name, column in _schedule(rng).items()}
    n, sizes = len(one["step"]), (1e8, 4e8, 1.6e9)
    return {name: np.tile(column, len(sizes)) for name, column in one.items()} | {
        "params": np.repeat(sizes, n),
        "run": np.repeat(np.arange(len(sizes)), n),
    }


def _repeated(_: np.random.Generator) -> dict[str, Floats]:
    """Three pools, each seen up to twelve times."""
    pool = np.repeat([1e6, 4e6, 1.6e7], 8)
    return {"pool_size": pool, "samples": pool * np.tile([0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 8.0, 12.0], 3)}


def _unique_tokens(_: np.random.Generator) -> dict[str, Floats]:
    """Three sizes, three amounts of different tokens, each seen up to forty times."""
    params, unique, epochs = (
        column.ravel()
        for column in np.meshgrid([1e8, 5e8, 2.5e9], [1e9, 5e9, 2.5e10], [0.5, 1, 4, 12, 40], indexing="ij")
    )
    return {"params": params, "tokens": unique * epochs, "unique_tokens": unique}


@dataclass(frozen=True)
class Design:
    """Where a law is observed, its parameters before they are shaken, and the size of the errors."""

    places: Callable[[np.random.Generator], dict[str, Floats]]
    centre: Mapping[str, float]
    noise: float = 0.01
    shake: float = 0.15
    """Parameters are multiplied by exp of a uniform number in -/+ this."""


DESIGNS = {
    "power_law": Design(lambda rng: {"x": _flops(rng)["flops"]}, {"E": 1.7, "A": 100, "alpha": 0.1}),
    "pure_power_law": Design(lambda rng: {"x": _flops(rng)["flops"]}, {"A": 40, "alpha": 0.06}),
    "chinchilla": Design(_grid, {"A": 482, "B": 2085, "alpha": 0.3478, "beta": 0.3658, "E": 1.817}),
    "hitchhiker": Design(_grid, {"A": 482, "B": 2085, "alpha": 0.3478, "beta": 0.3658, "E": 1.817}),
    "overtraining": Design(_ratios, {"alpha": 166, "beta": 367, "b": -0.273, "E": 1.84}),
    "overtraining_compute": Design(_flops_ratios, {"a": 200, "b": 200, "eta": 0.136, "E": 1.84}),
    "loss_to_error": Design(_losses(2, 5), {"k": 2.2, "gamma": 0.71, "epsilon": 0.857}, 0.005, 0.1),
    "ladder_loss": Design(_grid, {"A": 435, "B": 1480, "alpha": 0.374, "beta": 0.369, "E": 0.43}),
    "ladder_loss_flops": Design(_flops, {"A": 200, "alpha": 0.12, "E": 0.4}),
    "ladder_loss_flops_pure": Design(_flops, {"A": 40, "alpha": 0.09}),
    "ladder_accuracy": Design(_grid, {"A": 50, "B": 80, "alpha": 0.3, "beta": 0.3, "E": 0.9}, 0.01, 0.05),
    "ladder_accuracy_flops": Design(_flops, {"A": 100, "alpha": 0.12, "E": 0.9}, 0.01, 0.02),
    "ladder_sigmoid": Design(_losses(0.3, 1.4), {"a": -0.7, "x0": 0.8, "k": 5, "b": 0.95}, 0.01, 0.04),
    "ladder_log_sigmoid": Design(_losses(0.3, 1.3), {"a": -0.15, "x0": 0.5, "k": 5}),
    "ladder_single_step": Design(
        _grid, {"A": 50, "B": 100, "alpha": 0.2, "beta": 0.2, "E": -2, "p": -0.75, "q": 0.95}, 0.01, 0.04
    ),
    "ladder_single_step_flops": Design(
        _flops, {"A": 200, "alpha": 0.12, "E": 0.4, "a": -0.7, "x0": 0.9, "k": 6, "b": 0.95}, 0.01, 0.02
    ),
    "farseer": Design(
        _grid,
        dict(
            zip(
                ("a3", "gamma", "b3", "a2", "beta", "b2", "a1", "alpha", "b1"),
                (-0.021, 0.169, -0.091, 88.01, -0.1, -5.287, -0.124, 0.123, 0.424),
                strict=True,
            )
        ),
        0.003,
        0.01,
    ),
    "coverage": Design(_amount(1, 1000, name="k"), {"a": -1.5, "b": -0.4}),
    "lr_annealing": Design(_schedule, {"L0": 2.9, "A": 0.6, "alpha": 0.75, "C": 0.5}, 0.003),
    "lr_annealing_params": Design(
        _schedules_of_sizes, {"L0": 1.8, "A": 0.6, "alpha": 0.75, "B": 400, "beta": 0.34, "C": 0.5}, 0.003
    ),
    "kaplan_params": Design(_amount(1e7, 1e10, name="params"), {"N_c": 8.8e13, "alpha_N": 0.076}),
    "kaplan_tokens": Design(_amount(1e8, 1e11, name="tokens"), {"D_c": 5.4e13, "alpha_D": 0.095}),
    "kaplan": Design(_grid, {"N_c": 6.4e13, "D_c": 1.8e13, "alpha_N": 0.076, "alpha_D": 0.103}),
    "kaplan_steps": Design(
        _cross(params=(1e7, 5e7, 2e8, 1e9), min_steps=(1e3, 3e3, 1e4, 4e4, 2e5)),
        {"N_c": 6.5e13, "S_c": 2.1e3, "alpha_N": 0.077, "alpha_S": 0.76},
    ),
    "critical_batch": Design(_losses(2, 5), {"B_star": 2e8, "alpha_B": 0.21}, 0.05),
    "batch_tradeoff": Design(
        _amount(2**14, 2**23, 12, name="batch_tokens"), {"S_min": 5000, "B_crit": 4e5}, 0.03
    ),
    "characteristic_scale": Design(_amount(1e6, 1e10), {"x_c": 1e12, "alpha": 0.1}),
    "step_law_lr": Design(_grid, {"c": 1.79, "a": -0.713, "b": 0.307}, 0.1),
    "step_law_batch": Design(_amount(2e9, 1e11, 17, name="tokens"), {"c": 0.58, "b": 0.571}, 0.1),
    "parallel_scaling": Design(
        _cross(params=(5.4e8, 7e8, 1.1e9, 1.6e9, 2.8e9, 4.4e9), streams=(1, 2, 4, 8)),
        {"E": 0.69, "A": 0.0113, "alpha": 0.189, "k": 0.39},
        0.001,
        0.1,
    ),
    "encoder_decoder": Design(
        _cross(encoder_params=(3e7, 1e8, 3e8, 1e9), decoder_params=(3e7, 1e8, 3e8, 1e9)),
        {"L_inf": 1.0, "a": 90, "p_e": 0.15, "p_d": 0.12},
        0.003,
    ),
    "quantization_degradation": Design(
        _cross(params=(1.6e8, 1e9, 7e9), tokens=(1e10, 5e10, 2e11), bits=(2, 3, 4)),
        {"k": 0.017, "beta": 0.5251, "alpha": 0.2261, "gamma": 5.4967},
        0.1,
        0.05,
    ),
    "qat_error": Design(
        _cross(params=(7.4e7, 1.5e8, 3e8, 6e8), tokens=(1e10, 2e10, 5e10, 1e11), group_size=(32, 128, 1024)),
        {"k": 0.17, "gamma_D": 0.08, "gamma_G": 0.8, "gamma_N": 0.23},
        0.02,
    ),
    "data_filtering": Design(_repeated, {"a": 5.0, "b": -0.18, "c": 4.0, "d": 0.1}, 0.003),
    "data_filtering_code": Design(_repeated, {"a": 0.01, "b": -0.2, "c": 4.0, "d": 0.05}, 0.003),
    "effective_samples": Design(_repeated, {"a": 5.0, "b": -0.18, "c": 3.0, "d": 0.1}, 0.003),
    "repeated_tokens": Design(
        _unique_tokens, {"A": 520, "B": 1490, "alpha": 0.35, "beta": 0.35, "E": 1.87, "R": 15.4}, 0.003
    ),
    "pruned_data": Design(_amount(1e3, 1e6), {"E": 0.05, "A": 0.8, "scale": 5e4, "p": 0.5}, 0.01),
    "multilingual": Design(
        _cross(params=(8.5e7, 4e8, 1.2e9), tokens=(5e9, 2e10, 1e11), share=(0.05, 0.2, 0.5, 0.9)),
        {"E": 1.2, "A": 300, "B": 800, "alpha": 0.33, "beta": 0.34, "gamma": 0.08},
        0.003,
    ),
    "critical_mixture": Design(
        _amount(1e8, 2e10, name="tokens"), {"b_0": -0.1, "b_1": 0.02, "s": 0.14}, 0.003, 0.05
    ),
    "mixture_loss": Design(
        lambda _: {"share": np.linspace(0.05, 1.0, 12)}, {"alpha": -0.6, "s": 0.3, "beta": 3.0}, 0.003
    ),
    "rl_post_training": Design(
        _cross(params=(5e8, 1.5e9, 3e9, 7e9, 1.4e10, 3.2e10), x=(1e17, 1e18, 1e19, 1e20)),
        {"K_max": 0.1, "N_0": 5e9, "E": 1.0},
        0.03,
    ),
    "rl_curve": Design(
        _cross(params=(1.5e9, 3e9, 7e9, 1.4e10, 3.2e10), x=(1e3, 4e3, 1.6e4, 6.4e4, 2.6e5)),
        {"N_0": 5e8, "beta": 1.1, "B_0": 5e3, "C_0": 2e4, "alpha": 0.2},
    ),
    "fine_tuning": Design(_amount(10, 1e5), {"a": 0.9, "b": -0.15}, 0.03),
    "fine_tuning_saturation": Design(
        _amount(100, 1e6), {"E": 1.0, "A": 120, "beta": 0.5, "D_0": 80}, 0.005, 0.1
    ),
    "translation_bleu": Design(
        _amount(1e8, 1e11, name="tokens"), {"A": 0.01, "alpha": 0.4, "beta": 1.6}, 0.01, 0.05
    ),
    "bleu_of_loss": Design(_losses(1.2, 3), {"c": 90, "p": 1.6}, 0.03),
    "interaction_saturation": Design(
        lambda _: {"x": np.arange(1.0, 31.0)}, {"ceiling": 0.6, "A": 0.45, "scale": 8}
    ),
    "imitation_learning": Design(_amount(1, 32, 12, name="environments"), {"c": 0.9, "alpha": 0.6}, 0.05),
    "log_linear": Design(_amount(1e18, 1e24), {"a": 1.5, "b": -0.02}),
    "log_quadratic": Design(_amount(1e18, 1e24), {"a": 25, "b": -1.0, "c": 0.0104}, 0.01, 0.0),
    "u_shape": Design(_amount(1e18, 1e24), {"height": 0.4, "curvature": 0.005, "vertex": 1e21}),
    "broken_power_law": Design(
        _amount(1e15, 1e24, 40),
        {"a": 0.5, "b": 30, "c_0": 0.05, "c_1": 0.15, "d_1": 3e19, "f_1": 0.5},
        0.01,
        0.1,
    ),
    "broken_power_law_2": Design(
        _amount(1e12, 1e24, 80),
        {
            "a": 0.5,
            "b": 30,
            "c_0": 0.03,
            "c_1": 0.12,
            "d_1": 1e16,
            "f_1": 0.5,
            "c_2": -0.1,
            "d_2": 1e20,
            "f_2": 0.5,
        },
        0.005,
        0.05,
    ),
    "generative": Design(_amount(1e6, 1e10), {"L_inf": 2.2, "x_0": 3e7, "alpha": 0.2}),
    "pareto_error": Design(
        _amount(1e16, 1e22, 20, name="flops"), {"A": 60, "B": 1e17, "alpha": 0.12, "E": 0.1}, 0.003
    ),
    "pareto_error_pure": Design(
        _amount(1e16, 1e22, 20, name="flops"), {"A": 60, "B": 1e17, "alpha": 0.12}, 0.003
    ),
    "uncertainty": Design(_amount(1e3, 1e6), {"c": 30, "gamma": 0.7}, 0.05),
    "cluster_accuracy": Design(
        _amount(1e18, 1e24, name="flops"), {"g": 0.25, "a": 2.2e4, "b": 0.22, "c": 0.05}, 0.01, 0.05
    ),
}


def planted(name: str, seed: int) -> Problem:
    """A problem of a law with known parameters; errors are relative where residuals are of logarithms."""
    return planted_inputs(name, seed)[0]


def planted_inputs(
    name: str, seed: int, noise: float = 1.0
) -> tuple[Problem, dict[str, Floats], dict[str, float]]:
    """The same with the columns that a user has, and the parameters; `noise` multiplies the errors."""
    law, design = find_law(name), DESIGNS[name]
    rng = np.random.default_rng([seed, *name.encode()])
    places = dict(design.places(rng))
    run = places.pop("run", np.zeros(0)).astype(np.int64)
    n = len(next(iter(places.values())))
    variables = variables_of(law, places, run if len(run) else np.zeros(n, dtype=np.int64))
    truth = {key: value * math.exp(rng.uniform(-1, 1) * design.shake) for key, value in design.centre.items()}
    fitted = np.array([float(p.inner(np.array([truth[p.name]]))[0]) for p in law.parameters])
    exact = Problem(law, variables, np.ones(n)).values(fitted)
    errors = noise * design.noise * rng.standard_normal(n)
    y = exact * np.exp(errors) if law.objective.endswith("_log") else exact + errors
    return Problem(law, variables, y), places | ({"run": run} if len(run) else {}), truth
