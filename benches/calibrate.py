"""Coverage of every interval and error rate of every test on simulated data, written to docs/calibration.md.

python benches/calibrate.py                      the whole study
python benches/calibrate.py --quick --only snr   a look at some cells
"""

from __future__ import annotations

import argparse
import fnmatch
import multiprocessing
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from calibration import (
    components,
    families,
    hypotheses,
    laws,
    means,
    metrics,
    page,
    proportions,
    resampling,
    sequences,
    suites,
)
from calibration.study import Cell, Row, Study

MODULES = (proportions, means, resampling, sequences, suites, metrics, components, hypotheses, families, laws)
PAGE = Path(__file__).resolve().parent.parent / "docs" / "calibration.md"
QUICK = 400
"""Replications of a look."""


def all_cells() -> list[Cell]:
    """Every cell of the study."""
    return [cell for module in MODULES for cell in module.cells()]


def run(name: str, study: Study) -> tuple[list[Row], float]:
    """Rows of one cell, and its CPU seconds."""
    start = time.process_time()
    (cell,) = (cell for cell in all_cells() if cell.name == name)
    return list(cell.run(study)), time.process_time() - start


def run_all(names: Sequence[str], study: Study, jobs: int) -> Iterator[tuple[list[Row], float]]:
    """Cells in their order, in one process or several: their draws do not depend on it."""
    if jobs == 1:
        yield from (run(name, study) for name in names)
        return
    # Polars and the compiled core have threads, which do not live through a fork.
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(partial(run, study=study), names)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--replications", type=int, default=10_000, metavar="N", help="of each cell (10000)")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} replications, tables to stdout")
    parser.add_argument(
        "--only", metavar="PATTERN", help="cells whose name has this in it (*, ? as in a shell)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of all draws (0)")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="processes (1)")
    parser.add_argument("--list", action="store_true", help="names of the cells, and nothing else")
    parser.add_argument(
        "-o", "--output", type=Path, help="page whose tables are replaced (docs/calibration.md)"
    )
    options = parser.parse_args(arguments)
    cells = [
        cell for cell in all_cells() if not options.only or fnmatch.fnmatch(cell.name, f"*{options.only}*")
    ]
    if not cells:
        parser.error(f"--only: no cell has {options.only!r} in its name; --list shows them")
    if options.list:
        print("\n".join(cell.name for cell in cells))
        return 0
    study = Study(QUICK if options.quick else options.replications, options.seed)
    rows: list[Row] = []
    names = [cell.name for cell in cells]
    for number, (name, (found, seconds)) in enumerate(
        zip(names, run_all(names, study, options.jobs), strict=True), 1
    ):
        rows += found
        failed = sum(row.verdict == "**no**" or "no flag" in row.verdict for row in found)
        told = f", {failed} of {len(found)} rows miss their bar" if failed else ""
        print(f"[{number}/{len(names)}] {seconds:5.1f} s  {name}{told}", file=sys.stderr, flush=True)
    # A part of the study is no replacement for the page.
    output = options.output or (None if options.quick or options.only else PAGE)
    tables = page.tables(rows, study)
    if output is None:
        print(tables)
    else:
        page.replace(output, tables)
        print(f"wrote {output}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
