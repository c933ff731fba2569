"""The published procedure's table (3 decision accuracies and 7 SNRs for 24 tasks) four ways, on 388,800 rows.

Every number of every way is compared before anything is timed.
"""

from __future__ import annotations

import argparse
import gc
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

import signoise as sn
from measure import interleaved, markdown, setting
from paper_loop import (
    PAPER_SMALL,
    PAPER_SNR_SIZES,
    PAPER_TARGET,
    careful_table,
    paper_frame,
    paper_table,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    import polars as pl

SETTINGS = (PAPER_SNR_SIZES, PAPER_SMALL, PAPER_TARGET)
BY = ("params", "task", "metric")
#: Settings of `snr` for the two noises of the table: as published, and the default of signoise.
NOISES: dict[str, dict[str, Any]] = {
    "": {"noise": "pooled", "ddof": 0},
    "_within": {"noise": "within", "ddof": 1},
}


def signoise_table(scores: pl.DataFrame, package: Any, noise: str) -> tuple[pl.DataFrame, list[pl.DataFrame]]:
    """One call for the SNRs, one for each decision accuracy."""
    return package.snr(scores, by=BY, **NOISES[noise]), [
        package.decision_accuracy(
            scores, small=f"params = {small}", target=f"params = {PAPER_TARGET}", ties="compat"
        )
        for small in PAPER_SMALL
    ]


def check(expected: pd.DataFrame, careful: pl.DataFrame, found: dict[str, Any], noise: str) -> None:
    """Refuse to time different numbers."""
    for column in careful.columns[1:]:
        np.testing.assert_allclose(careful[column].to_numpy(), expected[column], rtol=1e-9, err_msg=column)
    for way, (ratios, decisions) in found.items():
        for size in PAPER_SNR_SIZES:
            table = ratios.filter(params=size).sort("task")
            assert table["task"].to_list() == expected["task"].tolist()
            for column in ("signal", "noise", "snr"):
                name = f"{column}{'' if column == 'signal' else noise}_{size}"
                ours = table[column].to_numpy()
                np.testing.assert_allclose(ours, expected[name], rtol=1e-9, err_msg=f"{way}: {name}")
        for small, table in zip(PAPER_SMALL, decisions, strict=True):
            name = f"decision_accuracy_{small}"
            ours = table.sort("task")["decision_accuracy"].to_numpy()
            np.testing.assert_allclose(ours, expected[name], rtol=1e-9, err_msg=f"{way}: {name}")


def compare(label: str, scores: pl.DataFrame, repeats: int) -> list[dict[str, str]]:
    frame = pd.DataFrame(scores.to_dict(as_series=False))
    for noise in NOISES:
        found = {package.__name__: signoise_table(scores, package, noise) for package in (sn, sn.reference)}
        check(paper_table(frame, *SETTINGS), careful_table(scores, *SETTINGS), found, noise)
    jobs: dict[str, Callable[[], Any]] = {
        "pandas loop": lambda: paper_table(frame, *SETTINGS),
        "careful Polars and NumPy": lambda: careful_table(scores, *SETTINGS),
        "signoise": lambda: signoise_table(scores, sn, ""),
        "signoise, default noise and its intervals": lambda: signoise_table(scores, sn, "_within"),
        "signoise.reference (twins)": lambda: signoise_table(scores, sn.reference, ""),
    }
    gc.collect()
    times = interleaved(jobs, repeats)
    loop = times["pandas loop"]
    return [
        {
            "rows": f"{scores.height:,} {label}",
            "way": way,
            "wall s": f"{t.wall:.4f}",
            "CPU s": f"{t.cpu:.4f}",
            "loop / way, wall": f"{loop.wall / t.wall:.1f}",
            "loop / way, CPU": f"{loop.cpu / t.cpu:.1f}",
        }
        for way, t in times.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3, help="runs of each way; at least 3 (default)")
    repeats = max(3, parser.parse_args().repeats)
    print(setting(repeats))
    scores = paper_frame()
    shuffled = scores.sample(fraction=1.0, shuffle=True, seed=1)
    rows = compare("in order", scores, repeats) + compare("shuffled", shuffled, repeats)
    print("all numbers agree to 1e-9\n")
    print(markdown(rows))


if __name__ == "__main__":
    main()
