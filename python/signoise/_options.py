"""Checks of the options that several verbs share, and the signature a result travels with."""

from __future__ import annotations

import functools
from collections.abc import Collection, Sequence
from typing import Any

import polars as pl

from ._errors import OptionError
from ._schema import did_you_mean


@functools.cache
def version() -> str:
    """The version of the package."""
    from ._core import __version__

    return __version__


def as_columns(by: str | Sequence[str]) -> tuple[str, ...]:
    """One column name or several, as a tuple."""
    return (by,) if isinstance(by, str) else tuple(by)


def check_choice(argument: str, value: object, choices: Collection[str]) -> None:
    """Raise ``OptionError`` where a word is not one of the choices."""
    if value not in choices:
        names = ", ".join(repr(choice) for choice in choices)
        raise OptionError(
            f"{argument} must be one of {names}, got {value!r}{did_you_mean(str(value), choices)}"
        )


def check_count(argument: str, value: object, least: int = 1) -> None:
    """Raise ``OptionError`` where a count is not a whole number of at least `least`."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise OptionError(f"{argument} must be a whole number of at least {least}, got {value!r}")


def check_seed(rng_seed: object) -> None:
    """Raise ``OptionError`` where a seed of draws is not a whole number of 64 bits."""
    check_count("rng_seed", rng_seed, 0)
    if isinstance(rng_seed, int) and rng_seed >= 2**64:
        raise OptionError(f"rng_seed must be below 2**64, got {rng_seed}")


def check_threads(threads: int | None) -> None:
    """Raise ``OptionError`` where a number of threads is given and is not one."""
    if threads is not None:
        check_count("threads", threads)


def check_level(confidence_level: float) -> None:
    """Raise ``OptionError`` where a confidence level is not strictly between 0 and 1."""
    if not isinstance(confidence_level, float) or not 0.0 < confidence_level < 1.0:
        raise OptionError(
            f"confidence_level must be a fraction between 0 and 1 such as 0.95, got {confidence_level!r}"
        )


def signature(verb: str, **settings: Any) -> str:
    """``verb|name:value|..|v:version``: two numbers with the same signature are comparable."""
    parts = [verb]
    for name, value in settings.items():
        if value is None:
            continue
        if isinstance(value, pl.Expr):
            text = str(value)
        elif isinstance(value, (tuple, list)):
            text = ",".join(str(item) for item in value)
        else:
            text = str(value).lower() if isinstance(value, bool) else str(value)
        parts.append(f"{name}:{text.replace('|', '/')}")
    return "|".join([*parts, f"v:{version()}"])
