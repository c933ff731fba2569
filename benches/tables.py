"""All benchmarks in one go: `make tables` measures on this machine and writes the figures and one page of tables.

    python benches/tables.py --to target/benchmarks                    # figures.json, tables.md
    python benches/tables.py --to target/benchmarks --only scan,json   # these again; other figures stay
    python benches/tables.py --to target/benchmarks --page             # the page alone, from figures.json

Figures are what each benchmark prints, which checks its answers first: its setting, its tables as rows, with date,
machine, versions and load. A benchmark that fails (a peer that is not installed, no shared data) is written down with
its last line, and the others go on. Dumps that are missing are made below ``--data``, by default beside the figures.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from measure import markdown

HERE = Path(__file__).resolve().parent
PACKAGES = ("signoise", "polars", "numpy", "scipy", "pandas", "duckdb", "orjson", "numba", "girth")
#: Benchmarks by their name, with the dump that they read.
BENCHES: dict[str, str | None] = {
    "paper_table": None,
    "report": None,
    "kernels": None,
    "scan": "sorted",
    "json": "jsonl",
    "store": "sorted",
    "resampling": None,
    "decisions": None,
    "laws": None,
    "chinchilla": None,
    "subtasks": None,
    "item_response": None,
    "pass_at_k": None,
    "threads": None,
}
#: Models and steps of the dumps, as in benches/README.md.
DUMPS = {"sorted": ("50", "10"), "jsonl": ("25", "2")}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--to", type=Path, default=Path("target/benchmarks"))
    parser.add_argument("--data", type=Path, help="folder of dumps (default: dumps/ below --to)")
    parser.add_argument("--only", default=",".join(BENCHES), help="names, with commas")
    parser.add_argument("--page", action="store_true", help="measure nothing")
    options = parser.parse_args(arguments)
    options.to.mkdir(parents=True, exist_ok=True)
    kept = options.to / "figures.json"
    figures: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else {}
    for name in [] if options.page else options.only.split(","):
        if name not in BENCHES:
            parser.error(f"no benchmark {name!r}; there are {', '.join(BENCHES)}")
        print(name, flush=True)
        figures[name] = measured(name, options.data or options.to / "dumps")
        kept.write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    (options.to / "tables.md").write_text(page(figures), encoding="utf-8")
    print(f"{options.to / 'tables.md'}: {len(figures)} benchmarks")


def measured(name: str, data: Path) -> dict[str, Any]:
    """What a benchmark printed, and where and when."""
    layout = BENCHES[name]
    command = [
        sys.executable,
        str(HERE / f"bench_{name}.py"),
        *([] if layout is None else [str(data / layout)]),
    ]
    if layout is not None and not (data / layout).exists():
        models, steps = DUMPS[layout]
        make = [sys.executable, str(HERE / "make_dump.py"), str(data / layout), "--layout", layout]
        subprocess.run([*make, "--models", models, "--steps", steps], check=True)
    facts = {"date": datetime.now(timezone.utc).isoformat(timespec="seconds"), "load": os.getloadavg()[0]}
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    told = {"command": " ".join(["python", f"benches/bench_{name}.py", *command[2:]]), "machine": machine()}
    said = done.stderr.strip().splitlines()
    failed = None if done.returncode == 0 else (said[-1] if said else f"exit code {done.returncode}")
    blocks = parsed(done.stdout)
    return {
        **facts,
        **told,
        "seconds": round(time.perf_counter() - start),
        "failed": failed,
        "blocks": blocks,
    }


def machine() -> dict[str, Any]:
    """What a time means nothing without."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    for line in cpuinfo.read_text().splitlines() if cpuinfo.exists() else []:
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
    there = {found.metadata["Name"]: found.version for found in importlib.metadata.distributions()}
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
        "versions": {"Python": platform.python_version()}
        | {name: there[name] for name in PACKAGES if name in there},
    }


def parsed(text: str) -> list[str | list[dict[str, str]]]:
    """Lines of prose, and tables as rows, in their order."""
    blocks: list[str | list[dict[str, str]]] = []
    table: list[list[str]] = []
    for line in [*text.splitlines(), ""]:
        if line.startswith("|"):
            table.append([cell.strip() for cell in line.strip().strip("|").split("|")])
            continue
        if table:
            head, _, *rows = table
            blocks.append([dict(zip(head, row, strict=True)) for row in rows])
            table = []
        if line.strip():
            blocks.append(line.strip())
    return blocks


def page(figures: dict[str, Any]) -> str:
    """One page of all tables."""
    parts = [
        "# Benchmarks, measured",
        "Made by `python benches/tables.py`; what each compares: `benches/README.md`.",
    ]
    for name, one in figures.items():
        where = one["machine"]
        versions = ", ".join(f"{package} {version}" for package, version in where["versions"].items())
        parts += [
            f"## {name}",
            f"`{one['command']}`, {one['date']}, {one['seconds']} s, load average {one['load']:.1f} before; "
            f"{where['processor']}, {where['cores']} cores, {where['system']}; {versions}",
        ]
        parts += [block if isinstance(block, str) else markdown(block) for block in one["blocks"] if block]
        if one["failed"]:
            parts.append(f"Failed: {one['failed']}")
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    main()
