"""What laws foretold of larger scales, on published runs: the tables of docs/choosing_a_law.md.

Every figure comes from `choose_law`: each scale is predicted from all smaller ones. Takes a few minutes.

    python benches/study_choose_law.py ../shared/data
    python benches/study_choose_law.py --simulate 100
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

import signoise as sn


@dataclass(frozen=True)
class Study:
    """Runs of one publication, and how they are read."""

    name: str
    rows: Callable[[Path], pl.DataFrame]
    options: dict[str, Any]


def chinchilla(folder: Path) -> pl.DataFrame:
    """The points read off the figure, without the five of highest loss, as in the published refit."""
    points = pl.read_parquet(folder / "chinchilla_points.parquet").sort("loss")
    return points.head(points.height - 5).select("params", "tokens", "loss")


#: What tells the runs of the learning-rate sweeps apart.
RUN = ("params", "total_steps", "peak_lr", "sweep", "total_epochs")


def sweeps(folder: Path) -> pl.DataFrame:
    """All checkpoints of all runs, with a name of each run."""
    rows = pl.read_parquet(folder / "misfitting_runs.parquet").filter(pl.col("loss").is_finite())
    return rows.with_columns(run=pl.concat_str(RUN, separator=" "))


def tuned(folder: Path) -> pl.DataFrame:
    """The same of the runs with the best learning rate of each size and length, by their last loss."""
    rows = sweeps(folder)
    ends = rows.filter(pl.col("portion_steps_elapsed") >= 0.99).sort("loss", "run")
    return rows.join(
        ends.unique(["params", "total_steps"], keep="first", maintain_order=True), on="run", how="semi"
    )


def finished(folder: Path) -> pl.DataFrame:
    """The ends of the tuned runs."""
    return _ends(tuned(folder))


def untuned(folder: Path) -> pl.DataFrame:
    """The ends of all runs, whatever their learning rate."""
    return _ends(sweeps(folder))


def _ends(rows: pl.DataFrame) -> pl.DataFrame:
    done = rows.filter(pl.col("portion_steps_elapsed") >= 0.99)
    return (
        done.sort("tokens")
        .group_by("run", maintain_order=True)
        .last()
        .select("run", "params", "tokens", "loss")
    )


def curves(folder: Path) -> pl.DataFrame:
    """The tuned runs without the first tenth of their training."""
    rows = tuned(folder).filter(pl.col("portion_steps_elapsed") > 0.1)
    return rows.select("run", "params", "tokens", "loss")


def ladder(metric: str) -> Callable[[Path], pl.DataFrame]:
    """The ends of the ladder's runs, and of the 7B and the 13B, in one metric."""

    def rows(folder: Path) -> pl.DataFrame:
        table = pl.scan_parquet(folder / "olmo_ladder.parquet").filter(pl.col("metric") == metric)
        run = pl.col("run")
        large = run.is_in(["peteish7_eval_full", "peteish13_eval_full"])
        kept = table.filter(large | ~run.str.starts_with("peteish"))
        return kept.select("run", "params", "step", "tokens", "task", "metric", "value").collect()

    return rows


def observed(folder: Path) -> pl.DataFrame:
    """Base models of many families."""
    table = pl.read_parquet(folder / "obs_scaling.parquet").filter(
        pl.col("table") == "base_llm_benchmark_eval", pl.col("tokens_t").is_not_null()
    )
    return table.select(
        pl.col("model").alias("run"),
        (pl.col("size_b") * 1e9).alias("params"),
        (pl.col("tokens_t") * 1e12).alias("tokens"),
        (pl.col("flops_1e21") * 1e21).alias("flops"),
        pl.col("metric").alias("task"),
        pl.lit("acc").alias("metric"),
        "value",
    )


STUDIES = (
    Study("chinchilla", chinchilla, {"y": "loss"}),
    Study("tuned", finished, {"y": "loss"}),
    Study("all ends", untuned, {"y": "loss"}),
    Study("curves", curves, {"y": "loss"}),
    Study("ladder loss", ladder("ce_loss"), {"checkpoints": "last"}),
    Study("ladder bpb", ladder("bpb"), {"checkpoints": "last"}),
    Study("ladder acc", ladder("len_norm"), {"checkpoints": "last"}),
    # Some scores are 0, of which there is no logarithm.
    Study("observed", observed, {"scale": "flops", "objective": "lsq"}),
)
OTHERS = ("predict_last", "predict_best", "selected", "weighted", "median")


def error_table(found: dict[str, pl.DataFrame]) -> str:
    """Markdown: a row a law, a column a study, the median over tasks of the error in percent."""
    laws = [name for name in sn.laws()["law"] if any(name in table["law"] for table in found.values())]
    lines = ["| law | " + " | ".join(found) + " |", "| --- " * (1 + len(found)) + "|"]
    for law in (*laws, *OTHERS):
        cells = []
        for table in found.values():
            own = table.filter(pl.col("law") == law)
            cells.append(_cell(own, int(table["n_scales"].max() or 0)))
        if any(cells):
            lines.append(f"| {law} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(own: pl.DataFrame, n_scales: int) -> str:
    """The median error, and how many of the tasks a law did better in than both baselines, where there are several."""
    held = own.filter(pl.col("n_scales") > 0)
    if not held.height:
        return ""
    missing = "*" if int(held["n_scales"].min() or 0) < n_scales else ""
    return f"{100 * float(held['error'].median() or 0):.1f}{missing}"


def summary_table(found: dict[str, pl.DataFrame], sizes: dict[str, tuple[int, float]]) -> str:
    """Markdown: a row a study, what it is and how a choice does."""
    head = (
        "study",
        "tasks",
        "points",
        "scales",
        "laws",
        "best law",
        "ahead",
        "`selected` ahead",
        "covered",
        "CPU s",
    )
    lines = ["| " + " | ".join(head) + " |", "| --- " * len(head) + "|"]
    for name, table in found.items():
        selected = table.filter(law="selected").filter(pl.col("n_scales") > 0)
        laws = table.filter(kind="law").filter(pl.col("n_scales") > 0)
        tasks = selected.height
        ahead = laws.group_by("law").agg(pl.col("skill").median(), (pl.col("skill") > 0).sum().alias("ahead"))
        best = ahead.sort("skill", descending=True, nulls_last=True).row(0, named=True)
        cells = (
            name,
            tasks,
            sizes[name][0],
            selected["n_scales"].max(),
            laws["law"].n_unique(),
            best["law"],
            f"{best['ahead']} of {tasks}",
            f"{selected.filter(pl.col('skill') > 0).height} of {tasks}",
            f"{selected['covered'].mean():.2f}",
            f"{sizes[name][1]:.0f}",
        )
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


# --- planted laws -----------------------------------------------------------------------------------


def planted(index: int, n_sizes: int, noise: float) -> tuple[pl.DataFrame, dict[str, float], float]:
    """Runs of one planted law, a target one size further, and its score."""
    draw = np.random.default_rng([1080, index])
    alpha, beta, floor = draw.uniform(0.2, 0.5), draw.uniform(0.2, 0.5), draw.uniform(0.5, 2.0)
    bend = draw.choice([0.0, 0.15])
    gains = draw.uniform(0.5, 1.5, 2)

    def loss(params: Any, tokens: Any) -> Any:
        # At 1e8 parameters and 2e9 tokens each part is its gain; half of the laws bend in the logarithm of the size.
        slope = alpha * (1 - bend * np.log10(params / 1e8))
        return floor + gains[0] * (params / 1e8) ** -slope + gains[1] * (tokens / 2e9) ** -beta

    sizes = 1e8 * 2.0 ** np.arange(n_sizes)
    params = np.repeat(sizes, 4)
    tokens = params * np.tile([5.0, 20.0, 80.0, 320.0], n_sizes)
    observed = loss(params, tokens) * np.exp(noise * draw.normal(size=len(params)))
    target = {"params": 2 * sizes[-1], "tokens": 2 * sizes[-1] * draw.choice([5.0, 20.0, 80.0, 320.0])}
    actual = float(loss(**target) * np.exp(noise * draw.normal()))
    return pl.DataFrame({"params": params, "tokens": tokens, "loss": observed}), target, actual


def simulate(n: int) -> str:
    """Markdown: what the table says of a choice, and what came of it one size further."""
    foretold = ("`selected`", "`weighted`", "`median`", "`predict_last`")
    head = (
        "sizes",
        "noise",
        "error of the best row",
        "of `selected`",
        *(f"next size: {name}" for name in foretold),
    )
    lines = ["| " + " | ".join((*head, "in range")) + " |", "| --- " * (len(head) + 1) + "|"]
    for n_sizes, noise in ((4, 0.005), (6, 0.005), (6, 0.02), (9, 0.005)):
        rows = []
        for index in range(n):
            runs, target, actual = planted(index, n_sizes, noise)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", sn.SignoiseWarning)
                table = sn.choose_law(runs, y="loss", at=target)
            of = {row["law"]: row for row in table.iter_rows(named=True)}
            best = next(row for row in of.values() if row["kind"] == "law")
            said = [of[name]["predicted"] for name in ("selected", "weighted", "median", "predict_last")]
            rows.append(
                [best["error"], of["selected"]["error"]]
                + [abs(value / actual - 1) for value in said]
                + [of["selected"]["lowest"] <= actual <= of["selected"]["highest"]]
            )
        means = np.mean(np.array(rows, dtype=float), axis=0)
        cells = [f"{100 * value:.2f}" for value in means[:-1]]
        lines.append("| " + " | ".join([str(n_sizes), str(noise), *cells, f"{means[-1]:.2f}"]) + " |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, nargs="?", help="of the published tables")
    parser.add_argument("--simulate", type=int, default=0, help="problems of each design with planted laws")
    parser.add_argument("--only", default="", help="studies whose name holds this")
    options = parser.parse_args(arguments)
    if options.simulate:
        print(simulate(options.simulate))
    if options.folder is None:
        return 0
    found, sizes = {}, {}
    for study in STUDIES:
        if options.only in study.name:
            rows = study.rows(options.folder)
            began = time.process_time()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", sn.SignoiseWarning)
                found[study.name] = table = sn.choose_law(rows, **study.options)
            ends = (
                rows.group_by("run", "task", "metric").len().height if "task" in rows.columns else rows.height
            )
            sizes[study.name] = (ends, time.process_time() - began)
            print(f"{study.name}: {table.filter(law='selected')['note'][0]}\n", flush=True)
    print(error_table(found), summary_table(found, sizes), sep="\n\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
