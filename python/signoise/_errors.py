"""Exceptions and warnings. This module imports nothing: the Rust binding imports it."""


class SignoiseError(Exception):
    """Base of every error that signoise raises on purpose."""


class SchemaError(SignoiseError, ValueError):
    """A table lacks a column it needs, or a column cannot be read as what it must hold."""


class DuplicateKeyError(SchemaError):
    """The same key carries different values; choose with ``duplicates="first" | "last" | "mean"``."""


class ReadError(SignoiseError, ValueError):
    """A file could not be read; the message names it and what was found."""


class StoreError(SignoiseError, ValueError):
    """A score store is damaged, locked, of a newer format, or no store at all."""


class UnsupportedScan(SignoiseError, RuntimeError):
    """A sound file that the streaming scan cannot handle; callers take another way, so that users never see it."""


class UnknownMetricError(SignoiseError, ValueError):
    """A verb that ranks met a metric without a direction; declare it with ``direction={"name": "higher"}``."""


class ShapeError(SignoiseError, ValueError):
    """Arrays do not fit together."""


class OptionError(SignoiseError, ValueError):
    """An option has a value outside its range, or two options contradict each other."""


class InsufficientDataError(SignoiseError, ValueError):
    """Raised with ``strict=True`` where a statistic is undefined; the message gives group and status."""


class FitError(SignoiseError, RuntimeError):
    """Raised with ``strict=True`` where a fit failed; the message gives status and remedy."""


class EngineError(SignoiseError, RuntimeError):
    """An engine could not finish: no cluster could be reached, or workers died over one partition again and again."""


class ForkError(SignoiseError, RuntimeError):
    """A process was forked after its parent had started threads; start it by spawn or forkserver."""


class InternalError(SignoiseError, RuntimeError):
    """A bug in signoise worth reporting."""


class SignoiseWarning(UserWarning):
    """Base of every warning that signoise issues."""


class DroppedRowsWarning(SignoiseWarning):
    """Rows were left out; the message says how many and why."""


class MixedKeyWarning(SignoiseWarning):
    """A column joined the key because groups would otherwise have mixed several of its values."""


class DebugBuildWarning(SignoiseWarning):
    """The compiled core is a debug build: right, but slow."""


RESULTS_TAKEN = r"\d+ (?:scores come as result and as instances|result rows beside instance rows)"
"""How a ``DroppedRowsWarning`` begins that tells of a choice and of no loss: strictness does not make it an error."""
