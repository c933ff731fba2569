"""The directive ``command-help``: a section for each command, with what its ``--help`` prints."""

from __future__ import annotations

from click.testing import CliRunner
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from signoise._cli import COMMANDS, main

#: Help is wrapped for a terminal; the page has one of its own.
_WIDTH = {"COLUMNS": "92"}


class CommandHelp(SphinxDirective):
    """No arguments, no options."""

    def run(self) -> list[nodes.Node]:
        return [_section(name) for name in COMMANDS]


def _section(name: str) -> nodes.section:
    ran = CliRunner(env=_WIDTH).invoke(main, [name, "--help"], prog_name="signoise", catch_exceptions=False)
    text = nodes.literal_block(ran.output, ran.output, language="none")
    return nodes.section("", nodes.title("", f"signoise {name}"), text, ids=[name], names=[name])


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("command-help", CommandHelp)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
