"""Twin of ``rust/core/src/item_response.rs``: logistic item response models by marginal maximum likelihood."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._errors import OptionError
from ._matrix import Bits, unpacked
from ._segments import Floats, check_length

#: Bounds of a and d where there are no priors.
_STEEPEST, _FARTHEST = 20.0, 60.0
#: Nodes reach from minus this to this.
_REACH = 12.0
#: Precision of log s and m in units of those of the items.
_CENTRE = 0.25
_ITEM_COLUMNS = ("discrimination", "difficulty", "discrimination_stderr", "difficulty_stderr")


def fit_item_response(
    values: Bits,
    validity: Bits | None,
    rows: int,
    width: int,
    *,
    common: bool = False,
    discrimination_sd: float = 0.5,
    difficulty_sd: float = 2.0,
    tolerance: float = 1e-5,
    max_iterations: int = 500,
    threads: int | None = None,
) -> dict[str, Any]:
    """Discrimination a and difficulty b of items (columns), abilities theta ~ N(0, 1) of subjects (rows).

    P(right) = 1/(1 + exp(-a(theta - b))); `common`: all items share a. Priors: log a ~ N(log s, discrimination_sd^2),
    s b + m ~ N(0, difficulty_sd^2), s and m estimated; no priors where the deviations are infinite.
    """
    del threads
    if np.isinf(discrimination_sd) != np.isinf(difficulty_sd):
        raise OptionError("difficulty_sd must be infinite where discrimination_sd is")
    there = unpacked(validity, rows, width)
    right = unpacked(values, rows, width) & there
    n, ones = there.sum(axis=0), right.sum(axis=0)
    fitted = (n > 0) & (np.isfinite(discrimination_sd) | ((ones > 0) & (ones < n)))
    model = _Model(right[:, fitted], there[:, fitted], discrimination_sd, difficulty_sd, common=common)
    iterations, converged = 0, not fitted.any()
    while iterations < max_iterations and not converged:
        iterations += 1
        before = np.append(model.a, model.d)
        model.improve()
        converged = bool(np.abs(np.append(model.a, model.d) - before).max() <= tolerance)
    weights, logs = model.posterior()
    ability = weights @ model.x
    out: dict[str, Any] = {name: np.full(width, np.nan) for name in _ITEM_COLUMNS}
    found = (model.a, -model.d / model.a, *model.errors(weights))
    for name, column in zip(_ITEM_COLUMNS, found, strict=True):
        out[name][fitted] = column
    out["at_bound"] = np.zeros(width, dtype=bool)
    if not model.priors:
        far = (np.abs(model.a) >= 0.999 * _STEEPEST) | (np.abs(model.d) >= 0.999 * _FARTHEST)
        out["at_bound"][fitted] = far
    return {
        **out,
        "ability": ability,
        "ability_sd": np.sqrt((weights * (model.x - ability[:, None]) ** 2).sum(axis=1)),
        "log_likelihood": float(logs.sum()),
        "iterations": iterations,
        "converged": converged,
    }


class _Model:
    """Parameters a and d = -a b of the items; log s = t and m of their priors."""

    def __init__(
        self, right: NDArray[np.bool_], there: NDArray[np.bool_], sa: float, sb: float, *, common: bool
    ) -> None:
        self.u, self.v, self.common = right.astype(float), there.astype(float), common
        self.pa, self.pb = sa**-2, sb**-2
        self.priors = self.pa > 0
        share = (self.u.sum(axis=0) + 0.5) / (self.v.sum(axis=0) + 1)
        self.a, self.d = np.ones(len(share)), np.log(share / (1 - share))
        self.t = self.m = 0.0
        self.x = np.arange(-_REACH, _REACH + 0.125, 0.25)

    def posterior(self) -> tuple[Floats, Floats]:
        """Weights of the nodes for each subject, and its marginal log-likelihood; refines the nodes where needed."""
        while True:
            step = self.x[1] - self.x[0]
            eta = self.a[:, None] * self.x + self.d[:, None]
            log = self.u @ eta - self.v @ np.logaddexp(0, eta) - self.x**2 / 2
            best = log.argmax(axis=1)[:, None] + np.arange(-1, 2)
            below, top, above = np.take_along_axis(log, best, axis=1).T
            narrowest = 1 / np.sqrt(((2 * top - below - above) / step**2).max(initial=0.1))
            if step <= narrowest:
                break
            self.x = np.arange(-_REACH, _REACH + step / 4, step / 2)
        weights = np.exp(log - top[:, None])
        total = weights.sum(axis=1)
        return weights / total[:, None], top + np.log(total * step / np.sqrt(2 * np.pi))

    def improve(self) -> None:
        """One iteration of EM."""
        weights, _ = self.posterior()
        if self.common:
            self._step_together(weights)
            self._step_together(weights)
        else:
            self._step_each(weights)
        self._standardise(weights)
        if self.priors:
            self._move_priors()

    def _likelihood(self, weights: Floats, a: Floats, d: Floats) -> tuple[Floats, Floats]:
        """Gradient (2, n_items) and expected information (3, n_items) of the log-likelihood for a and d."""
        x = self.x[:, None]
        n = weights.T @ self.v
        p = 1 / (1 + np.exp(-(a * x + d)))
        w = n * p * (1 - p)
        slope = (weights @ self.x) @ self.u - (n * p * x).sum(axis=0)
        level = self.u.sum(axis=0) - (n * p).sum(axis=0)
        return np.array([slope, level]), np.array([(w * x * x).sum(0), (w * x).sum(0), w.sum(0)])

    def _penalised(self, weights: Floats, a: Floats, d: Floats) -> tuple[Floats, Floats]:
        """The same with the priors, for log a and d; for a and d where there are none."""
        g, i = self._likelihood(weights, a, d)
        if self.common or self.priors:
            g[0], i[0], i[1] = a * g[0], a * a * i[0], a * i[1]
        if self.common:
            g[1], i[2] = g[1] - (d - self.m) * self.pb, i[2] + self.pb
        elif self.priors:
            ratio = np.exp(self.t) / a
            residual, by_a, by_d = self.m - ratio * d, ratio * d, -ratio
            g[0] -= (np.log(a) - self.t) * self.pa + residual * by_a * self.pb
            g[1] -= residual * by_d * self.pb
            i += np.array([self.pa + by_a**2 * self.pb, by_a * by_d * self.pb, by_d**2 * self.pb])
        return g, i

    def _moved(self, step: Floats) -> tuple[Floats, Floats]:
        if self.priors:
            return self.a * np.exp(step[0]), self.d + step[1]
        a, d = self.a + step[0], self.d + step[1]
        return a.clip(-_STEEPEST, _STEEPEST), d.clip(-_FARTHEST, _FARTHEST)

    def _step_each(self, weights: Floats) -> None:
        """Two Newton steps; the first is halved while it turns the slope along it by more than it was."""
        g, i = self._penalised(weights, self.a, self.d)
        step = _newton(g, i)
        slope = (g * step).sum(axis=0)
        for _ in range(10):
            a, d = self._moved(step)
            g, i = self._penalised(weights, a, d)
            far = np.abs((g * step).sum(axis=0)) > slope
            if not far.any():
                break
            step = np.where(far, step / 2, step)
            slope = np.where(far, slope / 2, slope)
        self.a, self.d = self._moved(step)
        self.a, self.d = self._moved(_newton(*self._penalised(weights, self.a, self.d)))

    def _step_together(self, weights: Floats) -> None:
        """One Newton step of the common log a and every d."""
        (ga, gd), (aa, ad, dd) = self._penalised(weights, self.a, self.d)
        precision = _CENTRE * self.pa
        gradient = (ga - ad * gd / dd).sum() - precision * self.t
        step = np.clip(gradient / ((aa - ad**2 / dd).sum() + precision), -1, 1)
        self.t += step
        self.a = np.full(len(self.a), np.exp(self.t))
        self.d = self.d + ((gd - ad * step) / dd).clip(-3, 3)

    def _standardise(self, weights: Floats) -> None:
        """Let the abilities have a mean and deviation of their own, and write the items for standard ones."""
        n, s, pb = len(weights), np.exp(self.t), _CENTRE * self.pb
        shift = ((weights @ self.x).sum() - s * self.m * pb) / (n + s**2 * pb)
        squares = (weights * (self.x - shift) ** 2).sum()
        stretch, pa = 0.0, _CENTRE * self.pa
        for _ in range(50):
            part = squares * np.exp(-2 * stretch)
            stretch += (part - n - (self.t + stretch) * pa) / (2 * part + pa)
        self.d, self.a = self.d + self.a * shift, self.a * np.exp(stretch)
        if not self.priors:
            self.a, self.d = self.a.clip(-_STEEPEST, _STEEPEST), self.d.clip(-_FARTHEST, _FARTHEST)
        self.m, self.t = self.m + s * shift, self.t + stretch

    def _move_priors(self) -> None:
        n = len(self.a) + _CENTRE
        if self.common:
            self.m = self.d.sum() / n
            return
        b = -self.d / self.a
        squares = (b**2).sum() - b.sum() ** 2 / n
        for _ in range(50):
            part = np.exp(2 * self.t) * squares * self.pb
            self.t += ((np.log(self.a).sum() - n * self.t) * self.pa - part) / (n * self.pa + 2 * part)
        self.m = -np.exp(self.t) * b.sum() / n

    def errors(self, weights: Floats) -> tuple[Floats, Floats]:
        """Standard errors of a and b from the observed information (Louis), as if other items were known."""
        g, i = self._likelihood(weights, self.a, self.d)
        a, d, b = self.a, self.d, -self.d / self.a
        for item in range(len(a)):
            p = 1 / (1 + np.exp(-(a[item] * self.x + d[item])))
            score = (self.u[:, item, None] - p)[:, None] * np.stack([self.x, np.ones_like(self.x)])
            mean = (weights[:, None] * score).sum(axis=2)
            for at, (one, other) in enumerate(((0, 0), (0, 1), (1, 1))):
                square = (weights * score[:, one] * score[:, other]).sum(axis=1)
                i[at, item] -= (self.v[:, item] * (square - mean[:, one] * mean[:, other])).sum()
        with np.errstate(invalid="ignore", divide="ignore"):
            if self.common:
                return np.full(len(a), np.nan), np.sqrt(1 / (i[2] + self.pb)) / a
            if not self.priors:
                va, cov, vd = _inverse(i)
                return np.sqrt(va), np.sqrt(b**2 * va + 2 * b * cov + vd) / np.abs(a)
            first = a**2 * i[0] + 2 * a * d * i[1] + d**2 * i[2] - (g[0] * a + g[1] * d) + self.pa
            mixed = -(a**2) * i[1] - a * d * i[2] + g[1] * a
            va, _, vb = _inverse(np.array([first, mixed, a**2 * i[2] + np.exp(2 * self.t) * self.pb]))
            return a * np.sqrt(va), np.sqrt(vb)


def _newton(g: Floats, i: Floats) -> Floats:
    """Steps of each item, bounded; none where its information is singular."""
    determinant = i[0] * i[2] - i[1] ** 2
    with np.errstate(invalid="ignore", divide="ignore"):
        steps = np.array([i[2] * g[0] - i[1] * g[1], i[0] * g[1] - i[1] * g[0]]) / determinant
    steps = np.where((determinant > 0) & ~np.isnan(steps), steps, 0.0)
    return steps.clip([[-1], [-3]], [[1], [3]])


def _inverse(i: Floats) -> Floats:
    """Of symmetric 2 x 2 matrices (first, mixed, second); NaN unless positive."""
    determinant = i[0] * i[2] - i[1] ** 2
    good = (determinant > 0) & (i[0] > 0)
    return np.where(good, np.array([i[2], -i[1], i[0]]) / np.where(good, determinant, 1.0), np.nan)


def item_abilities(
    values: Bits,
    validity: Bits | None,
    rows: int,
    width: int,
    discrimination: Floats,
    difficulty: Floats,
    *,
    threads: int | None = None,
) -> dict[str, Floats]:
    """Posterior mean and deviation of the abilities of subjects under known items, marginal log-likelihood."""
    del threads
    check_length("discrimination", len(discrimination), width)
    check_length("difficulty", len(difficulty), width)
    known = np.isfinite(discrimination) & np.isfinite(difficulty)
    there = unpacked(validity, rows, width)[:, known]
    right = unpacked(values, rows, width)[:, known] & there
    x = np.linspace(-_REACH, _REACH, 4801)
    step = x[1] - x[0]
    eta = discrimination[known][:, None] * (x - difficulty[known][:, None])
    log = right @ eta - there @ np.logaddexp(0, eta) - x**2 / 2
    top = log.max(axis=1)
    weights = np.exp(log - top[:, None])
    total = weights.sum(axis=1)
    mean = weights @ x / total
    variance = (weights * (x - mean[:, None]) ** 2).sum(axis=1) / total
    logs = top + np.log(total * step / np.sqrt(2 * np.pi))
    return {"ability": mean, "ability_sd": np.sqrt(variance), "log_likelihood": logs}
