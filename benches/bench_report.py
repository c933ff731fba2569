"""The whole process of `signoise report FILE` and `signoise snr FILE`: start, read, compute, print."""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

from measure import markdown, setting

SHARED = Path(os.environ.get("SIGNOISE_SHARED", Path(__file__).resolve().parents[2] / "shared"))
COMMANDS = ("report", "snr", "--version")


def run(command: str, file: Path) -> tuple[float, float, float]:
    """Wall seconds, CPU seconds and peak memory in MB of one process."""
    arguments = [command] if command.startswith("-") else [command, str(file)]
    program = [sys.executable, "-c", "from signoise._cli import main; main()", *arguments]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    done = subprocess.run(program, capture_output=True, text=True, check=False)
    wall = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(f"signoise {command} failed ({done.returncode}): {done.stderr.strip()[-500:]}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall, cpu, after.ru_maxrss / (1024 if sys.platform != "darwin" else 1024**2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", nargs="?", type=Path, default=SHARED / "data" / "pythia_evals.parquet")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    if not options.file.exists():
        raise SystemExit(f"no file {options.file}: name one, or set SIGNOISE_SHARED")
    print(setting(options.repeats))
    runs: dict[str, list[tuple[float, float, float]]] = {command: [] for command in COMMANDS}
    for command in COMMANDS:
        run(command, options.file)  # warms the page cache
    for _ in range(options.repeats):
        for command in COMMANDS:
            runs[command].append(run(command, options.file))
    peak = 0.0
    rows = []
    for command, found in runs.items():
        wall, cpu, _ = (median(column) for column in zip(*found, strict=True))
        peak = max(peak, *(memory for _, _, memory in found))
        what = command if command.startswith("-") else f"{command} {options.file.name}"
        rows.append({"process": f"signoise {what}", "wall s": f"{wall:.2f}", "CPU s": f"{cpu:.2f}"})
    print(markdown(rows))
    print(f"\npeak memory of the largest process: {peak:.0f} MB")


if __name__ == "__main__":
    main()
