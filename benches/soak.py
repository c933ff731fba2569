"""Mixed verbs on a store for as long as one likes: memory that does not grow, the same bits at the end as at the start.

    nice -n 19 python benches/soak.py --minutes 30

A round makes every call of `CALLS` once, in another order each time: statistics of the store and of Parquet, an ingest
into a new store that is removed again, a report with its page, and calls that must fail. The first round's answers are
what later ones are compared with, digit by digit. After each round the resident memory, the open files and the threads
of the process are written down. Exit code 1 if an answer differs, if memory of the last fifth of the rounds is more
than `ALLOWED` above that of the second fifth (the first one fills caches and pools), or if files or threads pile up.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import os
import random
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from statistics import median

import polars as pl

import signoise as sn

#: Growth of the resident memory that is the allocator's own, as a share of it.
ALLOWED = 0.03
#: Rounds before memory is judged: caches, pools of threads and the allocator's arenas fill in the first ones.
ENOUGH = 40
SIDES = {"small": "params = 100000000", "target": "params = 1000000000"}
Call = Callable[[], object]


def prepare(folder: Path) -> None:
    """Instances as Parquet and as a store, and a table that is damaged."""
    frame, _ = sn.simulate(tasks=6, recipes=6, params=(1e8, 1e9), checkpoints=5, instances=500)
    frame = frame.with_columns(subtask=pl.format("part-{}", pl.col("instance_id").hash() % 3))
    frame.write_parquet(folder / "instances.parquet")
    sn.ingest(frame, folder / "store")
    whole = (folder / "instances.parquet").read_bytes()
    (folder / "cut.parquet").write_bytes(whole[: len(whole) // 2])


def calls_of(folder: Path) -> dict[str, Call]:
    """Every call by its name; each answers with a table or with what it was refused with."""
    store, table, scores = folder / "store", folder / "instances.parquet", sn.example_scores()
    opened = sn.open_store(store)

    def ingested() -> pl.DataFrame:
        new = folder / "new"
        sn.ingest(table, new)
        found = sn.open_store(new).moments()
        shutil.rmtree(new)
        return found

    def page() -> str:
        sn.report(table, html=folder / "page.html")
        return (folder / "page.html").read_text()

    return {
        "snr": lambda: sn.snr(store),
        "snr with instances": lambda: sn.snr(store, instances=True, n_resamples=200),
        "snr of the example": lambda: sn.snr(scores),
        "noise": lambda: sn.noise(store, per="run"),
        "decision_accuracy": lambda: sn.decision_accuracy(store, **SIDES),
        "smoothness": lambda: sn.smoothness(store),
        "average_checkpoints": lambda: sn.average_checkpoints(store, window=3),
        "roll_up": lambda: sn.roll_up(store, to="task"),
        "aggregate of the store": lambda: sn.aggregate(store),
        "aggregate of Parquet": lambda: sn.aggregate(table),
        "moments": opened.moments,
        "rows": lambda: opened.scan().select(pl.len(), pl.col("value").sum()).collect(),
        "bootstrap": lambda: sn.bootstrap(store, n_resamples=300),
        "compare": lambda: sn.compare(store, where="params > 5e8", test="permutation"),
        "rank": lambda: sn.rank(store, where="params > 5e8"),
        "variance": lambda: sn.variance(store),
        "filter_subtasks": lambda: sn.filter_subtasks(store, where="params > 5e8"),
        "item_statistics": lambda: sn.item_statistics(store, where="params > 5e8 AND task = 'task-00'"),
        "report": lambda: sn.report(store),
        "ingest": ingested,
        "page": page,
        "a damaged file": lambda: sn.aggregate(folder / "cut.parquet"),
        "a mistaken option": lambda: sn.snr(store, signal="dispersian"),
        "verify": opened.verify,
    }


def digest(call: Call) -> str:
    """Of every digit of the answer: the shortest text of a float is that float and no other."""
    try:
        found = call()
    except sn.SignoiseError as error:
        found = f"{type(error).__name__}: {error}"
    said = repr((found.schema, found.rows())) if isinstance(found, pl.DataFrame) else repr(found)
    return hashlib.sha256(said.encode()).hexdigest()


def resources() -> tuple[float, int, int]:
    """Resident memory in MB, open files, threads."""
    gc.collect()
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines["VmRSS"].split()[0]) / 1024, len(os.listdir("/proc/self/fd")), int(lines["Threads"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=0, help="of the order of calls")
    options = parser.parse_args()
    warnings.simplefilter("ignore", sn.SignoiseWarning)
    order = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder)
        calls = calls_of(folder)
        expected = {called: digest(call) for called, call in calls.items()}
        seen = [resources()]
        print(f"{len(calls)} calls a round; minutes, rounds, resident MB, open files, threads", flush=True)
        start = told = time.monotonic()
        while time.monotonic() - start < options.minutes * 60:
            for called in order.sample(sorted(calls), len(calls)):
                if digest(calls[called]) != expected[called]:
                    raise SystemExit(f"{called}: another answer in round {len(seen)}")
            seen.append(resources())
            if time.monotonic() - told >= 60:
                told = time.monotonic()
                memory, files, threads = seen[-1]
                print(
                    f"{(told - start) / 60:5.1f} {len(seen) - 1:5} {memory:8.1f} {files:4} {threads:4}",
                    flush=True,
                )
        verdict(seen, len(calls), (time.monotonic() - start) / 60)


def verdict(seen: list[tuple[float, int, int]], calls: int, minutes: float) -> None:
    """What came of it, and exit code 1 where something grew."""
    fifth = max(len(seen) // 5, 1)
    early, late = (
        median(memory for memory, _, _ in part) for part in (seen[fifth : 2 * fifth], seen[-fifth:])
    )
    grown = [
        what
        for what, column in (("open files", 1), ("threads", 2))
        if seen[-1][column] > max(row[column] for row in seen[: 2 * fifth])
    ]
    rounds = len(seen) - 1
    if rounds < ENOUGH:
        print(f"{rounds} rounds are too few to tell whether memory grows; it takes {ENOUGH}")
    elif late > early * (1 + ALLOWED):
        grown.append("memory")
    print(
        f"{rounds} rounds, {rounds * calls} calls in {minutes:.1f} minutes: every answer as in the first round; "
        f"resident MB {seen[0][0]:.0f} after it, {early:.0f} in the second fifth, {late:.0f} in the last, "
        f"{max(memory for memory, _, _ in seen):.0f} at most; {seen[-1][1]} open files and {seen[-1][2]} threads"
    )
    if grown:
        sys.exit(f"grew: {', '.join(grown)}")


if __name__ == "__main__":
    main()
