"""The command line. Commands are thin: options are the verbs' keywords, results go through one output.

Only click is imported until a command runs, so that ``signoise --help`` answers at once.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import click

from ._run import Program

#: Command -> module of this package that holds it, in the order of the help page.
COMMANDS = {
    "report": "report",
    "scan": "scan",
    "snr": "snr",
    "noise": "snr",
    "decisions": "decisions",
    "smoothness": "curves",
    "average": "average",
    "roll-up": "levels",
    "aggregate": "levels",
    "ingest": "ingest",
    "compare": "compare",
    "rank": "compare",
    "power": "power",
    "variance": "variance",
    "passk": "passk",
    "fit": "fit",
    "ladder": "ladder",
    "laws": "fit",
    "subtasks": "subtasks",
    "metrics": "metrics",
    "advise": "advise",
    "simulate": "simulate",
    "demo": "demo",
    "bench": "bench",
}


class _Commands(Program):
    """Commands are imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 (the signature is click's)
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f".{COMMANDS[cmd_name]}", __name__)
        return getattr(module, cmd_name.replace("-", "_"))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click's, and with the command that may have been meant."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            from .._schema import did_you_mean

            close = did_you_mean(args[0], COMMANDS)
            if not close:
                raise
            raise click.UsageError(error.message.rstrip(".") + close, ctx) from None


def _print_version(ctx: click.Context, _: click.Parameter, wanted: Any) -> None:
    if wanted and not ctx.resilient_parsing:
        from .._options import version

        click.echo(f"signoise {version()}")
        ctx.exit()


@click.group(
    cls=_Commands,
    name="signoise",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Start with `signoise demo`, or `signoise report RESULTS` on your own results.",
)
@click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_print_version,
    help="Print the version.",
)
def main() -> None:
    """How far can you trust a benchmark? Signal, noise and decision accuracy of evaluations.

    SOURCE is a file, a directory (searched to the bottom) or a glob of evaluation results: lm-eval JSON, or
    tables in Parquet, Arrow IPC, CSV, NDJSON; or a score store, which `signoise ingest` makes. Tables go to
    stdout, messages to stderr. Exit codes: 0 done, 1 no result, 2 wrong usage.
    """


__all__ = ["COMMANDS", "main"]
