"""What happens around a command: warnings, progress, errors as one paragraph, exit codes."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import time
import traceback
import warnings
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any

import click

from .._errors import RESULTS_TAKEN, DroppedRowsWarning, SignoiseError
from .._whole_file import system_error
from ._printable import printable, printable_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.status import Status
    from rich.text import Text

NO_RESULT = 1
INTERRUPTED = 130


class Progress:
    """What is being done, on stderr: one changing line on a terminal, now and then a line elsewhere."""

    #: Seconds. Short work shows nothing; a terminal is told early, a log file is not to be filled.
    FIRST_ON_TERMINAL, PAUSE_ELSEWHERE = 0.3, 10.0

    def __init__(self) -> None:
        self.silent = False
        self._since = self._rows_since = time.monotonic()
        self._status: Status | None = None

    def say(self, text: str) -> None:
        """What comes now."""
        waited = time.monotonic() - self._since
        if self.silent:
            return
        text = printable(f"{text} ..")
        if not sys.stderr.isatty():
            if waited >= self.PAUSE_ELSEWHERE:
                self._since = time.monotonic()
                click.echo(text, err=True)
        elif self._status is not None:
            self._status.update(_plain(text))
        elif waited >= self.FIRST_ON_TERMINAL:
            from rich.console import Console

            self._status = Console(stderr=True).status(_plain(text))
            self._status.start()

    def files(self, done: int, total: int) -> None:
        """So many files are read."""
        self.say(f"reading file {done} of {total}")

    def rows(self, done: int, total: int) -> None:
        """So many rows of tables are done, how fast, and for how long it goes on."""
        if done == 0:
            self._rows_since = time.monotonic()
            return
        rate = done / max(time.monotonic() - self._rows_since, 1e-9)
        left = max(total - done, 0) / rate
        self.say(
            f"{done / 1e6:.1f} of {total / 1e6:.1f} million rows, {rate / 1e6:.0f} million/s, {left:.0f} s left"
        )

    def stop(self) -> None:
        """Clear the line before something else is written."""
        if self._status is not None:
            self._status.stop()
            self._status = None


def _plain(text: str) -> Text:
    """Of a string rich would take what stands in brackets for markup, whatever its console says."""
    from rich.text import Text

    return Text(text)


@dataclass
class Session:
    """State of one call of the program."""

    debug: bool = False
    quiet: bool = False
    progress: Progress = field(default_factory=Progress)
    warned: dict[str, None] = field(default_factory=dict)

    def be_quiet(self) -> None:
        """No progress; warnings are only counted."""
        self.quiet = self.progress.silent = True

    def be_strict(self) -> None:
        """Rows left out are an error."""
        warnings.simplefilter("error", DroppedRowsWarning)
        warnings.filterwarnings("always", message=RESULTS_TAKEN, category=DroppedRowsWarning)

    def message(self, text: str) -> None:
        """A line to stderr."""
        self.progress.stop()
        click.echo(text, err=True, color=_no_color())

    def note(self, text: str) -> None:
        """A message that --quiet silences."""
        if not self.quiet:
            self.message(printable_lines(text))

    def warn(self, text: str) -> None:
        """Warn once."""
        text = in_options(text)
        if text not in self.warned:
            self.warned[text] = None
            if not self.quiet:
                self.message(f"{click.style('warning:', fg='yellow')} {printable_lines(text)}")

    def show_warning(
        self,
        message: Warning | str,
        category: type[Warning],  # noqa: ARG002 (the signature is that of warnings.showwarning)
        filename: str,  # noqa: ARG002
        lineno: int,  # noqa: ARG002
        file: IO[str] | None = None,  # noqa: ARG002
        line: str | None = None,  # noqa: ARG002
    ) -> None:
        """In place of ``warnings.showwarning``."""
        self.warn(str(message))

    def error(self, text: str) -> None:
        """Say why there is no result."""
        self.message(f"{click.style('error:', fg='red', bold=True)} {printable_lines(text)}")

    def count_warnings(self) -> None:
        """The number of warnings, last."""
        if self.warned:
            self.message(f"{len(self.warned)} warning{'s' * (len(self.warned) != 1)}")


class Command(click.Command):
    """A command whose help ends in worked examples, printed as they are written."""

    def __init__(self, *args: Any, examples: Sequence[str] = (), **options: Any) -> None:
        super().__init__(*args, **options)
        self.examples = examples

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """In place of an epilog."""
        del ctx
        with formatter.section("Examples"):
            for line in self.examples:
                formatter.write(f"{'':{formatter.current_indent}}{line}\n")


class Program(click.Group):
    """A group whose commands end in an exit code and, unless they succeed, one message."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command inside the handlers."""
        session = ctx.ensure_object(Session)
        if code := guarded(lambda: super(Program, self).invoke(ctx), session):
            ctx.exit(code)


def guarded(command: Callable[[], Any], session: Session) -> int:
    """Run a command and return its exit code; usage errors are left to click."""
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        for noise in (DeprecationWarning, PendingDeprecationWarning, ResourceWarning):
            warnings.simplefilter("ignore", noise)
        warnings.showwarning = session.show_warning
        try:
            command()
            sys.stdout.flush()
        except (click.ClickException, click.exceptions.Exit, click.Abort, SystemExit):
            session.progress.stop()
            raise
        except KeyboardInterrupt:
            session.message("interrupted")
            return INTERRUPTED
        except BrokenPipeError:
            _discard_stdout()
            return 0
        except BaseException as error:  # a panic of the core is no Exception
            session.progress.stop()
            if session.debug:
                traceback.print_exc()
            session.error(describe(error))
            session.count_warnings()
            return NO_RESULT
        session.progress.stop()
        session.count_warnings()
    return 0


def describe(error: BaseException) -> str:
    """One paragraph for a user of the command line."""
    text = " ".join(str(error).split())
    if isinstance(error, DroppedRowsWarning):
        return f"{in_options(text)} (an error because of --strict)"
    if isinstance(error, SignoiseError):
        return in_options(text)
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    if isinstance(error, MemoryError):
        return "not enough memory; narrow the rows with --where, or give fewer files"
    if (known := system_error(error)) is not None:
        return str(known.strerror)
    first = " ".join((str(error).splitlines() or [""])[0].split())
    found = f"{type(error).__name__}: {first}" if first else type(error).__name__
    return f"unexpected {found}; --debug shows where. Please report it"


#: The verbs speak of keywords; on the command line these are options.
_AS_OPTIONS = (
    (r'duplicates="first", "last" or "mean"', "--duplicates first, last or mean"),
    (r"or call with strict=False", "or leave out --strict"),
    (r"\bwhere=\.\.\.", "--where .."),
    (r"\bto by\b", "to --by"),
    (r"\bengine= says\b", "--engine says"),
    (r"\bgive instances=True\b", "give --instances"),
    (r'\bgive test="permutation"', "give --test permutation"),
    (r'columns=\{"[^"]*": "[^"]*"\} or (?=--columns)', ""),
    (r'columns=\{"([^"]*)": "([^"]*)"\}', r"--columns \1=\2"),
    (r'direction=\{"[^"]*": "[^"]*"\} or (?=--direction)', ""),
    (r'direction=\{"([^"]*)": "([^"]*)"\}', r"--direction \1=\2"),
)


def in_options(text: str) -> str:
    """A message of a verb, with options in place of keywords."""
    for pattern, replacement in _AS_OPTIONS:
        text = re.sub(pattern, replacement, text)
    return text


def _no_color() -> bool | None:
    """False where colour is unwanted; None lets click look at the stream."""
    return False if os.environ.get("NO_COLOR") else None


def _discard_stdout() -> None:
    """Nobody reads any more: let the interpreter's last flush go nowhere."""
    with contextlib.suppress(OSError, ValueError):  # a stream without a descriptor
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
