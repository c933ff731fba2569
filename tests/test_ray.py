"""Verbs on a Ray cluster of several nodes: the bits of the local engine, whatever dies meanwhile. `make ray-test`"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import signoise as sn
from signoise.engines import Engine, Local, Ray, _dispatch
from test_invariance import assert_same_bits
from test_partitions import contents

ray = pytest.importorskip("ray", reason="Ray is not installed; make ray-test")

pytestmark = pytest.mark.filterwarnings("ignore:.*:ResourceWarning")

SMALL, TARGET = 150_000_000, 1_000_000_000
SIDES: dict[str, Any] = {"small": f"params = {SMALL}", "target": f"params = {TARGET}"}
FEW: dict[str, Any] = {"n_resamples": 200}
STUDIES: dict[str, Callable[..., pl.DataFrame]] = {
    "bootstrap": lambda scores, **to: sn.bootstrap(scores, method="bca", **FEW, **to),
    "bootstrap, median": lambda scores, **to: sn.bootstrap(scores, statistic="median", **FEW, **to),
    "bootstrap, own": lambda scores, **to: sn.bootstrap(
        scores, statistic=lambda x: float(x.max() - x.mean()), n_resamples=20, **to
    ),
    "bootstrap, clusters": lambda scores, **to: sn.bootstrap(scores, cluster="group", **FEW, **to),
    "bootstrap, difference": lambda scores, **to: sn.bootstrap(
        scores, statistic="difference", baseline=scores["run"].min(), **FEW, **to
    ),
    "bootstrap, rank": lambda scores, **to: sn.bootstrap(scores, statistic="rank", **FEW, **to),
    "bootstrap, crossed": lambda scores, **to: sn.bootstrap(scores, over="step", **FEW, **to),
    "permutation_test": lambda scores, **to: sn.permutation_test(scores, where=SIDES["small"], **FEW, **to),
    "snr": lambda scores, **to: sn.snr(scores, instances=True, where=SIDES["small"], **FEW, **to),
    "decision_accuracy": lambda scores, **to: sn.decision_accuracy(
        scores, instances=True, **SIDES, **FEW, **to
    ),
    "decision_accuracy, zero": lambda scores, **to: sn.decision_accuracy(
        scores, instances=True, score="mean", ties="zero", **SIDES, **FEW, **to
    ),
}


def started(start: Callable[[], Any]) -> Any:
    """A node; Ray gives one half a minute, which a busy machine may need more of."""
    for _ in range(3):
        try:
            return start()
        except Exception as error:  # noqa: PERF203 (each try is one)
            if "timed out during startup" not in str(error):
                raise
    return start()


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    from ray.cluster_utils import Cluster

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    head = {"num_cpus": 0, "include_dashboard": False}
    cluster = started(lambda: Cluster(initialize_head=True, head_node_args=head))
    for _ in range(2):
        started(lambda: cluster.add_node(num_cpus=2))
    ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
    # Workers cannot import tests.
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    yield cluster
    ray.shutdown()
    cluster.shutdown()


@pytest.fixture(scope="module")
def scores() -> pl.DataFrame:
    table, _ = sn.simulate(
        tasks=3, recipes=5, params=(SMALL, TARGET), checkpoints=3, instances=40, rng_seed=3
    )
    number = pl.col("instance_id").rank("dense") // 3
    return table.with_columns(number.cast(pl.String).alias("group"))


@pytest.fixture(scope="module")
def store(scores: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ray") / "store"
    sn.ingest(scores.drop("group"), path)
    return path


def told(verb: Callable[..., pl.DataFrame], *args: Any, **options: Any) -> tuple[pl.DataFrame, list[str]]:
    """A table, and the warnings that came with it."""
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        table = verb(*args, **options)
    return table, [str(one.message) for one in heard if issubclass(one.category, sn.SignoiseWarning)]


@pytest.mark.parametrize("name", STUDIES)
def test_studies_have_the_bits_of_the_local_engine(name: str, cluster: Any, scores: pl.DataFrame) -> None:
    expected, heard = told(STUDIES[name], scores)
    # Each number of workers means new processes: the others are for one study, and for `aggregate` below.
    for workers in (1, 2, 4) if name == "bootstrap" else (2,):
        found, also_heard = told(STUDIES[name], scores, engine=Ray(workers=workers))
        assert_same_bits(found, expected, f"{name}, {workers} workers")
        assert also_heard == heard


@pytest.mark.parametrize("name", ["snr", "decision_accuracy"])
def test_workers_open_a_store_themselves(name: str, cluster: Any, store: Path) -> None:
    expected = STUDIES[name](store)
    assert_same_bits(STUDIES[name](store, engine="ray"), expected, name)
    assert_same_bits(STUDIES[name](sn.open_store(store), engine=Ray(workers=2)), expected, name)


def test_adjustment_is_over_all_partitions(cluster: Any, scores: pl.DataFrame) -> None:
    for adjust in ("holm", "bh"):
        expected = sn.permutation_test(scores, where=SIDES["small"], adjust=adjust, **FEW)
        found = sn.permutation_test(scores, where=SIDES["small"], adjust=adjust, engine="ray", **FEW)
        assert found["p_adjusted"].to_list() == expected["p_adjusted"].to_list()


@dataclass(frozen=True)
class Piece:
    """A partition that says which file it is of."""

    at: int
    path: str | None

    @property
    def name(self) -> str:
        return f"file {self.path}"


def once(mark: Path) -> bool:
    """Whether this is the first call with this mark, in any process."""
    try:
        mark.touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


@dataclass(frozen=True)
class Killing:
    """An engine that kills the worker of its last partition, once, before it can answer."""

    inner: Ray
    mark: Path

    @property
    def shares(self) -> int:
        return self.inner.shares

    def threads_of(self, threads: int | None) -> int | None:
        return self.inner.threads_of(threads)

    def map(self, function: Callable[[Any], Any], partitions: Sequence[Any], **options: Any) -> Iterator[Any]:
        victim, mark = partitions[-1].name, self.mark

        def fatal(partition: Any) -> Any:
            state = function(partition)
            if partition.name == victim and once(mark):
                os.kill(os.getpid(), signal.SIGKILL)
            return state

        return self.inner.map(fatal, partitions, **options)


def test_aggregate_has_the_bits_of_the_local_engine(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scores: pl.DataFrame
) -> None:
    monkeypatch.setattr("signoise._parquet_scan._FEWEST", 100)
    source = tmp_path / "dumps"
    source.mkdir()
    # Groups whose rows lie in all files.
    rows = scores.drop("group", "weight").sample(fraction=1, shuffle=True, seed=1)
    for at in range(4):
        rows.gather_every(4, at).write_parquet(source / f"{at}.parquet", row_group_size=300)
    monkeypatch.chdir(tmp_path)
    expected, heard = told(sn.aggregate, source)
    engines = [Ray(workers=count) for count in (1, 2, 4)]
    for engine in (*engines, Killing(Ray(workers=2), tmp_path / "killed"), "ray"):
        found, also_heard = told(sn.aggregate, "dumps", engine=engine)
        assert_same_bits(found, expected, str(engine))
        assert also_heard == heard
    assert (tmp_path / "killed").exists()


def test_ingest_makes_the_same_store(
    cluster: Any, shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("signoise._store._ingest.BATCH_BYTES", 1)
    source = shared / "data" / "dumps" / "lm_eval"
    stores = [tmp_path / "local", tmp_path / "ray"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", sn.SignoiseWarning)
        expected = sn.ingest(source, stores[0], duplicates="first")
        engine = Killing(Ray(workers=2), tmp_path / "killed")
        done = sn.ingest(source, stores[1], duplicates="first", engine=engine)
    assert (tmp_path / "killed").exists()
    assert str(done) == str(expected)
    assert contents(stores[1]) == contents(stores[0])


def test_a_worker_that_always_dies_leaves_whole_commits(
    cluster: Any, shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("signoise._store._ingest.BATCH_BYTES", 1)
    source, store = shared / "data" / "dumps" / "lm_eval", tmp_path / "store"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", sn.SignoiseWarning)
        with pytest.raises(
            sn.EngineError, match=r"\.jsonl .* could not be worked on: workers died over it 1 times"
        ):
            sn.ingest(
                source,
                store,
                duplicates="first",
                engine=Killing(Ray(workers=1, retries=0), tmp_path / "killed"),
            )
        sn.open_store(store).verify()
        sn.ingest(source, store, duplicates="first")
        sn.ingest(source, tmp_path / "at once", duplicates="first")
    assert contents(store) == contents(tmp_path / "at once")


@pytest.mark.parametrize("workers", [1, 4])
def test_a_killed_worker_changes_nothing(
    workers: int, cluster: Any, scores: pl.DataFrame, tmp_path: Path
) -> None:
    def spread(values: Any) -> float:
        # The first replicate of all; it says that it was killed by doing it once.
        if len(values) < 40 and os.getpid() != driver and once(tmp_path / "killed"):
            os.kill(os.getpid(), signal.SIGKILL)
        return float(values.max() - values.mean())

    driver = os.getpid()
    few = scores.filter((pl.col("instance_id").rank("dense") <= 30) & (pl.col("params") == SMALL))
    expected = sn.bootstrap(few, statistic=spread, n_resamples=5)
    found = sn.bootstrap(few, statistic=spread, n_resamples=5, engine=Ray(workers=workers))
    assert (tmp_path / "killed").exists()
    assert_same_bits(found, expected, "killed")


def test_a_node_that_goes_takes_no_state_with_it(cluster: Any, tmp_path: Path) -> None:
    node = started(lambda: cluster.add_node(num_cpus=1))
    number = node.node_id

    def work(piece: Piece) -> int:
        if piece.at == 2 and once(tmp_path / "there"):
            assert ray.get_runtime_context().get_node_id() == number
            time.sleep(600)
        return piece.at

    def remove() -> None:
        while not (tmp_path / "there").exists():
            time.sleep(0.02)
        cluster.remove_node(node, allow_graceful=False)

    thread = threading.Thread(target=remove, daemon=True)
    thread.start()
    engine = Ray(workers=2, nodes={"/mnt/a": number}, straggler=None)
    paths = ["/mnt/b", None, "/mnt/a/x.parquet", "/mnt/ab"]
    assert list(engine.map(work, [Piece(at, path) for at, path in enumerate(paths)])) == [0, 1, 2, 3]
    thread.join()


def test_a_straggler_is_begun_again(cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_dispatch, "LATE", 0.3)

    def work(at: int) -> int:
        if at == 5 and once(tmp_path / "slow"):
            time.sleep(600)
        return at * at

    assert list(Ray(workers=2).map(work, range(8))) == [at * at for at in range(8)]


def test_a_partition_that_kills_its_workers_is_named(cluster: Any) -> None:
    def work(piece: Piece) -> None:
        if piece.at == 1:
            os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(
        sn.EngineError,
        match=r"file b\.parquet \(partition 2 of 3\).* workers died over it 2 times, .*Crashed",
    ):
        list(Ray(retries=1).map(work, [Piece(at, f"{name}.parquet") for at, name in enumerate("abc")]))


def test_errors_are_those_of_the_local_engine(cluster: Any, scores: pl.DataFrame) -> None:
    with pytest.raises(sn.OptionError, match="must return one number") as raised:
        sn.bootstrap(scores, statistic=lambda x: x, n_resamples=2, engine="ray")  # type: ignore[arg-type,return-value]
    assert type(raised.value) is sn.OptionError
    assert "_bootstrap_replicates.py" in str(raised.value.__cause__)

    class Odd(Exception):
        def __init__(self, one: int, other: int) -> None:
            super().__init__(one + other)

    def odd(at: int) -> None:
        raise Odd(at, at)

    with pytest.raises(sn.EngineError, match="a worker raised Odd: 0"):
        list(Ray().map(odd, [0]))


def test_workers_have_the_threads_they_are_given(cluster: Any) -> None:
    def threads(at: int) -> int:
        return pl.thread_pool_size()

    assert list(Ray(threads=1).map(threads, range(4))) == [1] * 4


def test_warnings_of_workers_are_told_once(cluster: Any) -> None:
    def work(at: int) -> int:
        warnings.warn("left out", sn.DroppedRowsWarning, stacklevel=1)
        return at

    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        assert list(Ray().map(work, range(3))) == [0, 1, 2]
    assert [str(one.message) for one in heard] == ["left out"]


def test_more_than_any_node_has_is_an_error(cluster: Any) -> None:
    with pytest.raises(sn.EngineError, match="no node of the Ray cluster has 64 CPUs and 1000 bytes"):
        list(Ray(threads=64, memory=1000).map(abs, [1]))
    with pytest.raises(sn.EngineError, match=r"has the address '10\.9\.8\.7'"):
        list(Ray(nodes={"/mnt": "10.9.8.7"}).map(abs, [1]))


def test_a_cluster_of_our_own_is_stopped_again() -> None:
    code = (
        "import signoise as sn, ray\n"
        "from signoise.engines import Ray\n"
        "scores, _ = sn.simulate(tasks=2, recipes=2, params=(1e9,), checkpoints=1, instances=40)\n"
        "with Ray(workers=1) as engine:\n"
        "    assert ray.is_initialized()\n"
        "    found = sn.bootstrap(scores, n_resamples=50, engine=engine)\n"
        "assert not ray.is_initialized()\n"
        "assert found.equals(sn.bootstrap(scores, n_resamples=50))\n"
        "print('equal')\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True, env=environment
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "equal\n", "")


def test_no_cluster_at_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: False)

    def refused(**_: Any) -> None:
        raise ConnectionError("refused\nand much more")

    monkeypatch.setattr(ray, "init", refused)
    for address, why in (("auto", "refused"), ("127.0.0.1:1", "Connection refused"), ("ray://[::1]:1", ".*")):
        with pytest.raises(
            sn.EngineError, match=rf"no Ray cluster can be reached at '.*{address[-4:]}': {why}$"
        ):
            list(Ray(address).map(abs, [1]))


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, scores: pl.DataFrame) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(sn.SignoiseError, match=r"pip install 'signoise\[ray\]'"):
        sn.bootstrap(scores, engine="ray")


def test_engines_by_name(scores: pl.DataFrame) -> None:
    with pytest.raises(
        sn.OptionError, match="engine must be one of 'local', 'ray', got 'rey'; did you mean 'ray'"
    ):
        sn.bootstrap(scores, engine="rey")
    with pytest.raises(sn.OptionError, match="got 3"):
        sn.bootstrap(scores, engine=3)  # type: ignore[arg-type]
    with pytest.raises(sn.OptionError, match="instances=True"):
        sn.snr(scores, engine="ray")
    with pytest.raises(sn.OptionError, match='test="permutation"'):
        sn.compare(scores, engine="ray")
    with pytest.raises(sn.OptionError, match="run in this process, got engine='ray'"):
        sn.reference.bootstrap(scores, engine="ray")
    local: Engine = Local()
    assert_same_bits(sn.bootstrap(scores, engine=local, **FEW), sn.bootstrap(scores, **FEW), "local")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workers": 0}, "workers must be a whole number of at least 1"),
        ({"memory": 0.5}, "memory must be a whole number"),
        ({"retries": -1}, "retries must be a whole number of at least 0"),
        ({"straggler": 1.0}, "straggler must be a number above 1"),
    ],
)
def test_options_are_checked(options: dict[str, Any], message: str) -> None:
    with pytest.raises(sn.OptionError, match=message):
        Ray(**options)
