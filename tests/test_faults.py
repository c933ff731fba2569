"""What happens when the system fails: full disks, no permission, files that vanish or change, signals, forks, threads.

docs/faults.md says the outcome of each; test_docs_site.py holds that its rows name tests that exist.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import polars as pl
import pytest

import signoise as sn

pytestmark = pytest.mark.skipif(os.name == "nt", reason="limits, users and signals of POSIX systems")

ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p), "NO_COLOR": "1"}

#: Runs commands, one a line of the standard input, with a limit on the size of files or as a user without rights.
PROGRAM = """
import os, resource, signal, sys
from importlib import import_module
import signoise as sn
from signoise import _cli
import signoise._store._writer, rich.console
for module in set(_cli.COMMANDS.values()):
    import_module("signoise._cli." + module)
sn.snr(sn.example_scores())
sn.aggregate("instances.parquet")
if sys.argv[1] == "nobody":
    if os.getuid() == 0:
        os.setgid(65534); os.setuid(65534)
else:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
sys.stderr = sys.stdout
for line in sys.stdin:
    try:
        _cli.main(line.split(), prog_name="signoise")
    except SystemExit as exit:
        print("exit", exit.code, flush=True)
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """Not of pytest's own, which other users cannot enter."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name)
        path.chmod(0o755)
        sn.example_scores().write_parquet(path / "scores.parquet")
        instances().write_parquet(path / "instances.parquet")
        yield path


def instances() -> pl.DataFrame:
    frame, _ = sn.simulate(tasks=2, recipes=2, params=(1e8, 1e9), checkpoints=3, instances=400)
    return frame


def told(folder: Path, limit: str, *commands: str) -> list[str]:
    """What each command printed, the exit code last."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, limit],
        input="\n".join(commands),
        cwd=folder,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert "Traceback" not in done.stdout
    said = done.stdout.split("exit ")
    codes = [part.split("\n")[0] for part in said[1:]]
    texts = [said[0], *(part.partition("\n")[2] for part in said[1:])]
    return [f"{text.strip()} [{code}]" for text, code in zip(texts, codes, strict=False)]


# --- disks and rights ------------------------------------------------------------------------------------


def test_a_full_disk_leaves_no_half_file(folder: Path) -> None:
    """The limit on the size of files stands for the disk: both fail in the middle of a write."""
    before = sorted(path.name for path in folder.iterdir())
    commands = [f"roll-up scores.parquet --to suite -o out.{end}" for end in ("csv", "json", "parquet", "md")]
    for said, end in zip(told(folder, "100", *commands), ("csv", "json", "parquet", "md"), strict=True):
        assert f"error: out.{end}: File too large" in said
        assert said.endswith("[1]")
    assert sorted(path.name for path in folder.iterdir()) == before


@pytest.mark.parametrize("limit", ["1000", "4096", "8192"])
def test_an_ingest_on_a_full_disk_goes_on_later(folder: Path, limit: str) -> None:
    first = instances().filter(task="task-00")
    sn.ingest(first, folder / "store")
    (said,) = told(folder, limit, "ingest instances.parquet store")
    assert "File too large" in said
    assert said.endswith("[1]")
    # What was there is there, and nothing else.
    store = sn.open_store(folder / "store")
    store.verify()
    assert store.scan().collect().height == first.height
    assert not list((folder / "store").rglob("*.tmp"))
    sn.ingest(folder / "instances.parquet", folder / "store")
    assert sn.open_store(folder / "store").scan().collect().height == instances().height


def test_no_permission(folder: Path) -> None:
    (folder / "kept").mkdir()
    (folder / "secret.parquet").write_bytes((folder / "scores.parquet").read_bytes())
    for path, mode in (("secret.parquet", 0o000), ("kept", 0o555)):
        (folder / path).chmod(mode)
    try:
        one, many, table, store = told(
            folder,
            "nobody",
            "snr secret.parquet",
            "scan secret.parquet scores.parquet",
            "snr scores.parquet -o kept/snr.csv",
            "ingest instances.parquet kept/store",
        )
    finally:
        (folder / "kept").chmod(0o755)
        (folder / "secret.parquet").chmod(0o644)
    assert "skipped secret.parquet: cannot be opened: Permission denied" in one
    assert one.endswith("[1]")
    # What can be read is, and the rest is named.
    assert "skipped 1 file: cannot be opened: Permission denied (secret.parquet)" in many
    assert many.endswith("[0]")
    assert "error: kept/snr.csv: Permission denied" in table
    assert "error: kept/store: Permission denied" in store
    assert not list((folder / "kept").iterdir())


# --- files that vanish or change -------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["q.parquet", "q.csv"])
def test_a_file_removed_after_it_was_opened(folder: Path, name: str) -> None:
    path = folder / name
    frame = sn.example_scores()
    (frame.write_parquet if name.endswith("parquet") else frame.write_csv)(path)
    scores = sn.scan_scores(path)
    expected = sn.snr(scores)
    path.unlink()
    if name.endswith("csv"):  # read when it was opened
        assert sn.snr(scores).equals(expected)
    else:
        with pytest.raises(FileNotFoundError, match=name):
            sn.snr(scores)


def test_a_file_replaced_after_it_was_opened(folder: Path) -> None:
    path = folder / "q.parquet"
    instances().write_parquet(path)
    scores = sn.scan_scores(path)
    sn.example_scores().write_parquet(path)
    with pytest.raises(sn.SignoiseError, match="changed since then, or are damaged"):
        sn.snr(scores)


def test_a_store_that_is_gone(folder: Path) -> None:
    sn.ingest(instances(), folder / "store")
    store = sn.open_store(folder / "store")
    for path in (folder / "store").rglob("part-*.arrow"):
        path.unlink()
    with pytest.raises(sn.StoreError, match=r"part-0000.arrow cannot be opened: No such file"):
        sn.aggregate(sn.open_store(folder / "store"))
    with pytest.raises(sn.StoreError, match=r"part-0000.arrow"):
        store.verify()


# --- signals ---------------------------------------------------------------------------------------------


def stopped(folder: Path, command: str, number: int, after: float) -> tuple[int, str]:
    """Exit code and messages of a command that gets a signal so many seconds after its start."""
    process = subprocess.Popen(
        [sys.executable, "-m", "signoise", *command.split()],
        cwd=folder,
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    time.sleep(after)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    return process.returncode, said


@pytest.mark.parametrize(
    "command", ["ingest many.parquet store", "bootstrap", "report many.parquet -o out.csv"]
)
def test_ctrl_c_at_any_moment(folder: Path, command: str) -> None:
    frame, _ = sn.simulate(tasks=10, recipes=8, params=(1e8, 1e9), checkpoints=5, instances=300)
    frame.write_parquet(folder / "many.parquet")
    if command == "bootstrap":
        command = "snr many.parquet --instances --n-resamples 20000 -o out.csv"
    for after in (0.25, 0.5, 0.8, 1.2):
        code, said = stopped(folder, command, signal.SIGINT, after)
        # While Python starts the interrupt is its own; afterwards it is one word.
        assert code in (0, 130, -signal.SIGINT), said
        if code == 130:
            assert said.rstrip().endswith("interrupted")
        if (folder / "store" / "manifest.json").exists():
            sn.open_store(folder / "store").verify()
        assert not list(folder.glob(".*.part"))
        if code != 0:
            assert not (folder / "out.csv").exists()
        (folder / "out.csv").unlink(missing_ok=True)


def test_kill_9_leaves_no_half_report(folder: Path) -> None:
    for after in (0.3, 0.6, 0.9):
        stopped(folder, "report scores.parquet -o out.parquet", signal.SIGKILL, after)
        if (folder / "out.parquet").exists():
            assert pl.read_parquet(folder / "out.parquet").height == 6


# --- processes and threads -------------------------------------------------------------------------------


def _snr(_: int) -> list[float]:
    return sn.snr(sn.example_scores())["snr"].to_list()


def _refused(_: int) -> str:
    try:
        _snr(0)
    except sn.ForkError as error:
        return str(error)
    return "no error"


@pytest.mark.parametrize("how", ["spawn", "forkserver"])
def test_processes_started_afresh(how: str) -> None:
    with multiprocessing.get_context(how).Pool(1) as pool:
        assert pool.map_async(_snr, [0]).get(60) == [_snr(0)]


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning", "ignore:.*fork.*:RuntimeWarning")
def test_a_fork_is_refused_and_does_not_hang() -> None:
    _snr(0)
    with multiprocessing.get_context("fork").Pool(1) as pool:
        (said,) = pool.map_async(_refused, [0]).get(60)
    assert 'multiprocessing.get_context("spawn")' in said


def test_sixteen_threads_at_once(folder: Path) -> None:
    scores, path = sn.example_scores(), folder / "instances.parquet"
    sn.ingest(path, folder / "store")
    store = sn.open_store(folder / "store")
    sides = {"small": "params = 150000000", "target": "params = 1000000000"}
    jobs: list[Callable[[], pl.DataFrame]] = [
        lambda: sn.snr(scores),
        lambda: sn.decision_accuracy(scores, **sides),
        lambda: sn.smoothness(scores),
        lambda: sn.aggregate(path),
        lambda: sn.aggregate(store),
        lambda: sn.bootstrap(store, n_resamples=100),
        lambda: sn.reference.snr(scores),
    ]
    expected = [job() for job in jobs]
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda at: jobs[at % len(jobs)](), range(3 * len(jobs))))
    assert all(table.equals(expected[at % len(jobs)]) for at, table in enumerate(found))


@pytest.mark.parametrize("threads", [1, 2, 8])
def test_numbers_of_threads(threads: int) -> None:
    frame = instances()
    assert sn.bootstrap(frame, n_resamples=200, threads=threads).equals(sn.bootstrap(frame, n_resamples=200))


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cores are chosen as on Linux")
@pytest.mark.parametrize("threads", ["1", "8"])
def test_one_core(folder: Path, threads: str) -> None:
    """A process that may use one core alone, with as many threads or with more."""
    program = (
        "import os, sys; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))]); import signoise as sn; "
    )
    program += "sn.bootstrap('instances.parquet', n_resamples=50).write_parquet('out.parquet')"
    subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder,
        env={**ENVIRONMENT, "RAYON_NUM_THREADS": threads, "POLARS_MAX_THREADS": threads},
        capture_output=True,
        check=True,
        timeout=120,
    )
    here = sn.bootstrap(folder / "instances.parquet", n_resamples=50)
    assert pl.read_parquet(folder / "out.parquet").equals(here)


def test_clocks_that_are_wrong(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files from the future or before all time, and a clock that goes backwards: content alone counts."""
    path = folder / "instances.parquet"
    expected = sn.aggregate(path)
    ticks = iter(range(2_000_000_000, 0, -1_000_000))
    monkeypatch.setattr(time, "time", lambda: float(next(ticks)))
    for stamp in (4_000_000_000, 0):
        os.utime(path, (stamp, stamp))
        assert sn.aggregate(path).equals(expected)
        sn.ingest(path, folder / "store")
    store = sn.open_store(folder / "store")
    store.verify()
    assert store.scan().collect().height == instances().height
    assert sn.aggregate(store).equals(expected)


@pytest.mark.parametrize(
    "environment",
    [{"LC_ALL": "de_DE.UTF-8", "LANG": "de_DE.UTF-8"}, {"LC_ALL": "C"}, {"TZ": "Pacific/Kiritimati"}],
)
def test_locale_and_time_zone(folder: Path, environment: dict[str, str]) -> None:
    """Of names in any script."""
    names = {"sim_arc": "тест", "sim_copa": "試験"}
    sn.example_scores().with_columns(pl.col("task").replace(names)).write_parquet(folder / "scores.parquet")
    here = sn.report(folder / "scores.parquet")
    subprocess.run(
        [sys.executable, "-m", "signoise", "report", "scores.parquet", "-o", "out.parquet"],
        cwd=folder,
        env={**ENVIRONMENT, **environment},
        capture_output=True,
        check=True,
    )
    assert pl.read_parquet(folder / "out.parquet").equals(here)
