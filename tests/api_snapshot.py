"""Everything public as text, a line each: names, parameters and defaults, commands and options, statuses, columns.

    PYTHONPATH=python python tests/api_snapshot.py    # writes tests/api.txt anew, after a change that is meant

`test_api_snapshot.py` compares. Annotations are left out: they may become more exact without anybody's code breaking.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import polars as pl

import signoise as sn
from signoise import _cli, engines, plot
from signoise._laws import _ladder_rows
from signoise._laws import _status as _law_status
from signoise._laws._forms import LAWS
from signoise._schema import COLUMNS
from signoise._status import FLAGS, STATUSES

SNAPSHOT = Path(__file__).with_name("api.txt")
_STARS = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}
#: Of these modules every function and class is promised. `reference` is not: its names follow the kernels'.
MODULES = {"signoise": sn, "signoise.engines": engines, "signoise.plot": plot}


def lines() -> list[str]:
    """The whole of it, in an order of its own."""
    found = [line for name, module in MODULES.items() for line in of_module(name, module)]
    found += [f"command {name}" for name in _cli.COMMANDS]
    found += [line for name in _cli.COMMANDS for line in of_command(name)]
    found += [f"column {name}: {dtype}" for name, dtype in COLUMNS.items()]
    statuses = {"ok", *STATUSES, *_law_status.REMEDIES}
    flags = {*FLAGS, *_law_status.FLAGS, *_ladder_rows.FLAGS}
    found += [f"status {name}" for name in sorted(statuses)]
    found += [f"flag {name}" for name in sorted(flags)]
    found += [f"law {law.name}({', '.join(law.inputs)}): {', '.join(law.names)}" for law in LAWS]
    return [*found, *of_results()]


def of_module(prefix: str, module: ModuleType) -> Iterator[str]:
    for name in sorted(module.__all__):
        item, path = getattr(module, name), f"{prefix}.{name}"
        if inspect.isclass(item):
            yield from of_class(path, item)
        elif callable(item):
            yield from of_callable(path, item)
        else:
            yield f"{path}: module"


def of_class(path: str, kind: type) -> Iterator[str]:
    if issubclass(kind, Exception):
        yield f"{path}: {', '.join(base.__name__ for base in kind.__bases__)}"
        return
    if not getattr(kind, "_is_protocol", False):  # nobody makes one of these
        yield from of_callable(path, kind)
    for name, item in sorted(inspect.getmembers(kind)):
        if name.startswith("_"):
            continue
        if callable(item):
            yield from of_callable(f"{path}.{name}", item)
        else:
            yield f"{path}.{name}: attribute"


def of_callable(path: str, item: Callable[..., Any]) -> Iterator[str]:
    """The name, then each parameter with its kind and default; `self` is nobody's to give."""
    yield f"{path}()"
    for parameter in inspect.signature(item).parameters.values():
        if parameter.name == "self":
            continue
        default = "" if parameter.default is parameter.empty else f" = {parameter.default!r}"
        by = {parameter.KEYWORD_ONLY: " (by name)", parameter.POSITIONAL_ONLY: " (by place)"}
        yield f"{path}({_STARS.get(parameter.kind, '')}{parameter.name}{default}){by.get(parameter.kind, '')}"


def of_command(name: str) -> Iterator[str]:
    command = _cli.main.get_command(click.Context(_cli.main), name)
    assert command is not None, name
    for parameter in command.params:
        said = parameter.to_info_dict()
        spelt = " ".join([*said["opts"], *said["secondary_opts"]])
        if said["param_type_name"] == "argument":
            spelt = str(parameter.human_readable_name)
        kind = said["type"].get("choices") or said["type"]["name"]
        facts = [kind if isinstance(kind, str) else "|".join(map(str, kind))]
        facts += [fact for fact in ("required", "multiple") if said.get(fact)]
        default = "" if not isinstance(parameter.default, str | int | float) else f" = {parameter.default!r}"
        yield f"command {name} {spelt}{default} ({', '.join(facts)})"


def of_results() -> Iterator[str]:
    """Columns that results have, with their dtypes: names stay, and new ones come at any place."""
    scores = sn.example_scores()
    instances, _ = sn.simulate(tasks=1, recipes=3, params=(1e8, 1e9), checkpoints=3, instances=20)
    large = instances.filter(pl.col("params") > 5e8)
    laws = pl.DataFrame({"tokens": [1e9, 2e9, 4e9, 8e9, 16e9], "loss": [4.0, 3.5, 3.2, 3.0, 2.9]})
    sides = {"small": "params = 150000000", "target": "params = 1000000000"}
    calls: dict[str, Callable[[], pl.DataFrame]] = {
        "snr": lambda: sn.snr(scores),
        "signal": lambda: sn.signal(scores),
        "noise": lambda: sn.noise(scores),
        "decision_accuracy": lambda: sn.decision_accuracy(scores, **sides),
        "smoothness": lambda: sn.smoothness(scores),
        "average_checkpoints": lambda: sn.average_checkpoints(scores),
        "roll_up": lambda: sn.roll_up(scores, to="suite"),
        "report": lambda: sn.report(scores),
        "aggregate": lambda: sn.aggregate(instances),
        "bootstrap": lambda: sn.bootstrap(instances, n_resamples=10),
        "compare": lambda: sn.compare(large),
        "rank": lambda: sn.rank(large),
        "variance": lambda: sn.variance(instances),
        "power": lambda: sn.power(mde=0.03, variance_items=0.1),
        "fit_scaling_law": lambda: sn.fit_scaling_law(laws, "power_law", x="tokens", y="loss"),
    }
    for name, call in calls.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", sn.SignoiseWarning)
            schema = call().schema
        for column, dtype in schema.items():
            yield f"result {name} {column}: {dtype}"


def write() -> None:
    SNAPSHOT.write_text("\n".join(lines()) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write()
