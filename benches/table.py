"""Every benchmark, one after the other, and all figures on one page with the machine, the date and the versions.

    python benches/table.py --size full      # those of README: 20M rows, hours, on a machine that does nothing else
    python benches/table.py                  # small data, some minutes: that everything runs and all answers are equal

Writes DIR/figures.json (each table as rows, with its command, its seconds and the load) and DIR/figures.md (the same
as a page); DIR is `--out`, target/benches by default. Data of `make_dump.py` are made in `--data` where they are not
there yet. Nothing of README or docs is overwritten: figures are copied there from a quiet machine, by hand. Exit code 1
if a benchmark failed, which the page says as well.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from datetime import datetime, timezone
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from measure import markdown

HERE = Path(__file__).resolve().parent
PACKAGES = ("signoise", "numpy", "polars", "pandas", "scipy", "duckdb", "pyarrow", "orjson", "numba", "girth")

#: Layout and rows of README's dumps, by the name of their folder: models and steps.
DUMPS = {
    "sorted-20M": ("sorted", 50, 10),
    "tiny-20M": ("tiny", 50, 10),
    "shuffled-20M": ("shuffled", 50, 10),
    "jsonl-2M": ("jsonl", 25, 2),
    "csv-2M": ("csv", 25, 2),
}
SMALL_DUMP = ("--models", "2", "--steps", "2", "--tasks", "2", "--subtasks", "2", "--instances", "20")
#: Script, the dump that it reads, and what makes it small.
BENCHES: tuple[tuple[str, str | None, tuple[str, ...]], ...] = (
    ("bench_paper_table", None, ()),
    ("bench_report", None, ("--repeats", "1")),
    ("bench_scan", "sorted-20M", ("--repeats", "1")),
    ("bench_scan", "tiny-20M", ("--repeats", "1")),
    ("bench_scan", "shuffled-20M", ("--repeats", "1")),
    ("bench_json", "jsonl-2M", ("--repeats", "1", "--every", "2")),
    ("bench_json", "csv-2M", ("--repeats", "1")),
    ("bench_store", "sorted-20M", ("--repeats", "1")),
    ("bench_resampling", None, ("--repeats", "1")),
    ("bench_decisions", None, ("--repeats", "1", "--instances", "50")),
    ("bench_subtasks", None, ("--repeats", "1", "--instances", "570")),
    ("bench_chinchilla", None, ("--repeats", "1", "--share", "500", "--refits", "500")),
    ("bench_laws", None, ("--repeats", "1")),
    ("bench_item_response", None, ("--repeats", "1", "--peer-runs", "40", "--peer-items", "10")),
    ("bench_pass_at_k", None, ("--repeats", "1", "--items", "3000", "--loop", "40")),
    ("bench_kernels", None, ("--repeats", "1", "--sizes", "10")),
)


def made(folder: Path, name: str, *, small: bool) -> Path:
    """The dump of that name, made where it is not there."""
    layout, models, steps = DUMPS[name]
    path = folder / (f"{layout}-small" if small else name)
    if not path.exists():
        sizes = SMALL_DUMP if small else ("--models", str(models), "--steps", str(steps))
        command = [sys.executable, HERE / "make_dump.py", path, "--layout", layout, *sizes]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return path


def tables_of(printed: str) -> list[list[dict[str, str]]]:
    """The Markdown tables among printed lines, as rows."""
    tables: list[list[dict[str, str]]] = []
    names: list[str] | None = None
    for line in printed.splitlines():
        if not line.startswith("| "):
            names = None
            continue
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if names is None:
            names = cells
            tables.append([])
        elif not all(set(cell) <= set("-:") for cell in cells):
            tables[-1].append(dict(zip(names, cells, strict=False)))
    return tables


def run(script: str, arguments: list[str]) -> dict[str, Any]:
    """One benchmark: what it printed besides tables, its tables, its seconds, and what went wrong."""
    print(f"{script} {' '.join(arguments)}", flush=True)
    load, start = os.getloadavg()[0], time.monotonic()
    command = [sys.executable, str(HERE / f"{script}.py"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = [line for line in done.stdout.splitlines() if line and not line.startswith("| ")]
    return {
        "script": script,
        "arguments": [Path(part).name if os.sep in part else part for part in arguments],
        "seconds": round(time.monotonic() - start, 1),
        "load_at_start": round(load, 1),
        "said": lines,
        "tables": tables_of(done.stdout),
        "failed": (done.stderr.strip().splitlines() or ["no message"])[-1] if done.returncode else None,
    }


def machine() -> dict[str, Any]:
    """What a time means nothing without."""
    found = {found.metadata["Name"]: found.version for found in distributions()}
    model = platform.processor() or platform.machine()
    if (cpuinfo := Path("/proc/cpuinfo")).exists():
        named = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        model = named[0].split(":", 1)[1].strip() if named else model
    return {
        "date": datetime.now(timezone.utc).date().isoformat(),
        "system": f"{platform.system()} {platform.machine()}, {model}, {os.cpu_count()} cores",
        "python": platform.python_version(),
        "packages": {name: found[name] for name in PACKAGES if name in found},
    }


def page(figures: dict[str, Any]) -> str:
    """All of it as Markdown."""
    about = figures["machine"]
    packages = ", ".join(f"{name} {number}" for name, number in about["packages"].items())
    parts = [
        "# Figures",
        f"{about['date']}; {about['system']}; Python {about['python']}; {packages}; {figures['size']} data.",
    ]
    for bench in figures["benches"]:
        parts.append(f"## `python benches/{bench['script']}.py {' '.join(bench['arguments'])}`")
        if bench["failed"]:
            parts.append(f"Failed: {bench['failed']}")
        parts += bench["said"]
        parts += [markdown(table) for table in bench["tables"] if table]
    return "\n\n".join(parts) + "\n"


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--size", choices=["small", "full"], default="small")
    parser.add_argument("--data", type=Path, default=Path("target/benches/data"), help="folder of the dumps")
    parser.add_argument("--out", type=Path, default=Path("target/benches"))
    parser.add_argument("--only", help="names of scripts, with commas")
    options = parser.parse_args(argv)
    small = options.size == "small"
    wanted = None if options.only is None else set(options.only.split(","))
    if wanted and (unknown := wanted - {script for script, _, _ in BENCHES}):
        raise SystemExit(f"no benchmarks {', '.join(sorted(unknown))}")
    options.out.mkdir(parents=True, exist_ok=True)
    figures: dict[str, Any] = {"machine": machine(), "size": options.size, "benches": []}
    for script, dump, reduced in BENCHES:
        if wanted is not None and script not in wanted:
            continue
        data = [] if dump is None else [str(made(options.data, dump, small=small))]
        figures["benches"].append(run(script, [*data, *(reduced if small else ())]))
        # After each, so that an end in the middle loses one.
        (options.out / "figures.json").write_text(json.dumps(figures, indent=1), encoding="utf-8")
        (options.out / "figures.md").write_text(page(figures), encoding="utf-8")
    failed = [bench["script"] for bench in figures["benches"] if bench["failed"]]
    print(f"{options.out / 'figures.md'}" + (f"; failed: {', '.join(failed)}" if failed else ""))
    raise SystemExit(bool(failed))


if __name__ == "__main__":
    main()
