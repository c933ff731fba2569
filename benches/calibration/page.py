"""The rows as tables of a page, between two markers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from signoise import __version__

from .study import Row, Study

BEGIN, END = "<!-- calibration: begin -->", "<!-- calibration: end -->"
COLUMNS = ("method", "cell", "rate", "se", "width", "ratio", "bar met", "flags of the verb")


def tables(rows: Sequence[Row], study: Study) -> str:
    """All rows, a table for each section, and what they were made with."""
    known = [row for row in rows if row.met is not None]
    inside = [row for row in known if row.inside]
    failed = [row for row in inside if not row.met]
    lines = [
        f"signoise {__version__}, NumPy {np.__version__}, {study.replications:,} replications of each cell unless the "
        f"table says otherwise, seed {study.seed}. {len(rows)} rows: of {len(inside)} inside their method's domain "
        f"{len(inside) - len(failed)} meet their bar, {len(failed)} do not.",
        "",
    ]
    if failed:
        lines += ["Inside the domain, bar not met:", ""]
        lines += [f"- {row.method}: {row.cell}: {row.rate:.4f} (bar: {row.bar.value})" for row in failed]
        lines += [""]
    for section in dict.fromkeys(row.section for row in rows):
        lines += [f"### {section}", "", *_section([row for row in rows if row.section == section], study)]
    return "\n".join(lines).rstrip() + "\n"


def _section(rows: Sequence[Row], study: Study) -> list[str]:
    methods = list(dict.fromkeys((row.method, row.estimand, row.domain, row.bar) for row in rows))
    lines = ["| method | estimand | domain | bar |", "| --- | --- | --- | --- |"]
    seen = set()
    for method, estimand, domain, bar in methods:
        if method in seen and bar.value == "none":
            continue
        seen.add(method)
        lines.append(f"| {method} | {estimand} | {domain} | {bar.value} |")
    lines += ["", f"| {' | '.join(COLUMNS)} |", f"|{' --- |' * len(COLUMNS)}"]
    return [*lines, *(_line(row, study) for row in rows), ""]


def _line(row: Row, study: Study) -> str:
    cell = row.cell
    if row.replications and row.replications != study.replications:
        cell += f", {row.replications:,} replications"
    if row.undefined >= 0.0005:
        cell += f", {100 * row.undefined:.1f} % undefined"
    error = f"{row.error:.4f}" if row.replications else "exact"
    verdict = row.verdict
    if np.isfinite(row.promise):
        verdict += f" (promised {row.promise:.3f})"
    parts = [
        row.method,
        cell,
        f"{row.rate:.4f}",
        error,
        _number(row.width),
        _number(row.ratio),
        verdict,
        row.flags or "–",
    ]
    return f"| {' | '.join(parts)} |"


def _number(x: float) -> str:
    return f"{x:.3g}" if np.isfinite(x) else "–"


def replace(path: Path, text: str) -> None:
    """Put the tables between the markers of a page; a page that is not there yet is the tables alone."""
    old = path.read_text(encoding="utf-8") if path.exists() else f"{BEGIN}\n{END}\n"
    head, begin, rest = old.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{path} lacks the markers {BEGIN} and {END}")
    path.write_text(f"{head}{BEGIN}\n\n{text}\n{END}{tail}", encoding="utf-8")
