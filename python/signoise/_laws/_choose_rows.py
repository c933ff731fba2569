"""The laws of one group of `choose_law`: tried, held against larger scales, and told in rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from .._errors import OptionError
from .._status import result_column
from ._candidates import Candidate, group_reason, points_for, too_few_scales
from ._fit import Fit, fit_groups, settings_of, values
from ._forecasts import COMBINATIONS, Forecasts, mean, means, origins
from ._law import Floats, Objective
from ._points import Points, beyond, variables_of
from ._splits import BASELINES, Outcome, known_score, outcome_status, outcomes, some_starts
from ._trust import sentence

#: Status of a law that the table does not admit.
NOT_ADMISSIBLE = "not_admissible"
#: Predictions this many times beyond the largest observation are flagged.
_FAR = 10.0
#: Starts of a fit: as many as keep starts times points here, within limits. Few points leave more valleys.
_START_POINTS, _FEWEST_STARTS, _MOST_STARTS = 8_000, 16, 128


@dataclass(frozen=True)
class Target:
    """A place to predict at."""

    amounts: Mapping[str, float]
    """All that is known of it."""
    axes: tuple[str, ...]
    """Amounts that say how far away it is: those that the user gave."""


@dataclass(frozen=True)
class Trial:
    """A law on the points of one group; without a fit the reason stands for it."""

    candidate: Candidate
    reason: str
    fit: Fit | None = None
    outcomes: Sequence[Outcome] = ()

    @property
    def name(self) -> str:
        """The law's name."""
        return self.candidate.law.name

    def predict(self, target: Target) -> tuple[float, str]:
        """What the law says of a target, or why it says nothing."""
        law, known = self.candidate.law, target.amounts
        lacking = [name for name in self.candidate.columns if name not in known]
        if lacking:
            return np.nan, f"at does not say what {', '.join(lacking)} is"
        if law.prepare is not None:
            return np.nan, "it is of whole curves, not of one place"
        if self.fit is None or not (self.fit.found and self.fit.settled):
            return np.nan, ""
        inputs = {
            own: np.array([known[name]]) for own, name in zip(law.inputs, self.candidate.columns, strict=True)
        }
        place = variables_of(law, inputs, np.zeros(1, dtype=np.int64))
        return float(values(law, self.fit.inner[None], place, 1)[0, 0]), ""


@dataclass(frozen=True)
class Trials:
    """All laws on the points of one group, and what they foretold."""

    points: Points
    every: Sequence[Trial]
    forecasts: Forecasts

    @property
    def fitted(self) -> list[Trial]:
        """Those that were fitted."""
        return [trial for trial in self.every if trial.fit is not None]


def try_laws(
    tried: Sequence[Candidate],
    points: Points,
    label: pl.DataFrame,
    metric: str,
    objective: Objective | None,
    *,
    named: bool,
    threads: int | None,
) -> Trials:
    """Fit every law that the group admits, to all points and from each origin."""
    splits = origins(points)
    n_starts = min(max(_START_POINTS // points.n, _FEWEST_STARTS), _MOST_STARTS)
    every = []
    for candidate in tried:
        reason = candidate.reason
        if not reason:
            own = points_for(candidate, points)
            settings = settings_of(candidate.law, objective, None, threads=threads)
            reason = group_reason(candidate.law, own, settings, metric, named=named)
        if reason:
            every.append(Trial(candidate, reason))
            continue
        try:
            fit = fit_groups(candidate.law, [own], settings, [some_starts(candidate.law, own, n_starts)])[0]
            foretold = outcomes(fit, label, splits, "none", 2, 0, 0.95, n_starts)
        except OptionError as error:  # starts that a law makes of the data, where these are none of its kind
            every.append(Trial(candidate, str(error)))
            continue
        every.append(Trial(candidate, "", fit, foretold))
    fitted = {trial.name: trial for trial in every if trial.fit is not None}
    forecasts = Forecasts.of(
        points,
        splits,
        {name: trial.outcomes for name, trial in fitted.items()},
        {name: trial.candidate.form for name, trial in fitted.items()},
    )
    return Trials(points, every, forecasts)


# --- rows -------------------------------------------------------------------------------------------

_COLUMNS: dict[str, type[pl.DataType] | pl.DataType] = {
    **dict.fromkeys(("law", "kind", "inputs"), pl.String),
    **dict.fromkeys(("n_parameters", "n_scales", "n_points"), pl.Int64),
    **dict.fromkeys(("error", "worst", "error_largest", "bias", "skill", "weight"), pl.Float64),
    **dict.fromkeys(("predicted", "lowest", "highest", "covered", "extrapolation", "error_far"), pl.Float64),
    "n_far": pl.Int64,
    **dict.fromkeys(("note", "status"), pl.String),
    "flags": pl.List(pl.String()),
}


def contest_rows(trials: Trials, target: Target | None, scale: str) -> pl.DataFrame:
    """A row for each law, baseline and combination, best first."""
    forecasts, fitted = trials.forecasts, trials.fitted
    said = {trial.name: trial.predict(target) if target else (np.nan, "") for trial in fitted}
    values_there = {name: np.array([value]) for name, (value, _) in said.items()}
    rows = [
        *_law_rows(trials, said, values_there),
        *_other_rows(trials, values_there, given=target is not None),
    ]
    distance = _Distance.of(trials.points, target)
    for row in rows:
        row.update(_record(forecasts, row.pop("every"), distance))
        row["flags"] += ["extrapolated"] if row["extrapolation"] > _FAR else []
        untested = NOT_ADMISSIBLE if row["kind"] == "combination" and not fitted else "too_few"
        row.setdefault("status", "ok" if row["n_scales"] else untested)
    rows.sort(key=lambda row: -row["skill"] if np.isfinite(row["skill"]) else np.inf)
    able = {name: own for name, own in values_there.items() if np.isfinite(own).all()}
    near = {name: able[name] for name in forecasts.near(list(able), forecasts.n)}
    n_near = len(set(forecasts.groups(near)))
    chosen = next(row for row in rows if row["law"] == COMBINATIONS[0])
    chosen["note"] = sentence(rows, scale, n_near, too_few_scales(trials.points))
    for trial in trials.every:
        if trial.fit is None:
            none = {"n_scales": 0, "n_points": 0, "note": trial.reason, "status": NOT_ADMISSIBLE, "flags": []}
            rows.append(_law_columns(trial) | none)
    table = pl.DataFrame(rows, schema=_COLUMNS)
    floats = [name for name, dtype in _COLUMNS.items() if dtype == pl.Float64]
    return table.with_columns(result_column(name, table[name].to_numpy()) for name in floats)


def _law_rows(
    trials: Trials, said: Mapping[str, tuple[float, str]], values_there: Mapping[str, Floats]
) -> list[dict[str, Any]]:
    """What there is to say of each law that was fitted, but for its errors."""
    forecasts = trials.forecasts
    weights = forecasts.weights(values_there, forecasts.n)
    rows = []
    for trial, weight in zip(trials.fitted, weights, strict=True):
        predicted, note = said[trial.name]
        status, flags = outcome_status(trial.outcomes)
        rows.append(
            _law_columns(trial)
            | {
                "weight": float(weight),
                "predicted": predicted,
                "note": note or None,
                "status": status,
                "flags": list(flags),
                "every": forecasts.predicted[trial.name],
            }
        )
    return rows


def _other_rows(trials: Trials, values_there: Mapping[str, Floats], *, given: bool) -> list[dict[str, Any]]:
    """The same of baselines and combinations."""
    forecasts = trials.forecasts
    combined = forecasts.combine(values_there, forecasts.n, 1)
    rows: list[dict[str, Any]] = [
        {
            "law": name,
            "kind": "baseline",
            "predicted": known_score(name, trials.points) if given else np.nan,
            "flags": [],
            "every": forecasts.predicted[name],
        }
        for name in BASELINES
    ]
    rows += [
        {
            "law": name,
            "kind": "combination",
            "predicted": combined[name][0],
            "lowest": combined["lowest"][0],
            "highest": combined["highest"][0],
            "covered": forecasts.covered,
            "flags": [],
            "every": forecasts.combined[name],
        }
        for name in COMBINATIONS
    ]
    return rows


def _law_columns(trial: Trial) -> dict[str, Any]:
    inputs, law = trial.candidate.columns, trial.candidate.law
    return {"law": law.name, "kind": "law", "inputs": ", ".join(inputs), "n_parameters": len(law.names)}


@dataclass(frozen=True)
class _Distance:
    """How far a target lies, along the amounts that say where it is."""

    amounts: Mapping[str, Floats]
    away: float

    @classmethod
    def of(cls, points: Points, target: Target | None) -> _Distance | None:
        if target is None:
            return None
        amounts = {name: points.inputs[name] for name in target.axes}
        there = {name: np.array([target.amounts[name]]) for name in amounts}
        return cls(amounts, float(beyond(amounts, there, 1)[0]))


def _record(forecasts: Forecasts, every: Sequence[Floats], distance: _Distance | None) -> dict[str, Any]:
    """How a contender did at larger scales."""
    errors = forecasts.one_step(every)
    own = means(errors)
    known = np.isfinite(own)
    far, n_far = forecasts.far(every, distance.amounts, distance.away) if distance else (np.nan, None)
    return {
        "n_scales": int(known.sum()),
        "n_points": sum(len(one) for one, there in zip(errors, known, strict=True) if there),
        "error": mean(own),
        "worst": float(own[known].max()) if known.any() else np.nan,
        "error_largest": float(own[-1]) if len(own) else np.nan,
        "bias": mean(np.array([mean(one) for one in errors])),
        "skill": forecasts.skill(errors),
        "extrapolation": distance.away if distance else np.nan,
        "error_far": far,
        "n_far": n_far,
    }
