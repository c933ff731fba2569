"""Coverage of every interval and error rate of every test on simulated data, written to docs/calibration.md.

python benches/calibrate.py                      the whole study
python benches/calibrate.py --quick --only snr   a look at some cells
"""

from __future__ import annotations

import argparse
import fnmatch
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from calibration import (
    components,
    families,
    hypotheses,
    means,
    page,
    proportions,
    resampling,
    sequences,
    suites,
)
from calibration.study import Cell, Row, Study

MODULES = (proportions, means, resampling, sequences, suites, components, hypotheses, families)
PAGE = Path(__file__).resolve().parent.parent / "docs" / "calibration.md"
QUICK = 400
"""Replications of a look."""


def all_cells() -> list[Cell]:
    """Every cell of the study."""
    return [cell for module in MODULES for cell in module.cells()]


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
    start = time.process_time()
    for number, cell in enumerate(cells, 1):
        found = list(cell.run(study))
        rows += found
        failed = sum(row.verdict == "**no**" or "no flag" in row.verdict for row in found)
        told = f", {failed} of {len(found)} rows miss their bar" if failed else ""
        spent = time.process_time() - start
        print(f"[{number}/{len(cells)}] {spent:6.1f} s  {cell.name}{told}", file=sys.stderr, flush=True)
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
