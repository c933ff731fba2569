"""The public interface as lines of text: names, signatures, result columns, commands, statuses, flags, errors.

    PYTHONPATH=python python tests/api.py        # writes tests/api.txt anew, after a change that is meant

Run it on the package as it was built last. test_api_snapshot.py compares the file with the package.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import polars as pl

import signoise as sn
from signoise import engines, reference
from signoise._cli import COMMANDS, main
from signoise._laws import _ladder_rows
from signoise._laws import _status as law_status
from signoise._schema import COLUMNS
from signoise._status import FLAGS, STATUSES

SNAPSHOT = Path(__file__).parent / "api.txt"
COMMAND = "PYTHONPATH=python python tests/api.py"

SIDES = {"small": "params = 150000000", "target": "params = 1000000000"}
#: Calls whose columns are promised, by the name of the verb and what makes them differ.
_SCORES: dict[str, Callable[[pl.DataFrame], pl.DataFrame]] = {
    "average_checkpoints": sn.average_checkpoints,
    "decision_accuracy": lambda scores: sn.decision_accuracy(scores, **SIDES),  # type: ignore[arg-type]
    "noise": sn.noise,
    "noise(per=run)": lambda scores: sn.noise(scores, per="run"),
    "report": sn.report,
    "roll_up": lambda scores: sn.roll_up(scores, to="suite"),
    "seed_variance": sn.seed_variance,
    "signal": sn.signal,
    "smoothness": sn.smoothness,
    "snr": sn.snr,
}
_INSTANCES: dict[str, Callable[[pl.DataFrame], pl.DataFrame]] = {
    "aggregate": sn.aggregate,
    "bootstrap": lambda frame: sn.bootstrap(frame, n_resamples=20),
    "compare": sn.compare,
    "item_statistics": sn.item_statistics,
    "permutation_test": lambda frame: sn.permutation_test(frame, n_resamples=20),
    "rank": sn.rank,
    "variance": sn.variance,
}


def lines() -> Iterator[str]:
    """Every line of the snapshot, in its order."""
    for section in (_names, _methods, _columns, _results, _commands, _words):
        yield f"# {section.__doc__}"
        yield from section()
        yield ""


def _names() -> Iterator[str]:
    """Names of the package, of signoise.reference and of signoise.engines"""
    for name in sorted(sn.__all__):
        yield from _described(name, getattr(sn, name))
    yield from (f"reference.{name}" for name in sorted(reference.__all__))
    for name in sorted(engines.__all__):
        yield from _described(f"engines.{name}", getattr(engines, name))


def _described(name: str, item: Any) -> Iterator[str]:
    if inspect.isclass(item):
        bases = ", ".join(base.__name__ for base in item.__mro__[1:-1])
        yield f"class {name}({bases})"
        if issubclass(item, Exception):
            return
        for member in sorted(vars(item)):
            if member.startswith("_"):
                continue
            held = inspect.getattr_static(item, member)
            if callable(held) or isinstance(held, (classmethod, staticmethod)):
                yield f"{name}.{member}{_signature(getattr(item, member))}"
            else:
                yield f"{name}.{member}"
    elif inspect.ismodule(item):
        yield f"module {name}"
        if name != "reference":
            for member in sorted(item.__all__):
                yield from _described(f"{name}.{member}", getattr(item, member))
    else:
        yield f"{name}{_signature(item)}"


def _signature(function: Any) -> str:
    """Without annotations: types may be said better in any version."""
    signature = inspect.signature(function)
    bare = [
        parameter.replace(annotation=inspect.Parameter.empty) for parameter in signature.parameters.values()
    ]
    return str(signature.replace(parameters=bare, return_annotation=inspect.Signature.empty))


def _methods() -> Iterator[str]:
    """What frames have as frame.signoise"""
    yield from sorted(name for name in dir(sn.example_scores().signoise) if not name.startswith("_"))  # type: ignore[attr-defined]


def _columns() -> Iterator[str]:
    """Columns of the score table"""
    yield from (f"{name}: {dtype}" for name, dtype in COLUMNS.items())


def _results() -> Iterator[str]:
    """Columns of results"""
    instances, _ = sn.simulate(tasks=1, recipes=3, params=1e8, checkpoints=3, instances=40)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", sn.SignoiseWarning)
        for calls, frame in ((_SCORES, sn.example_scores()), (_INSTANCES, instances)):
            for name, call in calls.items():
                found = ", ".join(f"{column} {dtype}" for column, dtype in call(frame).schema.items())
                yield f"{name} -> {found}"


def _commands() -> Iterator[str]:
    """Commands and their options"""
    context = click.Context(main)
    for name in COMMANDS:
        command = main.get_command(context, name)
        assert command is not None
        for parameter in command.params:
            yield f"signoise {name} {_parameter(parameter)}"


def _parameter(parameter: click.Parameter) -> str:
    if isinstance(parameter, click.Argument):
        return f"{parameter.human_readable_name}{' ...' if parameter.nargs == -1 else ''}"
    said = " ".join([*parameter.opts, *parameter.secondary_opts])
    kind = parameter.type
    if isinstance(parameter, click.Option) and parameter.is_flag:
        return said
    said += f" {'|'.join(map(str, kind.choices)) if isinstance(kind, click.Choice) else kind.name}"
    if isinstance(parameter.default, (str, int, float, bool)):
        said += f" = {parameter.default}"
    return said + (" ..." if parameter.multiple else "") + (" (required)" if parameter.required else "")


def _words() -> Iterator[str]:
    """Statuses and flags"""
    yield from (f"status {name}" for name in ("ok", *dict.fromkeys([*STATUSES, *law_status.REMEDIES])))
    yield from (f"flag {name}" for name in dict.fromkeys([*FLAGS, *law_status.FLAGS, *_ladder_rows.FLAGS]))


if __name__ == "__main__":
    SNAPSHOT.write_text("\n".join(lines()), encoding="utf-8")
