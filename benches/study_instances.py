"""Do `label_errors`, `subset_gap` and `prune_items` say what is true of planted instances?

Runs have a chance to solve each instance, of which the truth is known: wrong labels that turn scores round, training
data that helps with some instances, runs of which no instance tells more than another. Printed are the coverage of
limits (nominal 95 %), how often tests reject where there is nothing (5 %) and where there is something, and for items
the gain that is reported beside that of the same rule on fresh runs.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

import signoise as sn
from suites import in_processes

Floats = NDArray[np.float64]
Answers = dict[str, float]


def table(x: Floats) -> pl.DataFrame:
    """Scores of runs (rows) on instances (columns), or of runs, checkpoints and instances."""
    x = x if x.ndim == 3 else x[:, None]
    run, step, item = (index.ravel() for index in np.indices(x.shape))
    return pl.DataFrame(
        {
            "run": np.char.mod("r%02d", run),
            "step": step,
            "task": "t",
            "metric": "acc" if set(np.unique(x)) <= {0.0, 1.0} else "soft",
            "instance_id": np.char.mod("i%04d", item),
            "value": x.ravel(),
        }
    )


def names(which: NDArray[np.bool_]) -> pl.DataFrame:
    """Instances as a table of marks."""
    return pl.DataFrame({"task": "t", "instance_id": np.char.mod("i%04d", np.flatnonzero(which))})


def solved(rng: np.random.Generator, chances: Floats) -> Floats:
    """Right or wrong."""
    return (rng.random(chances.shape) < chances).astype(float)


def inside(row: dict[str, Any], low: str, high: str, truth: float) -> float:
    """Whether limits hold the truth; NaN where there are none."""
    if row[low] is None or row[high] is None:
        return np.nan
    return float(row[low] <= truth <= row[high])


# --- wrong labels


def flips(seed: int, *, n: int, share: float) -> Answers:
    """Two runs, one ahead on instances with a right label and behind on those with a wrong one."""
    rng = np.random.default_rng(seed)
    ease = rng.uniform(-0.2, 0.2, n)
    wrong = np.arange(n) < round(share * n)
    clean, behind = 0.08, -0.16
    gap = np.where(wrong, behind, clean)
    level = np.where(wrong, 0.35, 0.6)
    chances = np.clip(level + ease + gap * np.array([[0.5], [-0.5]]), 0, 1)
    found = sn.label_errors(table(solved(rng, chances)), errors=names(wrong), per="pair")
    row = found.row(0, named=True)
    each = wrong.mean()
    change = clean - ((1 - each) * clean + each * behind)
    return {
        "flip covered": inside(row, "flip_low", "flip_high", clean / (clean - behind)),
        "flip width": np.nan if row["flip_low"] is None else row["flip_high"] - row["flip_low"],
        "change covered": inside(row, "change_low", "change_high", change),
        "difference covered": inside(row, "low", "high", clean),
        "change found": float(row["p_value"] < 0.05),
    }


def no_change(seed: int, *, n: int, share: float) -> Answers:
    """Wrong labels that cost all runs alike."""
    rng = np.random.default_rng(seed)
    wrong = np.arange(n) < round(share * n)
    chances = np.where(wrong, 0.3, 0.6) + 0.03 * np.linspace(-1, 1, 6)[:, None]
    scores = table(solved(rng, chances))
    pairs = sn.label_errors(scores, errors=names(wrong), per="pair")
    runs = sn.label_errors(scores, errors=names(wrong), per="run")
    difference = 0.3 * wrong.mean()
    return {
        "a pair rejected": float(pairs["p_value"][0] < 0.05),
        "any rejected, Holm": float((pairs["p_adjusted"] < 0.05).any()),
        "difference of a run covered": inside(runs.row(0, named=True), "low", "high", difference),
    }


# --- contamination


def contaminated(
    seed: int, *, n: int, help_: float, easier: float = 0.0, binary: bool = True, thresholds: int = 20
) -> Answers:
    """Run 0 has seen the instances above .7 of a contamination of 0 to 1; these are `easier` for all."""
    rng = np.random.default_rng(seed)
    contamination = rng.random(n)
    seen = contamination > 0.7
    chances = np.clip(0.5 + rng.uniform(-0.2, 0.2, n) + easier * seen + np.zeros((4, 1)), 0, 1)
    chances[0] = np.clip(chances[0] + help_ * seen, 0, 1)
    x = solved(rng, chances) if binary else np.clip(chances + 0.1 * rng.standard_normal(chances.shape), 0, 1)
    marks = pl.DataFrame(
        {"task": "t", "instance_id": np.char.mod("i%04d", np.arange(n)), "contamination": contamination}
    )
    options: dict[str, Any] = {"baseline": ["r01", "r02", "r03"], "n_resamples": 499}
    found = sn.subset_gap(table(x), contamination=marks, thresholds=thresholds, **options).filter(run="r00")
    one = sn.subset_gap(table(x), contamination=marks, thresholds=[0.7], **options).filter(run="r00")
    row = one.row(0, named=True)
    truth = 0.3 * (help_ + easier)
    return {
        "gain covered": inside(row, "low", "high", truth),
        "excess covered": inside(row, "excess_low", "excess_high", 0.3 * help_),
        "gap rejected": float(row["p_value"] < 0.05),
        "excess rejected": float(row["excess_p_value"] < 0.05),
        "best threshold rejected": float((found["p_adjusted"] < 0.05).any()),
        "the same, not adjusted": float((found["p_value"] < 0.05).any()),
        "best excess rejected": float((found["excess_p_adjusted"] < 0.05).any()),
    }


# --- items


def items(rng: np.random.Generator, slopes: Floats, runs: int) -> Floats:
    """Runs x checkpoints x instances: skill and difficulty through a logistic curve of each instance's slope."""
    skill = rng.standard_normal((runs, 1, 1)) + 0.2 * rng.standard_normal((runs, 3, 1))
    hard = np.random.default_rng(len(slopes)).standard_normal(len(slopes))
    return solved(rng, 1 / (1 + np.exp(-slopes * (skill - hard))))


def order(x: Floats) -> NDArray[np.intp]:
    """Items by their correlation over runs with the mean of all others; items that do not vary come last."""
    with np.errstate(all="ignore"):
        found = [np.corrcoef(x[:, i], np.delete(x, i, axis=1).mean(axis=1))[0, 1] for i in range(x.shape[1])]
    return np.argsort(np.where(np.isnan(found), np.inf, -np.array(found)), kind="stable")


def judged(x: Floats, which: NDArray[np.intp]) -> dict[str, float]:
    """Agreement with all items, and the logarithm of range over noise, of runs x checkpoints x items."""
    part = x[:, :, which].mean(axis=2)
    some, whole = part.mean(axis=1), x.mean(axis=(1, 2))
    first, second = np.triu_indices(len(x), 1)
    same = np.sign(np.round(some[first] - some[second], 9)) * np.sign(
        np.round(whole[first] - whole[second], 9)
    )
    with np.errstate(all="ignore"):
        snr = np.log(np.ptp(some) / np.sqrt(part.var(axis=1, ddof=1).mean()))
    return {"agreement": float(np.mean(0.5 + 0.5 * same)), "snr": float(snr)}


def pruned(seed: int, *, slopes: tuple[float, float], n: int = 120, runs: int = 12) -> Answers:
    """The reported gain, and that of the same rule on fresh runs as many as a half has, written out."""
    rng = np.random.default_rng(seed)
    own = np.where(np.arange(n) % 2 == 0, *slopes)
    reported = sn.prune_items(table(items(rng, own, runs)), keep=0.5, window=3, n_splits=10, n_random=10)
    choosing, judging = items(rng, own, runs // 2), items(rng, own, runs // 2)
    kept = judged(judging, order(choosing.mean(axis=1))[: n // 2])
    whole = judged(judging, np.arange(n))
    random = [judged(judging, rng.permutation(n)[: n // 2]) for _ in range(10)]
    out = {}
    for name in ("agreement", "snr"):
        row = reported.filter(measure=name).row(0, named=True)
        control = float(np.mean([one[name] for one in random]))
        for gain, against in (("gain", whole[name]), ("gain_random", control)):
            label = f"{name}: {gain}"
            out |= {label: row[gain], f"{label}, fresh": kept[name] - against}
            out |= {f"{label}, in sample": row[f"{gain}_in_sample"]}
            out |= {f"{label} low": row[f"{gain}_low"], f"{label} high": row[f"{gain}_high"]}
    return out


DESIGNS: dict[str, tuple[Callable[..., Answers], dict[str, Any]]] = {
    "flips, 400 instances, 20 % wrong": (flips, {"n": 400, "share": 0.2}),
    "flips, 1000 instances, 2 % wrong": (flips, {"n": 1000, "share": 0.02}),
    "no change, 300 instances, 10 % wrong": (no_change, {"n": 300, "share": 0.1}),
    "no change, 300 instances, 2 % wrong": (no_change, {"n": 300, "share": 0.02}),
    "clean, 0/1": (contaminated, {"n": 300, "help_": 0.0}),
    "clean, real scores": (contaminated, {"n": 300, "help_": 0.0, "binary": False}),
    "clean, these easier for all": (contaminated, {"n": 300, "help_": 0.0, "easier": 0.2}),
    "contaminated": (contaminated, {"n": 300, "help_": 0.3}),
    "items alike": (pruned, {"slopes": (1.0, 1.0)}),
    "half of the items bad": (pruned, {"slopes": (2.0, 0.1)}),
}


def one(job: tuple[str, int]) -> Answers:
    """One replication of a design."""
    name, number = job
    run, options = DESIGNS[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", sn.SignoiseWarning)
        return run(1_000_000 * list(DESIGNS).index(name) + number, **options)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--replications", type=int, default=400)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--designs", nargs="*", choices=DESIGNS, default=list(DESIGNS))
    options = parser.parse_args(arguments)
    for name in options.designs:
        jobs = [(name, number) for number in range(options.replications)]
        found = pl.DataFrame(in_processes(one, jobs, options.jobs)).fill_nan(None)
        print(f"\n### {name}\n\n| | mean | se | defined |\n| --- | --- | --- | --- |")
        for column in [one for one in found.columns if f"{one}, fresh" in found.columns]:
            fresh = pl.lit(found[f"{column}, fresh"].mean())
            covers = fresh.is_between(f"{column} low", f"{column} high").cast(pl.Float64)
            found = found.with_columns(covers.alias(f"{column} covered")).drop(
                f"{column} low", f"{column} high"
            )
        for column in found.columns:
            values = found[column].drop_nulls()
            mean, error = values.mean(), (values.std() or 0.0) / max(len(values), 1) ** 0.5
            print(f"| {column} | {mean:.3f} | {error:.3f} | {len(values)} |")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
