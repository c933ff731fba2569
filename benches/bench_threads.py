"""Verbs called from Python threads at once: the same bits as one after the other, and how much faster where cores are.

    python benches/bench_threads.py [--threads 1 2 4 16] [--calls 48]

Each verb works on one thread of its own, so that what is gained comes from the callers: the compiled kernels and Polars
release the interpreter's lock.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import polars as pl

import signoise as sn
from measure import interleaved, markdown, setting

Verb = Callable[[], pl.DataFrame]


def verbs(folder: Path) -> dict[str, Verb]:
    instances, _ = sn.simulate(tasks=6, recipes=8, params=(1e8, 1e9), checkpoints=5, instances=2000)
    instances.write_parquet(folder / "instances.parquet")
    sn.ingest(folder / "instances.parquet", folder / "store")
    store = sn.open_store(folder / "store")
    scores = sn.example_scores()
    return {
        "snr of a small table": lambda: sn.snr(scores, threads=1),
        "aggregate of Parquet": lambda: sn.aggregate(folder / "instances.parquet", threads=1),
        "bootstrap of a store": lambda: sn.bootstrap(store, n_resamples=2000, threads=1),
    }


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2, 4, 16])
    parser.add_argument("--calls", type=int, default=48)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args(arguments)
    print(setting(options.repeats))
    rows = []
    with tempfile.TemporaryDirectory() as name:
        for verb, call in verbs(Path(name)).items():
            expected = call()

            def calls(threads: int, call: Verb = call, expected: pl.DataFrame = expected) -> None:
                with ThreadPoolExecutor(threads) as pool:
                    found = list(pool.map(lambda _: call(), range(options.calls)))
                if not all(table.equals(expected) for table in found):
                    raise SystemExit(f"{threads} threads: another answer")

            jobs = {str(threads): lambda threads=threads: calls(threads) for threads in options.threads}
            times = interleaved(jobs, options.repeats)
            first = times[str(options.threads[0])].wall
            rows.append(
                {"verb": verb, "calls": str(options.calls)}
                | {
                    f"{threads} threads": f"{times[threads].wall:.2f} s ({first / times[threads].wall:.2f})"
                    for threads in jobs
                }
            )
    print(markdown(rows))


if __name__ == "__main__":
    main()
