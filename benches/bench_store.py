"""The score store: rows a second of an ingest of Parquet, its size, and the moments of one metric for all checkpoints.

DATA is a folder of `make_dump.py --layout sorted|tiny|shuffled`. The store is made once for each repeat; then each
metric is asked of the store and of DuckDB on the Parquet files, in turn. What is timed is `store.moments`: "store" is
the median of some calls on one open store, which keeps the labels of the first one; "first call" is that one alone, and
"opened anew" the opening with it. All of them make the whole table, labels and extremes included.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from bench_scan import METRICS, OURS, THEIRS, duckdb_scan
from measure import markdown
from processes import (
    Job,
    equal_moments,
    evict,
    files_of,
    long_moments,
    main_of,
    parser_of,
    setting,
    signoise_imported,
    start,
)

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    import polars as pl

BINARY, REAL = METRICS
CALLS = 5


def ingest(options: argparse.Namespace) -> Callable[[], None]:
    package = signoise_imported()

    def call() -> None:
        package.ingest(options.data, options.store, metrics=list(METRICS), threads=options.threads)

    return call


def stored(options: argparse.Namespace, *, metric: str, opened: bool) -> Callable[[], Any]:
    package = signoise_imported()
    store = package.open_store(options.store) if opened else None

    def call() -> pl.DataFrame:
        held = package.open_store(options.store) if store is None else store
        return held.moments(metrics=[metric], threads=options.threads)

    return call


def stored_answer(table: pl.DataFrame) -> pl.DataFrame:
    return table.select(*OURS, "metric", "n", "mean", "variance")


def peers_answer(table: pl.DataFrame, *, metric: str) -> pl.DataFrame:
    return long_moments(table, THEIRS, [metric]).rename({"model": "run"})


def jobs_of(metric: str) -> dict[str, Job]:
    return {
        "store": Job(partial(stored, metric=metric, opened=True), stored_answer, calls=CALLS),
        "store, first call": Job(partial(stored, metric=metric, opened=True), stored_answer),
        "store on one thread": Job(
            partial(stored, metric=metric, opened=True), stored_answer, threads=1, calls=CALLS
        ),
        "store opened anew": Job(partial(stored, metric=metric, opened=False), stored_answer),
        "DuckDB on Parquet": Job(
            partial(duckdb_scan, metrics=(metric,)), partial(peers_answer, metric=metric)
        ),
    }


INGEST = Job(ingest)
JOBS = {f"{metric}: {name}": job for metric in (REAL, BINARY) for name, job in jobs_of(metric).items()}


def rows_of(folder: Path) -> int:
    import pyarrow.parquet as pq

    return sum(pq.read_metadata(path).num_rows for path in files_of(folder, ".parquet"))


def size_of(path: Path) -> int:
    return sum(file.stat().st_size for file in files_of(path))


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument(
        "--store", type=Path, help="folder to make the store in; default: that of temporary files"
    )
    options = parser.parse_args()
    if options.run is not None:
        main_of({"ingest": INGEST, **JOBS}, parser, partial(equal_moments, keys=OURS))
        return
    print(setting(options), flush=True)
    with tempfile.TemporaryDirectory(dir=options.store) as folder:
        store = Path(folder) / "scores.store"
        arguments = [*sys.argv[1:], "--store", str(store)]
        runs = []
        for _ in range(max(1, options.repeats)):
            shutil.rmtree(store, ignore_errors=True)
            if options.cold:
                evict(options.data)
            runs.append(start("ingest", INGEST, arguments, options))
        rows, wall, cpu = rows_of(options.data), median(r.wall for r in runs), median(r.cpu for r in runs)
        ours, theirs = size_of(store), size_of(options.data)
        print(
            markdown(
                [
                    {
                        "job": f"ingest of {rows:,} rows",
                        "wall s": f"{wall:.2f}",
                        "CPU s": f"{cpu:.2f}",
                        "million rows/s": f"{rows / wall / 1e6:.1f}",
                        "peak MB": f"{max(r.memory for r in runs):.0f}",
                        "store MB": f"{ours / 1e6:.0f}",
                        "Parquet MB": f"{theirs / 1e6:.0f}",
                        "store/Parquet": f"{ours / theirs:.2f}",
                    }
                ]
            )
        )
        for metric in (REAL, BINARY):
            chosen = {name: job for name, job in JOBS.items() if name.startswith(f"{metric}: ")}
            print(flush=True)
            main_of(chosen, parser, partial(equal_moments, keys=OURS), arguments, quiet=True)


if __name__ == "__main__":
    main()
