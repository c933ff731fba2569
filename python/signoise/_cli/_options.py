"""Options that commands share, each declared once, and the types of their values.

An option that is not given is left out of the call, so the verbs alone hold the defaults.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from ._output import EXTENSIONS
from ._run import Session

F = TypeVar("F", bound=Callable[..., Any])
Decorator = Callable[[F], F]

NOISES = ("within", "mean_sd", "pooled", "detrended", "successive_difference")


def given(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that were given."""
    return {name: value for name, value in options.items() if value is not None}


def together(*options: Callable[[Any], Any]) -> Callable[[F], F]:
    """Several options as one decorator, in this order on the help page."""

    def decorate(command: F) -> F:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


# --- values ---------------------------------------------------------------------------------------


def words(_: click.Context, __: click.Parameter, value: Sequence[str]) -> tuple[str, ...] | None:
    """``a,b`` and repeated options as one tuple; None where the option was not given."""
    if not value:
        return None
    found = [word.strip() for text in value for word in text.split(",")]
    if not all(found):
        raise click.BadParameter(f"{','.join(value)!r} holds an empty name; write a,b,c")
    return tuple(dict.fromkeys(found))


def _split_pair(text: str, form: str, *, last: bool = False) -> tuple[str, str]:
    name, sign, value = text.rpartition("=") if last else text.partition("=")
    if not sign or not name.strip() or not value.strip():
        raise click.BadParameter(f"{text!r} is not of the form {form}")
    return name.strip(), value.strip()


def _pairs(form: str) -> Callable[[click.Context, click.Parameter, Sequence[str]], dict[str, str] | None]:
    """``a=b,c=d`` and repeated options as one mapping."""

    def parse(_: click.Context, __: click.Parameter, value: Sequence[str]) -> dict[str, str] | None:
        found: dict[str, str] = {}
        for part in (part for text in value for part in text.split(",")):
            name, word = _split_pair(part, form, last=True)
            if found.setdefault(name, word) != word:
                raise click.BadParameter(f"{name!r} is given twice: {found[name]!r} and {word!r}")
        return found or None

    return parse


def _levels(ctx: click.Context, option: click.Parameter, value: Sequence[str]) -> dict[str, float] | None:
    pairs = _pairs("TASK=LEVEL, e.g. boolq=0.5")(ctx, option, value)
    if pairs is None:
        return None
    try:
        return {task: float(text) for task, text in pairs.items()}
    except ValueError:
        raise click.BadParameter(f"{', '.join(value)!r} holds no number; write TASK=0.25") from None


def _groups(_: click.Context, __: click.Parameter, value: Sequence[str]) -> dict[str, str | list[str]] | None:
    """One glob a name; a name given several times lists its tasks."""
    found: dict[str, str | list[str]] = {}
    for text in value:
        name, pattern = _split_pair(text, "NAME=GLOB, e.g. mmlu='mmlu_*'")
        before = found.get(name)
        if before is None:
            found[name] = pattern
        else:
            found[name] = [*([before] if isinstance(before, str) else before), pattern]
    return found or None


def _primary(
    ctx: click.Context, option: click.Parameter, value: Sequence[str]
) -> str | dict[str, str] | None:
    """One metric for all tasks, or one for each."""
    if len(value) == 1 and "=" not in value[0]:
        return value[0]
    return _pairs("METRIC, or TASK=METRIC")(ctx, option, value)


def _direction_words(value: Sequence[str]) -> dict[str, str] | None:
    pairs = _pairs("METRIC=higher or METRIC=lower")(None, None, value)  # type: ignore[arg-type]
    for metric, word in (pairs or {}).items():
        if word not in ("higher", "lower"):
            raise click.BadParameter(f"direction of {metric!r} is {word!r}; it must be higher or lower")
    return pairs


def _direction(_: click.Context, __: click.Parameter, value: Sequence[str]) -> dict[str, str] | None:
    return _direction_words(value)


def _direction_or_raw(
    _: click.Context, __: click.Parameter, value: Sequence[str]
) -> dict[str, str] | str | None:
    if len(value) == 1 and value[0] in ("metric", "raw"):
        return value[0]
    return _direction_words(value)


def _signal(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    if value is None or value == "relative_dispersion" or value.startswith(("compat:", "textbook:")):
        return value
    raise click.BadParameter(f"{value!r} is not relative_dispersion, compat:NAME or textbook:NAME")


def _autocorrelation(_: click.Context, __: click.Parameter, value: str | None) -> float | str | None:
    if value is None or value == "pooled":
        return value
    try:
        return float(value)
    except ValueError:
        raise click.BadParameter(f"{value!r} is neither pooled nor a number from 0 to 0.95") from None


def _engine(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    """An unknown engine is wrong usage, found out before anything is read."""
    if value is not None:
        from .._errors import OptionError
        from ..engines._engine import as_engine

        try:
            as_engine(value)
        except OptionError as error:
            raise click.BadParameter(str(error)) from None
    return value


def _known_format(_: click.Context, __: click.Parameter, value: str) -> str:
    """The readers are asked for their names only where one is given: they bring Polars with them."""
    if value != "auto":
        from .._readers import FORMATS

        if value not in FORMATS:
            raise click.BadParameter(f"{value!r} is not one of {', '.join(FORMATS)}")
    return value


def output_path(_: click.Context, __: click.Parameter, value: str | None) -> Path | None:
    """A file that can be written, found out before the work is done."""
    return None if value is None else _writable(value, list(EXTENSIONS), "table.csv")


def page_path(_: click.Context, __: click.Parameter, value: str | None) -> Path | None:
    """The same for a page."""
    return None if value is None else _writable(value, [".html", ".htm"], "report.html")


def _writable(value: str, extensions: Sequence[str], example: str) -> Path:
    path = Path(value).expanduser()
    if path.is_dir():
        raise click.BadParameter(f"{value!r} is a directory; give a file in it, e.g. {path / example}")
    if path.suffix.lower() not in extensions:
        raise click.BadParameter(
            f"{value!r} has no known extension; the known ones are {', '.join(extensions)}"
        )
    if path.exists() and not path.is_file():
        raise click.BadParameter(f"{value!r} is not a regular file")
    if not path.parent.is_dir():
        raise click.BadParameter(f"the directory {str(path.parent)!r} does not exist")
    return path


def paths(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG001 (the signature is click's)
    """Shells complete what is given as the name of a file."""
    return [CompletionItem(incomplete, type="file")]


# --- options --------------------------------------------------------------------------------------

sources = click.argument("sources", metavar="SOURCE...", nargs=-1, required=True, shell_complete=paths)

columns = click.option(
    "--columns",
    multiple=True,
    metavar="THEIRS=OURS",
    callback=_pairs("THEIRS=OURS, e.g. model=run"),
    help="Columns that are not recognised, e.g. model=run,mix=recipe.",
)
format = click.option(  # noqa: A001 (the option's name)
    "--format",
    metavar="NAME",
    default="auto",
    callback=_known_format,
    help="Files to read: auto tells by content; table, or a harness (lm_eval ..), leaves others unread.",
)
where = click.option(
    "--where", metavar="SQL", help="Rows to use, e.g. \"params >= 1e9 AND metric = 'acc'\"; any column."
)
groups = click.option(
    "--group",
    "groups",
    multiple=True,
    metavar="NAME=GLOB",
    callback=_groups,
    help="Tasks that become one, their mean within each checkpoint; repeat NAME to list tasks.",
)
duplicates = click.option(
    "--duplicates",
    type=click.Choice(["first", "last", "mean"]),
    help="What to take where one key carries different values; otherwise an error.",
)
by = click.option(
    "--by",
    multiple=True,
    metavar="COLUMNS",
    callback=words,
    help="One row for each value of these.  [task,metric]",
)
metrics = click.option(
    "--metrics", multiple=True, metavar="NAMES", callback=words, help="Metrics to keep.  [all]"
)
across = click.option(
    "--across",
    multiple=True,
    metavar="COLUMNS",
    callback=words,
    help="What a member of the population is.  [run]",
)
order = click.option("--order", metavar="COLUMN", help="Column that orders checkpoints.  [tokens, else step]")
window = click.option(
    "--window", type=click.IntRange(min=1), metavar="N", help="Number of last checkpoints.  [5]"
)
ddof = click.option(
    "--ddof", type=click.IntRange(min=0), metavar="N", help="Divisor n - ddof of variances.  [1]"
)
noise = click.option(
    "--noise", type=click.Choice(NOISES), help="How the noise of several runs is combined.  [within]"
)
noise_runs = click.option("--noise-runs", metavar="SQL", help="Rows that make the noise.  [all]")
relative = click.option(
    "--relative/--absolute",
    default=None,
    help="Divide by the mean of the scores, or keep score units.  [relative]",
)
confidence_level = click.option(
    "--confidence-level",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    metavar="LEVEL",
    help="Of the intervals.  [0.95]",
)
autocorrelation = click.option(
    "--autocorrelation",
    metavar="RHO",
    callback=_autocorrelation,
    help="Of checkpoint noise, for the intervals: pooled, or a number from 0 to 0.95.  [pooled]",
)
chance = click.option(
    "--chance",
    multiple=True,
    metavar="TASK=LEVEL",
    callback=_levels,
    help="Chance levels beside the known ones, e.g. my_task=0.25.",
)
direction = click.option(
    "--direction",
    multiple=True,
    metavar="METRIC=WORD",
    callback=_direction,
    help="higher or lower is better, for metrics that are not known.",
)
direction_or_raw = click.option(
    "--direction",
    multiple=True,
    metavar="WORD|METRIC=WORD",
    callback=_direction_or_raw,
    help="metric: improvement is positive; raw: as it is; METRIC=higher|lower declares one.  [metric]",
)
signal = click.option(
    "--signal",
    metavar="NAME",
    callback=_signal,
    help="relative_dispersion, compat:NAME (the published code's variant) or textbook:NAME.",
)
population = click.option("--population", metavar="SQL", help="Rows that make the signal.  [all]")
primary = click.option(
    "--primary",
    multiple=True,
    metavar="METRIC",
    callback=_primary,
    help="The metric that counts; TASK=METRIC for one task.  [primary_score, acc_norm, .., acc, exact_match]",
)
rng_seed = click.option(
    "--rng-seed", type=click.IntRange(min=0), metavar="N", help="Chooses the random draws.  [0]"
)
n_resamples = click.option(
    "--n-resamples", type=click.IntRange(min=1), metavar="N", help="Random draws.  [1000]"
)
engine = click.option(
    "--engine",
    metavar="NAME",
    callback=_engine,
    help="Where the work is done: ray, or the address of a Ray cluster; does not change a result.  [local]",
)
cluster = click.option(
    "--cluster",
    metavar="COLUMN",
    help="What makes instances dependent; instance_id: nothing.  [cluster, where it is filled]",
)
instances = together(
    click.option(
        "--instances",
        is_flag=True,
        default=None,
        help="Add an interval over instances, which are drawn again and again.",
    ),
    cluster,
    rng_seed,
    n_resamples,
    engine,
)
page = click.option(
    "--html",
    metavar="FILE",
    callback=page_path,
    shell_complete=paths,
    help="Write a page with the answer, the table and figures, instead of printing the table.",
)
threads = click.option(
    "--threads", type=click.IntRange(min=1), metavar="N", help="Number of threads; does not change a result."
)


def filter_option(name: str, text: str) -> Callable[[F], F]:
    """A further filter on rows."""
    return click.option(name, metavar="SQL", help=text)


def words_option(name: str, text: str) -> Callable[[F], F]:
    """A further list of columns."""
    return click.option(name, multiple=True, metavar="COLUMNS", callback=words, help=text)


def _set_strict(ctx: click.Context, _: click.Parameter, value: bool) -> bool | None:
    if value:
        ctx.ensure_object(Session).be_strict()
    return value or None


def _set_quiet(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        ctx.ensure_object(Session).be_quiet()


def _set_debug(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        ctx.ensure_object(Session).debug = True


strict = click.option(
    "--strict", is_flag=True, callback=_set_strict, help="The first problem is an error (exit code 1)."
)
quiet = click.option(
    "--quiet",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_set_quiet,
    help="No progress; warnings are only counted.",
)
debug = click.option(
    "--debug",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_set_debug,
    help="With an error, print the whole traceback.",
)
output = click.option(
    "-o",
    "--output",
    metavar="FILE",
    callback=output_path,
    shell_complete=paths,
    help=f"Write the table; the extension says how ({' '.join(EXTENSIONS)}).",
)
as_json = click.option("--json", "as_json", is_flag=True, help="Print a JSON list of rows.")

reading = together(sources, where, columns, format)
writing = together(output, as_json)
running = together(strict, threads, quiet, debug)
without_strict = together(quiet, debug)
