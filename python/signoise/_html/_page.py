"""The page: the answer first, then what it rests on."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from .._csv import write_csv
from .._options import version
from .._report import Report
from ..plot._frames import labelled, printable
from ._advice import advice
from ._figures import Absent, Figure, figures
from ._markup import Markup, data_block, join, tag
from ._render import Renderer
from ._svg import inline_svg
from ._table import table_section
from ._verdicts import sentences, verdicts

_HERE = Path(__file__).parent


def page(report: Report, renderer: Renderer, *, command: str = "") -> str:
    """The whole page; `command` is what makes it again."""
    # Figures first: they are drawn elsewhere while the rest is written here.
    made = figures(report, lambda figure: renderer.send(figure.specification()))
    judged = verdicts(report)
    names = labelled(judged.table)["label"]
    answer = sentences(report, judged, names)
    body = join(
        _header(answer),
        tag(
            "main",
            _section("benchmarks-section", "Benchmarks", table_section(judged, names)),
            _section("advice", "What to do", tag("ul", *(tag("li", line) for line in advice(report)))),
            *_figure_sections(made, renderer),
            _missing(made),
            _section(
                "rows",
                "What each number is about",
                tag("ul", *(tag("li", line) for line in report.populations)),
            ),
            _section("reading", "What was read", _reading(report)),
            _section("settings", "Settings", _settings(report, command)),
        ),
        tag("footer", f"Made by signoise {version()}."),
        _csv("benchmarks", judged.table.drop("signature")),
    )
    script = (_HERE / "page.js").read_text(encoding="utf-8")
    return _document(answer[0], body, (_HERE / "page.css").read_text(encoding="utf-8"), script)


def _document(title: str, body: Markup, style: str, script: str) -> str:
    # Nothing may be fetched, and no script runs but ours.
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = "; ".join(
        (
            "default-src 'none'",
            "style-src 'unsafe-inline'",
            f"script-src 'sha256-{digest}'",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", f"signoise: {title}"),
        Markup(f"<style>{style}</style>"),
    )
    script_element = Markup(f"<script>{script}</script>")
    return f"<!doctype html>\n{tag('html', head, tag('body', body, script_element), lang='en')}\n"


def _header(answer: Sequence[str]) -> Markup:
    first, *more = answer
    return tag(
        "header",
        tag("p", "signoise report", class_="kicker"),
        tag("h1", first),
        *(tag("p", line) for line in more),
    )


def _section(id_: str, heading: str, *children: Any) -> Markup:
    return tag("section", tag("h2", heading), *children, id=id_, aria_label=heading)


def _figure_sections(made: Sequence[Figure | Absent], renderer: Renderer) -> list[Markup]:
    """A section for each figure, with its data to download."""
    drawn = iter(renderer.finish())
    found = []
    for index, figure in enumerate(f for f in made if isinstance(f, Figure)):
        name = f"figure-{index}"
        words = figure.chart.description
        file = figure.name.lower().replace(" ", "-") + ".csv"
        button = tag(
            "button",
            "Download data (CSV)",
            type="button",
            class_="download",
            data_csv=f"csv-{name}",
            data_file=file,
        )
        graphic = tag(
            "div", inline_svg(next(drawn), name=name, words=printable(words)), class_="graphic", tabindex="0"
        )
        shown = tag("figure", graphic, tag("figcaption", figure.caption, " ", button))
        found.append(join(_section(name, figure.name, shown), _csv(name, figure.data)))
    return found


def _missing(made: Sequence[Figure | Absent]) -> Markup | None:
    absent = [figure for figure in made if isinstance(figure, Absent)]
    if not absent:
        return None
    lines = [tag("li", tag("strong", figure.name), ": ", figure.reason) for figure in absent]
    return _section("absent", "Figures that these scores do not give", tag("ul", *lines))


def _reading(report: Report) -> Markup:
    warned = [tag("li", str(warning), class_="warning") for warning in report.warnings]
    return tag("ul", *(tag("li", line) for line in report.reading), *warned)


def _settings(report: Report, command: str) -> Markup:
    signatures = report.table["signature"].drop_nulls().unique().sort().to_list()
    return join(
        tag("p", "This page is made again by"),
        tag("pre", tag("code", command), tabindex="0") if command else tag("p", "a call of report()."),
        tag("p", "Signature of the signal-to-noise ratios (two numbers with the same one can be compared):"),
        tag("ul", *(tag("li", tag("code", line), class_="signature") for line in signatures)),
    )


def _csv(name: str, table: pl.DataFrame) -> Markup:
    out = io.BytesIO()
    write_csv(table, out)
    return data_block(out.getvalue().decode(), id_=f"csv-{name}", kind="text/csv")
