"""Parquet files of instances added up on a Ray cluster: the same bits as in this process, and what it costs.

DATA is a folder of `make_dump.py` (layout sorted, tiny or shuffled). On 1, 2 and 4 workers, each one thread in a raylet
of its own on this machine, and once more on 2 of which one is killed while it works, `aggregate` must give the bytes of
the local engine. Then the constants of the model in docs/scaling_out.md are measured, in CPU seconds of one thread, and
what they make of so many rows (`--rows N ..`), with as many rows to a group as DATA has and with `--rows-per-group`.
"""

from __future__ import annotations

import argparse
import math
import os
import signal
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

import signoise as sn
from measure import markdown, setting
from signoise import _core, _parquet_scan
from signoise.engines import Ray

BY = ("run", "step", "task", "subtask", "metric")
#: The columns of DATA that these are, and which of them name a score.
KEYS, INNER = ["model", "step", "task", "subtask"], [False, False, True, True]
#: Workers that are timed.
WORKERS = (1, 2, 4)
#: Rows of a partition while bits are compared: enough partitions to lose one.
COMPARED = 1 << 22
#: Rows of a unit, and of the largest partition.
UNIT, MOST = 1 << 22, 1 << 27
#: Supposed: bytes a second that each worker gets of its files, and the driver of states; what a core costs an hour.
NETWORK, DOLLARS = 100e6, 0.04


@dataclass
class Costs:
    """An engine in this process, of one thread, that writes down what partitions cost."""

    shares: int = 1 << 30
    rows: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    bytes: list[int] = field(default_factory=list)
    elsewhere: float = 0.0
    """Seconds between the partitions: merging."""

    def threads_of(self, threads: int | None) -> int:
        del threads
        return 1

    def map(
        self,
        function: Callable[[Any], Any],
        partitions: Sequence[Any],
        *,
        sizes: Sequence[float] | None = None,
        progress: Any = None,
    ) -> Iterator[Any]:
        del progress
        function(partitions[0])  # the files are in the page cache, the kernel's tables made
        for partition, rows in zip(partitions, sizes or (), strict=True):
            begun = time.process_time()
            state = function(partition)
            ended = time.process_time()
            self.rows.append(rows)
            self.seconds.append(ended - begun)
            self.bytes.append(len(state))
            yield state
            self.elsewhere += time.process_time() - ended


def aggregate(data: Path, engine: Any) -> tuple[pl.DataFrame, float]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", sn.SignoiseWarning)
        begun = time.perf_counter()
        table = sn.aggregate(data, by=BY, engine=engine)
        return table, time.perf_counter() - begun


def equal(found: pl.DataFrame, expected: pl.DataFrame) -> None:
    """Bit by bit: -0.0 is not 0.0, and a NaN is one of 2**52."""
    if found.schema != expected.schema or found.height != expected.height:
        raise SystemExit("the tables differ in columns or rows")
    for name, dtype in expected.schema.items():
        one, other = found[name], expected[name]
        if dtype == pl.Float64:
            one, other = (x.fill_null(0.5).to_numpy().view("u8") for x in (one, other))
            same = (one == other).all() and (found[name].is_null() == expected[name].is_null()).all()
        else:
            same = one.equals(other, null_equal=True)
        if not same:
            raise SystemExit(f"column {name} differs")


@dataclass
class Killed:
    """An engine that kills the worker that has done the middle partition, once, before it can answer."""

    inner: Ray
    mark: Path

    @property
    def shares(self) -> int:
        return self.inner.shares

    def threads_of(self, threads: int | None) -> int | None:
        return self.inner.threads_of(threads)

    def map(self, function: Callable[[Any], Any], partitions: Sequence[Any], **options: Any) -> Iterator[Any]:
        victim, mark = partitions[len(partitions) // 2].name, self.mark

        def fatal(partition: Any) -> Any:
            state = function(partition)
            if partition.name == victim and not mark.exists():
                mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return state

        return self.inner.map(fatal, partitions, **options)


def on_clusters(data: Path, expected: pl.DataFrame) -> tuple[list[dict[str, str]], float]:
    """Seconds on each number of workers, and for an empty partition; all tables have the same bits, or it ends here."""
    import ray
    from ray.cluster_utils import Cluster

    _parquet_scan._FEWEST = COMPARED
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["PYTHONPATH"] = str(Path(sn.__file__).parents[1])
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    for _ in range(max(WORKERS)):
        cluster.add_node(num_cpus=1)
    ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
    rows = []
    try:
        with tempfile.TemporaryDirectory() as folder:
            mark = Path(folder) / "killed"
            engines: dict[str, Any] = {f"Ray, {count} workers": Ray(workers=count) for count in WORKERS}
            engines["Ray, 2 workers, one killed"] = Killed(Ray(workers=2), mark)
            aggregate(data, Ray(workers=max(WORKERS)))  # workers have started
            for name, engine in engines.items():
                found, seconds = aggregate(data, engine)
                equal(found, expected)
                rows.append({"engine": name, "seconds": f"{seconds:.2f}", "bits": "the same"})
            if not mark.exists():
                raise SystemExit("no worker was killed")
        begun = time.perf_counter()
        count = len(list(Ray(workers=1).map(nothing, range(500))))
        dispatch = (time.perf_counter() - begun) / count
    finally:
        ray.shutdown()
        cluster.shutdown()
    return rows, dispatch


@dataclass(frozen=True)
class Model:
    """What the pieces of a job cost, on one thread of this machine."""

    row: float
    """Seconds of a worker for a row."""
    partition: float
    """Seconds for a partition beside its rows: half of them of a worker, half of this process."""
    unit: float
    """Seconds of this process to plan a unit of 4 Mi rows."""
    sums: float
    """Seconds of this process to merge the sums of a group and metric in a unit."""
    sums_bytes: float
    """Bytes of these in a state."""
    bytes_per_row: float
    metrics: int
    shuffled: bool
    """Any row may be of any group; else each group's rows follow each other."""

    def of(self, rows: float, workers: int, per_group: float) -> dict[str, float]:
        """Seconds of each part of a job, with so many rows to each group."""
        partitions, units, groups = max(rows / MOST, 1.0), max(rows / UNIT, 1.0), rows / per_group
        # Sums are kept for each unit, so that they are added in one order: a unit has some of all groups, or its own.
        in_unit = groups * -math.expm1(-min(rows, UNIT) / groups) if self.shuffled else groups / units + 1
        sums = units * in_unit * self.metrics
        return {
            "rows": (rows * self.row + partitions * self.partition / 2) / workers,
            "network": rows * self.bytes_per_row / (NETWORK * workers),
            "this process": units * self.unit + sums * self.sums + partitions * self.partition / 2,
            "states": sums * self.sums_bytes / NETWORK,
        }


def costs_of(data: Path, files: Sequence[Path], dispatch: float) -> tuple[Model, float]:
    """The constants, and the rows of a group; `dispatch` is what the cluster takes to run an empty partition."""
    kept = _parquet_scan._FEWEST, _parquet_scan._MOST
    _parquet_scan._FEWEST = _parquet_scan._MOST = UNIT
    costs = Costs()
    table, _ = aggregate(data, costs)
    _parquet_scan._FEWEST, _parquet_scan._MOST = kept
    begun = time.process_time()
    plan = _core.plan_parquet(
        [str(path) for path in files], KEYS, inner=INNER, identity="instance_id", threads=1
    )
    planned = time.process_time() - begun
    if len(plan["rows"]) != len(files):
        raise SystemExit("a file has more than one unit: give files of at most 4 Mi rows")
    metrics = table["metric"].n_unique()
    in_units = [pl.read_parquet(path, columns=KEYS).n_unique() for path in files]
    groups, sums, rows = table.height / metrics, sum(in_units) * metrics, sum(costs.rows)
    model = Model(
        row=sum(costs.seconds) / rows,
        partition=dispatch,
        unit=planned / len(files),
        sums=costs.elsewhere / sums,
        sums_bytes=sum(costs.bytes) / sums,
        bytes_per_row=sum(path.stat().st_size for path in files) / rows,
        metrics=metrics,
        shuffled=sum(in_units) > 2 * groups + len(files),
    )
    return model, rows / groups


def nothing(partition: int) -> int:
    return partition


def table_of(model: Model, sizes: Sequence[float], per_group: float) -> list[dict[str, str]]:
    rows = []
    for size in sizes:
        for workers in (16, 256, 4096):
            parts = model.of(size, workers, per_group)
            # Workers read while they add up; this process merges states while others are made.
            seconds = max(parts.values())
            rows.append(
                {
                    "rows": f"{size:.0e}".replace("e+", "e"),
                    "workers": f"{workers:,}",
                    "seconds": f"{seconds:,.0f}",
                    "bound by": max(parts, key=lambda name: parts[name]),
                    **{f"{name}, s": f"{value:,.0f}" for name, value in parts.items()},
                    "merged, GB": f"{size / per_group * model.metrics * model.sums_bytes / 1e9:,.1f}",
                    "dollars": f"{seconds * workers * DOLLARS / 3600:,.2f}",
                }
            )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--rows", type=float, nargs="*", default=[1e10, 1e11, 1e12])
    parser.add_argument("--rows-per-group", type=float, default=10_000)
    options = parser.parse_args()
    files = sorted(options.data.rglob("*.parquet"))
    print(setting(1))
    expected, seconds = aggregate(options.data, "local")
    clusters, dispatch = on_clusters(options.data, expected)
    print(markdown([{"engine": "local", "seconds": f"{seconds:.2f}", "bits": ""}, *clusters]))
    model, per_group = costs_of(options.data, files, dispatch)
    print()
    for name, value in vars(model).items():
        print(f"{name:>15} {value:.3g}")
    for rows in (per_group, options.rows_per_group):
        print(f"\n{rows:,.0f} rows to a group\n")
        print(markdown(table_of(model, options.rows, rows)))


if __name__ == "__main__":
    main()
