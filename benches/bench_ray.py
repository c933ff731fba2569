"""Parquet files of instances added up on a Ray cluster: the same bits as in this process, and what it costs.

DATA is a folder of `make_dump.py` (layout sorted, tiny or shuffled). On 1, 2 and 4 workers, each one thread in a raylet
of its own on this machine, and once more on 2 of which one is killed while it works, `aggregate` must give the bytes of
the local engine. Then the constants of the model in docs/scaling_out.md are measured: seconds that one thread needs for
a row, and for a partition however few rows it has; bytes of a state for each group; seconds that the driver needs
to plan a unit, and to merge a group of a state. `--rows N ..` says what they make of so many rows.
"""

from __future__ import annotations

import argparse
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
    """Seconds of a worker and of the driver for a partition beside its rows."""
    state: float
    """Bytes of a state for each of its groups."""
    merge: float
    """Seconds of the driver for a group of a state."""
    unit: float
    """Seconds of the driver to plan a unit of 4 Mi rows."""
    rows_per_group: float
    bytes_per_row: float

    def of(self, rows: float, workers: int) -> dict[str, float]:
        """Seconds of each part of a job. Rows are sorted by group, so few groups lie in two partitions."""
        partitions, groups = max(rows / MOST, 1.0), rows / self.rows_per_group
        return {
            "rows": (rows * self.row + partitions * self.partition) / workers,
            "network": rows * self.bytes_per_row / (NETWORK * workers),
            "driver": rows / UNIT * self.unit + groups * self.merge + partitions * self.partition / 2,
            "states": groups * self.state / NETWORK,
        }


def costs_of(data: Path, files: Sequence[Path], groups: int, dispatch: float) -> Model:
    """The constants; `dispatch` is what the cluster takes to run an empty partition."""
    counted = {}
    kept = _parquet_scan._FEWEST, _parquet_scan._MOST
    for most in (1 << 30, 1):
        _parquet_scan._FEWEST = _parquet_scan._MOST = most
        counted[most] = Costs()
        aggregate(data, counted[most])
    _parquet_scan._FEWEST, _parquet_scan._MOST = kept
    one, many = counted[1 << 30], counted[1]
    begun = time.process_time()
    plan = _core.plan_parquet(
        [str(path) for path in files],
        ["model", "step", "task", "subtask"],
        inner=[False, False, True, True],
        identity="instance_id",
        threads=1,
    )
    planned = time.process_time() - begun
    rows, extra = sum(one.rows), len(many.seconds) - len(one.seconds)
    beside = max((sum(many.seconds) - sum(one.seconds)) / extra, 0.0) if extra else 0.0
    return Model(
        row=sum(one.seconds) / rows,
        partition=beside + dispatch,
        state=sum(one.bytes) / groups,
        merge=one.elsewhere / groups,
        unit=planned / len(plan["rows"]),
        rows_per_group=rows / groups,
        bytes_per_row=sum(path.stat().st_size for path in files) / rows,
    )


def nothing(partition: int) -> int:
    return partition


def table_of(model: Model, sizes: Sequence[float]) -> list[dict[str, str]]:
    rows = []
    for size in sizes:
        for workers in (1, 16, 256, 4096):
            parts = model.of(size, workers)
            # Workers read while they add up; the driver merges states while others are made.
            seconds = max(parts["rows"], parts["network"], parts["driver"], parts["states"])
            rows.append(
                {
                    "rows": f"{size:.0e}",
                    "workers": str(workers),
                    "seconds": f"{seconds:,.0f}",
                    "bound by": max(parts, key=lambda name: parts[name]),
                    **{f"{name} alone, s": f"{value:,.1f}" for name, value in parts.items()},
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
    options = parser.parse_args()
    files = sorted(options.data.rglob("*.parquet"))
    print(setting(1))
    expected, seconds = aggregate(options.data, "local")
    clusters, dispatch = on_clusters(options.data, expected)
    print(markdown([{"engine": "local", "seconds": f"{seconds:.2f}", "bits": ""}, *clusters]))
    model = costs_of(options.data, files, expected.height, dispatch)
    print()
    for name, value in vars(model).items():
        print(f"{name:>15} {value:.3g}")
    print()
    print(markdown(table_of(model, options.rows)))


if __name__ == "__main__":
    main()
