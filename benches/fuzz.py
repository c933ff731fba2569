"""Damaged dumps and stores, made at random: nothing may panic, abort, hang, grow without bound or raise a raw error.

    python benches/fuzz.py --minutes 60                       # every target, that long in all
    python benches/fuzz.py --targets inspect_ai,store --minutes 5
    python benches/fuzz.py --targets lm_eval --case 1234      # one case again, by its number

Seeds are the dumps of ``$SIGNOISE_SHARED/data/dumps`` (with a store and tables made from them). A case is a number: it
says which files of a copy are damaged and how. Whatever the public reader does with it must end in time, within the
memory, as a table or as an error of signoise. Each target runs in a process of its own, so that one that dies is a
finding and not the end. Findings of one kind are told once, and the first case of each is kept under ``--keep``. Exit
code 1 where there are any.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import random
import re
import resource
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import polars as pl

import signoise as sn
from signoise._store._manifest import dumped

#: Seconds that a case may take, and bytes of memory that a process may ask for.
PATIENCE, MEMORY = 30.0, 8 << 30
#: Largest seed: folders are cut down to their smallest files.
LARGEST = 300_000

TOKENS = [
    *(
        b"NaN",
        b"Infinity",
        b"-Infinity",
        b"1e999",
        b"-0",
        b"null",
        b"true",
        b"{}",
        b"[]",
        b'""',
        b"{",
        b"]",
        b'"',
    ),
    *(
        b"9" * 400,
        b"[" * 5000,
        b'{"a":' * 5000,
        b"\x00",
        b"\xff\xfe",
        b"\xef\xbb\xbf",
        b"\xed\xa0\x80",
        b"\\u0000",
    ),
    *(
        b"\\ud800",
        b",",
        b"\r",
        b"\n\n",
        b"\r\n",
        b"=cmd|' /C calc'!A0",
        b"../../../../tmp/out",
        b"<script>",
        b"PK\x05\x06",
    ),
    *((1 << bits).to_bytes(8, "little") for bits in (7, 15, 31, 32, 63)),
    *((2**bits - 1).to_bytes(bits // 8, "little") for bits in (8, 16, 32, 64)),
]


def damaged(content: bytes, rng: random.Random) -> bytes:
    """A file with a few things wrong in it."""
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
        at = rng.randrange(len(data) + 1)
        if rng.random() < 0.3:  # where formats keep their sizes and tables of contents
            at = max(0, len(data) - rng.randrange(1, 400))
        kind = rng.randrange(8)
        span = rng.choice((1, 1, 2, 4, 8, 64, 1000))
        if kind == 0 and at < len(data):
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del data[at:]
        elif kind == 2:
            del data[at : at + span]
        elif kind == 3:
            data[at:at] = data[at : at + span] * rng.choice((1, 2, 50))
        elif kind == 4:
            data[at:at] = rng.choice(TOKENS)
        elif kind == 5:
            token = rng.choice(TOKENS)
            data[at : at + len(token)] = token
        elif kind == 6:
            data[at : at + span] = rng.randbytes(span)
        else:
            source = rng.randrange(len(data) + 1)
            data[at : at + span] = data[source : source + span]
        if len(data) > 4 * LARGEST:
            del data[4 * LARGEST :]
    return bytes(data)


#: What an entry of a manifest is replaced by.
VALUES = [
    None,
    True,
    0,
    1,
    -1,
    1.5,
    2**31,
    2**40,
    2**70,
    "",
    "x",
    "/etc/passwd",
    "../../x",
    "units/../x",
    [],
    [0, 8],
    {},
]


def forged(content: bytes, rng: random.Random) -> bytes:
    """A manifest with a few other values and a checksum that fits: what somebody may write, and no disk."""
    manifest = json.loads(content)
    del manifest["crc32"]
    for _ in range(rng.choice((1, 1, 2, 3))):
        entry = manifest
        while True:
            place = rng.choice(list(entry) if isinstance(entry, dict) else range(len(entry)))
            if not isinstance(entry[place], (dict, list)) or not entry[place] or rng.random() < 0.1:
                break
            entry = entry[place]
        old = entry[place]
        near = [old + 1, old - 1, old * 2, old // 2] if type(old) is int else []
        entry[place] = rng.choice(near or VALUES) if rng.random() < 0.5 else rng.choice(VALUES)
    return dumped(manifest)


def read_all(folder: Path) -> None:
    """What a user does with a folder."""
    for verb in (sn.aggregate, sn.smoothness):
        with contextlib.suppress(sn.SignoiseError):
            verb(folder)


def read_store(folder: Path) -> None:
    """What a user does with a store."""
    store = sn.open_store(folder / "store")
    # The rest must hold without it.
    with contextlib.suppress(sn.StoreError):
        store.verify()
    for verb in (sn.aggregate, sn.smoothness, sn.item_statistics):
        with contextlib.suppress(sn.SignoiseError):
            verb(store)


def grow_store(folder: Path) -> None:
    """The same, and another ingest."""
    with contextlib.suppress(sn.StoreError):
        read_store(folder)
    before = {path for path in folder.rglob("*") if path.is_file()}
    scores, _ = sn.simulate(tasks=2, recipes=1, params=(1e8,), checkpoints=3, instances=45)
    with contextlib.suppress(sn.SignoiseError):
        sn.ingest(scores, folder / "store", duplicates="last")
    # What it writes is looked for elsewhere.
    for path in {path for path in (folder / "store").rglob("*") if path.is_file()} - before:
        path.unlink()


@dataclass(frozen=True)
class Target:
    """A folder to damage, and what is done with it."""

    name: str
    folder: Path
    run: Callable[[Path], None]
    damage: Callable[[bytes, random.Random], bytes] = damaged
    files: str = "*"

    def prepare(self, case: int, place: Path) -> Path:
        """A damaged copy."""
        rng = random.Random(f"{self.name}:{case}")
        copy = place / "run-1B"
        shutil.copytree(self.folder, copy)
        files = sorted(path for path in copy.rglob(self.files) if path.is_file())
        for path in rng.sample(files, min(len(files), rng.choice((1, 1, 2, 3)))):
            path.chmod(0o644)
            path.write_bytes(self.damage(path.read_bytes(), rng))
        return copy


def small_copy(source: Path, target: Path) -> None:
    """The files of a folder that are small enough to be read hundreds of times a minute."""
    for path in sorted(source.rglob("*")):
        if path.is_file() and path.stat().st_size <= LARGEST and path.suffix != ".txt":
            place = target / path.relative_to(source)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, place)


def targets(place: Path) -> list[Target]:
    """Every format's dumps, tables of every kind, and a store."""
    dumps = Path(os.environ.get("SIGNOISE_SHARED", "../shared")) / "data" / "dumps"
    found = []
    for folder in sorted(path for path in dumps.iterdir() if path.is_dir()) if dumps.is_dir() else []:
        small_copy(folder, place / folder.name)
        found.append(Target(folder.name, place / folder.name, read_all))
    scores, _ = sn.simulate(tasks=2, recipes=2, params=(1e8,), checkpoints=2, instances=40)
    for extension, write in (
        ("parquet", lambda path: scores.write_parquet(path, row_group_size=50)),
        ("arrow", scores.write_ipc),
        ("csv", scores.write_csv),
        ("ndjson", scores.write_ndjson),
    ):
        folder = place / f"table_{extension}"
        folder.mkdir()
        write(folder / f"scores.{extension}")
        found.append(Target(folder.name, folder, read_all))
    (place / "stored").mkdir()
    sn.ingest(scores, place / "stored" / "store")
    found.append(Target("store", place / "stored", read_store))
    found.append(Target("store_manifest", place / "stored", grow_store, forged, "manifest.json"))
    return found


def work(target: Target, first: int, until: float, pipe: Connection) -> None:
    """Cases one after the other; tells each number before it begins and what was wrong after it."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    sys.stderr = open(os.devnull, "w")  # noqa: SIM115 (to the end of the process)
    os.dup2(sys.stderr.fileno(), 2)
    warnings.simplefilter("ignore")
    case = first
    while time.time() < until:
        pipe.send((case, None))
        problem = run_case(target, case)
        if problem:
            pipe.send((case, problem))
        case += 1
    pipe.send((case, "end"))


def run_case(target: Target, case: int) -> str | None:
    """What was wrong with a case; None where all is well."""
    with tempfile.TemporaryDirectory() as name:
        folder = target.prepare(case, Path(name))
        before = {path for path in Path(name).rglob("*") if path.is_file()}
        try:
            target.run(folder)
        except sn.SignoiseError:
            pass
        except BaseException as error:  # a panic is no Exception
            return f"{type(error).__module__}.{type(error).__name__}: {str(error)[:300]}"
        new = {path for path in Path(name).rglob("*") if path.is_file()} - before
        return f"wrote {sorted(map(str, new))}" if new else None


def fuzz(target: Target, first: int, seconds: float) -> tuple[int, dict[int, str]]:
    """Cases done and findings of a target."""
    context = multiprocessing.get_context("spawn")
    until = time.time() + seconds
    findings: dict[int, str] = {}
    case, done = first, 0
    while time.time() < until:
        mine, theirs = context.Pipe()
        process = context.Process(target=work, args=(target, case, until, theirs))
        process.start()
        theirs.close()
        ended = False
        while not ended:
            if not mine.poll(PATIENCE):
                findings[case] = f"no end after {PATIENCE:.0f} s"
                process.kill()
                break
            try:
                number, problem = mine.recv()
            except EOFError:
                process.join()
                findings[case] = f"the process died: exit code {process.exitcode}"
                break
            if problem == "end":
                ended = True
            elif problem:
                findings[number] = problem
            else:
                done += 1
                case = number
        process.join()
        case += 1
        if ended:
            break
    return done, findings


def one_of_each(findings: dict[int, str]) -> dict[int, str]:
    """The first finding of each kind: messages but for their numbers and texts."""
    kinds: dict[str, int] = {}
    for case, problem in findings.items():
        kinds.setdefault(re.sub(r"[\d'\"].*", "", problem), case)
    return {case: " ".join(findings[case].split()) for case in kinds.values()}


def main(arguments: list[str] | None = None) -> int:
    """Fuzz targets, or run one case again."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=10.0, help="of all targets together")
    parser.add_argument("--targets", help="names, with commas; all by default")
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--case", type=int, help="run this case alone, and show what it raises")
    parser.add_argument("--keep", type=Path, default=Path("target/fuzz"), help="folder for findings")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as name:
        every = targets(Path(name))
        wanted = options.targets.split(",") if options.targets else [target.name for target in every]
        chosen = [target for target in every if target.name in wanted]
        if options.case is not None:
            for target in chosen:
                target.run(target.prepare(options.case, Path(name) / "case"))
            return 0
        print(
            f"polars {pl.__version__}\n\n| target | cases | seconds | findings |\n| --- | --- | --- | --- |"
        )
        any_found = False
        for target in chosen:
            started = time.time()
            done, findings = fuzz(target, options.first, options.minutes * 60 / len(chosen))
            print(f"| {target.name} | {done:,} | {time.time() - started:.0f} | {len(findings)} |", flush=True)
            for case, problem in one_of_each(findings).items():
                any_found = True
                print(f"  case {case}: {problem}", flush=True)
                place = options.keep / f"{target.name}-{case}"
                shutil.rmtree(place, ignore_errors=True)
                place.mkdir(parents=True)
                target.prepare(case, place)
        return int(any_found)


if __name__ == "__main__":
    raise SystemExit(main())
