"""Partitions on a Ray cluster: one that runs already, or one on this machine for as long as it is needed."""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import re
import socket
import time
import uuid
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any

from .._errors import EngineError, OptionError, SignoiseError
from .._options import check_count
from . import _worker
from ._dispatch import Lost, Policy, dispatch
from ._engine import Partition, Progress, State, sizes_of

#: Partitions that work is cut into where the number of workers is not known yet.
SHARES = 64
#: For a cluster to say that it is there.
SECONDS_TO_ANSWER = 10.0
#: Messages of Ray's daemons that say once more what is handled, and said where it matters, here.
_NOISE = r"A worker died or was killed|A node with ID"


class Ray:
    """Work on a Ray cluster, to the same bits as in this process.

    Parameters
    ----------
    address
        ``"auto"``: the cluster of this machine; ``"host:6379"`` or ``"ray://host:10001"``: that one. None: the cluster
        that this process is connected to (``ray.init``) or that ``RAY_ADDRESS`` names; where there is neither, one on
        this machine is started, and stopped at the end of the call (or of the ``with`` block).
    workers
        Partitions that are worked on at once; default: as many as the cluster has room for.
    threads
        Threads, and CPUs of Ray, of each worker.
    memory
        Bytes that Ray sets aside for each partition: no more of them run on a node than its memory holds.
    retries
        Times that a partition is begun again after its worker, or its node, has died.
    straggler
        A partition that runs so many times longer than its peers, for its size, is begun once more where there is
        room, and the first answer is taken. None: never.
    nodes
        ``{"/mnt/a": "10.0.0.5"}``: files below a folder are worked on by the node with this address (or number in the
        cluster) if it has room, because they lie on its disks. All others are spread over the nodes.

    Raises
    ------
    EngineError
        If the cluster cannot be reached, or a partition outlived its retries; the message names partition and cause.
        Errors of the work itself are those of the local engine.

    Examples
    --------
    >>> from signoise.engines import Ray
    >>> Ray(workers=4, memory=2 * 2**30)
    Ray(address=None, workers=4, threads=1, memory=2147483648)
    """

    def __init__(
        self,
        address: str | None = None,
        *,
        workers: int | None = None,
        threads: int = 1,
        memory: int | None = None,
        retries: int = 3,
        straggler: float | None = 3.0,
        nodes: Mapping[str, str] | None = None,
    ) -> None:
        for name, value in (("workers", workers), ("memory", memory)):
            if value is not None:
                check_count(name, value)
        check_count("threads", threads)
        check_count("retries", retries, 0)
        if straggler is not None and not straggler > 1:
            raise OptionError(f"straggler must be a number above 1, or None, got {straggler!r}")
        self._address = address
        self._workers = workers
        self._threads = threads
        self._memory = memory
        self._policy = Policy(retries, straggler)
        self._nodes = dict(nodes or {})
        self._open = contextlib.ExitStack()

    def __repr__(self) -> str:
        return (
            f"Ray(address={self._address!r}, workers={self._workers}, threads={self._threads}, "
            f"memory={self._memory})"
        )

    def __enter__(self) -> Ray:
        self._open.enter_context(self._connected())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    @property
    def shares(self) -> int:
        """Partitions that work which can be cut anywhere is cut into: some a worker, so that all end together."""
        return SHARES if self._workers is None else 4 * self._workers

    def threads_of(self, threads: int | None) -> int | None:  # noqa: ARG002 (workers are not the caller's machine)
        """Those of a worker."""
        return self._threads

    def map(
        self,
        function: Callable[[Partition], State],
        partitions: Sequence[Partition],
        *,
        sizes: Sequence[float] | None = None,
        progress: Progress | None = None,
    ) -> Iterator[State]:
        """As every engine; the largest partitions are begun first, the first of several states is taken."""
        if not partitions:
            return
        with self._connected() as ray:
            runner = _Runner(
                ray,
                function,
                partitions,
                node_of=self._node_of(ray),
                slots=self._slots(ray),
                threads=self._threads,
                memory=self._memory,
            )
            yield from dispatch(runner, sizes_of(partitions, sizes), self._policy, progress)

    @contextlib.contextmanager
    def _connected(self) -> Iterator[Any]:
        ray = _ray()
        if ray.is_initialized():
            yield ray
            return
        address = self._address or os.environ.get("RAY_ADDRESS") or "local"
        _check_port(address)
        own: dict[str, Any] = {}
        if address == "local":
            own = {"include_dashboard": False}
            if self._workers is not None:
                own["num_cpus"] = self._workers * self._threads
        try:
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **own)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise EngineError(f"no Ray cluster can be reached at {address!r}: {_first_line(error)}") from None
        try:
            yield ray
        finally:
            ray.shutdown()

    def _slots(self, ray: Any) -> int:
        """Partitions that run at once."""
        if self._workers is not None:
            return self._workers
        room = [self._room(node["Resources"]) for node in ray.nodes() if node["Alive"]]
        if not sum(room):
            memory = "" if self._memory is None else f" and {self._memory} bytes of memory"
            raise EngineError(
                f"no node of the Ray cluster has {self._threads} CPUs{memory} for a worker; ask for less, or say how "
                "many workers there will be (workers=)"
            )
        return sum(room)

    def _room(self, resources: Mapping[str, float]) -> int:
        """Workers that a node has room for."""
        room = int(resources.get("CPU", 0) // self._threads)
        return room if self._memory is None else min(room, int(resources.get("memory", 0) // self._memory))

    def _node_of(self, ray: Any) -> Callable[[str], str | None]:
        """From a path to the node that has it, by its number in the cluster; None where any will do."""
        alive = [node for node in ray.nodes() if node["Alive"]]
        known = {node[name]: node["NodeID"] for name in ("NodeManagerAddress", "NodeID") for node in alive}
        strange = sorted(set(self._nodes.values()) - set(known))
        if strange:
            raise EngineError(
                f"nodes: no node of the Ray cluster has the address {strange[0]!r} (there are "
                f"{', '.join(sorted({node['NodeManagerAddress'] for node in alive}))})"
            )

        def node_of(path: str) -> str | None:
            folders = [folder for folder in self._nodes if _is_below(path, folder)]
            return known[self._nodes[max(folders, key=len)]] if folders else None

        return node_of


class _Runner:
    """The partitions of one call, as tasks of Ray."""

    def __init__(
        self,
        ray: Any,
        function: Callable[[Any], Any],
        partitions: Sequence[Any],
        *,
        node_of: Callable[[str], str | None],
        slots: int,
        threads: int,
        memory: int | None,
    ) -> None:
        self._ray = ray
        self._partitions = partitions
        self._node_of = node_of
        self.slots = slots
        self._driver = _worker.Driver(*_worker.versions(), os.getcwd(), threads)
        self._number = uuid.uuid4().hex
        # In a list Ray leaves it alone: only a worker that has another function fetches it.
        self._function = [ray.put(ray.cloudpickle.dumps(function))]
        self._task = ray.remote(_worker.task)
        self._options = {"num_cpus": threads, "memory": memory, "max_retries": 0, "name": "signoise"}
        self._told: dict[tuple[str, type[Warning]], None] = {}

    def start(self, at: int) -> Any:
        """Begin a partition."""
        partition = self._partitions[at]
        strategy: Any = "SPREAD"
        path = getattr(partition, "path", None)
        if path is not None and (node := self._node_of(str(path))) is not None:
            strategies = self._ray.util.scheduling_strategies
            strategy = strategies.NodeAffinitySchedulingStrategy(node, soft=True)
        content = self._ray.cloudpickle.dumps(partition)
        task = self._task.options(**self._options, scheduling_strategy=strategy)
        return task.remote(self._number, self._function, content, self._driver)

    def wait(self, handles: Sequence[Any], seconds: float | None) -> Sequence[Any]:
        """Those that have ended, as soon as one has."""
        done, _ = self._ray.wait(list(handles), num_returns=1, timeout=seconds)
        # Whatever else has ended in the meantime.
        more, _ = self._ray.wait(list(handles), num_returns=len(handles), timeout=0) if done else ([], None)
        return more or done

    def take(self, handle: Any) -> Any:
        """The state of a partition, or the error that its function raised."""
        exceptions = self._ray.exceptions
        try:
            ended = self._ray.get(handle)
        except exceptions.RayTaskError as error:  # before our code had begun
            raise EngineError(
                f"workers cannot run signoise: {_last_line(error)}; install the same version on every node"
            ) from None
        except exceptions.RayError as error:
            raise Lost(f"{type(error).__name__}: {_first_line(error)}") from None
        for text, category in ended.heard:
            if (text, category) not in self._told:
                self._told[text, category] = None
                warnings.warn(text, category, stacklevel=2)
        if ended.error is not None:
            raise pickle.loads(ended.error) from _worker.RemoteTraceback(ended.text)
        return pickle.loads(ended.state)

    def cancel(self, handle: Any) -> None:
        """Stop a task, and the worker that runs it."""
        with contextlib.suppress(self._ray.exceptions.RayError, ValueError):
            self._ray.cancel(handle, force=True)

    def clock(self) -> float:
        """Seconds."""
        return time.monotonic()

    def name(self, at: int) -> str:
        """What a partition is called."""
        return str(getattr(self._partitions[at], "name", "the work"))


def _ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", _NOISE)
    try:
        import ray
        import ray.cloudpickle
        import ray.exceptions
        import ray.util.scheduling_strategies
    except ImportError:
        raise SignoiseError(
            "engine=\"ray\" needs Ray, which is not installed; pip install 'signoise[ray]'"
        ) from None
    return ray


def _check_port(address: str) -> None:
    """Where nobody answers, Ray would try for a minute, and write all over the terminal."""
    found = re.fullmatch(r"(?:ray://)?\[?(.+?)\]?:(\d+)(?:\?.*)?", address)
    if found is None:
        return
    try:
        socket.create_connection((found[1], int(found[2])), timeout=SECONDS_TO_ANSWER).close()
    except OSError as error:
        raise EngineError(
            f"no Ray cluster can be reached at {address!r}: {error.strerror or error}"
        ) from None


def _is_below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [""])[0].rstrip(".")


def _last_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [""])[-1]
