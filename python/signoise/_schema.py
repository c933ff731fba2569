"""The score table: column names, dtypes, key, and how other people's names become ours.

One row is one value. Readers return a LazyFrame with these columns; verbs take any frame in which `recognise` finds
them. Columns that are not ours ride along, so that filters can name them.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from functools import partial

import polars as pl

from ._errors import OptionError, SchemaError
from ._metrics import lookup
from ._names import parse_size

COLUMNS: dict[str, pl.DataType] = {
    "run": pl.String(),
    "revision": pl.String(),
    "step": pl.Int64(),
    "tokens": pl.Float64(),
    "flops": pl.Float64(),
    "params": pl.Int64(),
    "recipe": pl.String(),
    "seed": pl.Int64(),
    "task": pl.String(),
    "subtask": pl.String(),
    "config": pl.String(),
    "metric": pl.String(),
    "filter": pl.String(),
    "instance_id": pl.String(),
    "repeat": pl.Int32(),
    "cluster": pl.String(),
    "value": pl.Float64(),
    "weight": pl.Float64(),
    "stderr": pl.Float64(),
    "n": pl.Int64(),
    "source": pl.String(),
}
"""Name and dtype of every column of the score table, in order."""

KEY: tuple[str, ...] = tuple(COLUMNS)[: tuple(COLUMNS).index("repeat") + 1]
"""The identifying columns: two rows that agree on all of them are the same score."""

SCORE_IDENTITY: tuple[str, ...] = ("task", "subtask", "config", "metric", "filter")
"""What a score is a score of. A group that mixed several values of one of these would compare unlike things."""

RUN_IDENTITY: tuple[str, ...] = ("run", "recipe", "params", "seed")
"""What tells one training run from another, whatever a member of the population is."""

SYNONYMS: dict[str, tuple[str, ...]] = {
    "run": ("model", "model_name", "model_path", "name"),
    "revision": ("model_revision",),
    "step": ("checkpoint", "ckpt", "global_step"),
    "tokens": ("train_tokens", "tokens_seen"),
    "params": ("params_total", "n_params", "num_params", "size"),
    "params_nonembedding": ("params_nonemb", "non_embedding_params"),
    "flops": ("compute",),
    "recipe": ("mix", "data", "train_set"),
    "seed": ("train_seed",),
    "task": ("benchmark", "dataset", "eval"),
    "subtask": ("subset", "subject"),
    "instance_id": ("native_id", "doc_id", "id", "question_id", "item"),
    "repeat": ("epoch", "sample_id", "sample_index"),
    "cluster": ("group", "passage_id"),
    "value": ("score",),
}
"""Names taken for ours where ours is absent; the first match wins."""

CONFIG_PARTS: tuple[tuple[str, str], ...] = (
    ("limit", "limit"),
    ("prompt", "prompt"),
    ("shots", "shots"),
    ("num_fewshot", "shots"),
    ("template", "template"),
    ("variant", "variant"),
)
"""Columns joined into `config` as ``name=value`` where the table has no `config`: (their name, name in the pair)."""


#: What a table of repeated samples has in place of scores: how many samples an instance has and how many of them are
#: right, or a list of their outcomes. These may be declared like columns of ours.
N_SAMPLES = "n_samples"
_REPEATED: dict[str, tuple[str, ...]] = {
    N_SAMPLES: (N_SAMPLES, "num_samples", "n", "trials"),
    "n_correct": ("n_correct", "num_correct", "n_passed", "num_passed", "c", "successes"),
    "outcomes": ("outcomes", "passed", "correct", "successes", "results"),
}
#: Metric of samples that are right or wrong, where the table names none.
_RIGHT = "correct"

#: Where a checkpoint stands in training.
_PLACES = ("tokens", "flops")


def _bare(name: str) -> str:
    """`Model Name`, `model-name` and `model_name` are one name."""
    return re.sub(r"[^0-9a-z]+", "_", name.strip().lower()).strip("_")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """``; did you mean 'x'?`` or nothing."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else ""


def find_columns(names: Iterable[str], columns: Mapping[str, str] | None = None) -> dict[str, str]:
    """Which of a table's columns is which of ours, as ``{ours: theirs}``.

    `columns` maps theirs to ours and beats recognition.
    """
    names = list(names)
    ours = [*COLUMNS, "params_nonembedding"]
    chosen: dict[str, str] = {}
    for theirs, our in (columns or {}).items():
        if theirs not in names:
            raise SchemaError(
                f"columns: the table has no column {theirs!r}{did_you_mean(theirs, names)} "
                f"(it has {', '.join(names)})"
            )
        if our not in ours and our not in _REPEATED:
            raise SchemaError(
                f"columns: {our!r} is not a column of the score table{did_you_mean(our, [*ours, *_REPEATED])}"
            )
        if our in chosen:
            raise SchemaError(f"columns: both {chosen[our]!r} and {theirs!r} are declared as {our!r}")
        chosen[our] = theirs
    free = {_bare(name): name for name in reversed(names) if name not in chosen.values()}
    for our in ours:
        if our in chosen:
            continue
        for candidate in (our, *SYNONYMS.get(our, ())):
            if candidate in free:
                chosen[our] = free[candidate]
                break
    return chosen


def recognise(frame: pl.LazyFrame, columns: Mapping[str, str] | None = None) -> pl.LazyFrame:
    """Add our columns beside a table's own, reading names, sizes and wide metrics.

    Parameters
    ----------
    frame
        Any table with one row per value, or one row per checkpoint with a column per metric.
    columns
        ``{"theirs": "ours"}`` for names that are not recognised, or recognised wrongly.

    Returns
    -------
    LazyFrame
        The same rows (wide metrics unpivoted) with our columns in our dtypes; the table's own columns are kept
        under their own names unless ours has the same name.

    Raises
    ------
    SchemaError
        Where run, task or value cannot be found.
    """
    schema = frame.collect_schema()
    found = find_columns(schema.names(), columns)
    names_metrics = "metric" in found
    if "value" not in found:
        frame, schema, found = _unpivot_metrics(frame, schema, found, columns)
    for needed in ("run", "task", "value"):
        if needed not in found:
            # Leaderboards often call the benchmark a metric.
            likely = _likely(needed, schema) or ("metric" if needed == "task" and names_metrics else "YOURS")
            raise SchemaError(
                f"the table has no column for {needed!r}: none of "
                f"{', '.join((needed, *SYNONYMS.get(needed, ())))} is among its columns "
                f"({', '.join(schema.names())}); say which one it is, e.g. "
                f'columns={{"{likely}": "{needed}"}} or --columns {likely}={needed}'
            )
    # Categories are text; their codes mean nothing.
    coded = [name for name in found.values() if isinstance(schema[name], (pl.Categorical, pl.Enum))]
    if coded:
        frame = frame.with_columns(pl.col(coded).cast(pl.String))
        schema = frame.collect_schema()
    expressions = []
    for our, theirs in found.items():
        if our == "step" and schema[theirs] == pl.String:
            expressions += _named_steps(theirs, with_revision="revision" not in found)
        elif our != theirs or schema[theirs] != COLUMNS.get(our, pl.Int64()) or our in _PLACES:
            expressions.append(_cast(our, theirs, schema[theirs]))
    if "metric" not in found:
        expressions.append(pl.lit(_bare(found["value"])).alias("metric"))
    if "config" not in found and (config := _config(schema, found)) is not None:
        expressions.append(config)
    return frame.with_columns(expressions) if expressions else frame


def _likely(our: str, schema: pl.Schema) -> str | None:
    """A column of theirs to name in the remedy, if one sounds like ours."""
    close = difflib.get_close_matches(our, schema.names(), n=1, cutoff=0.6)
    return close[0] if close else None


def wide_metrics(schema: Mapping[str, pl.DataType], found: Mapping[str, str]) -> list[str]:
    """Numeric columns named like a metric, in a table that has no column of values."""
    taken = set(found.values())
    return [
        name
        for name, dtype in schema.items()
        if name not in taken and (dtype.is_numeric() or dtype == pl.Boolean) and lookup(name) is not None
    ]


def _unpivot_metrics(
    frame: pl.LazyFrame, schema: pl.Schema, found: dict[str, str], columns: Mapping[str, str] | None
) -> tuple[pl.LazyFrame, pl.Schema, dict[str, str]]:
    """One column per metric -> one row per metric."""
    metrics = wide_metrics(schema, found)
    if not metrics and (repeated := _repeated(frame, schema, found)) is not None:
        schema = repeated.collect_schema()
        left = {theirs: our for theirs, our in (columns or {}).items() if theirs in schema}
        return repeated, schema, find_columns(schema.names(), left)
    if not metrics:
        raise SchemaError(
            "the table has neither a value column (value, score) nor a numeric column named like a metric; its "
            f'columns are {", ".join(schema.names())}. Say which holds the score: columns={{"yours": "value"}} '
            "or --columns yours=value"
        )
    if "metric" in found:
        raise SchemaError(
            f"the table has a column {found['metric']!r}, but no column of scores (value, score); "
            f"{', '.join(metrics)} beside it would be others. Say which holds the score: "
            'columns={"yours": "value"} or --columns yours=value'
        )
    index = [name for name in schema.names() if name not in metrics]
    frame = (
        frame.with_columns(pl.col(metrics).cast(pl.Float64))
        .unpivot(on=metrics, index=index, variable_name="metric", value_name="value")
        .filter(pl.col("value").is_not_null())
    )
    schema = frame.collect_schema()
    return frame, schema, find_columns(schema.names(), columns)


def _repeated(
    frame: pl.LazyFrame, schema: Mapping[str, pl.DataType], found: Mapping[str, str]
) -> pl.LazyFrame | None:
    """Instances with several samples: a row for each outcome of a list, or shares of right ones with ``n_samples``.

    Lists win over counts, as they say more. None where a table has neither.
    """
    if "instance_id" not in found:
        return None
    by_bare = {_bare(name): name for name in reversed(list(schema))}
    taken = {theirs for our, theirs in found.items() if our != "n"}

    def named(our: str) -> str | None:
        if our in found:
            return found[our]
        names = (by_bare[name] for name in _REPEATED[our] if name in by_bare)
        return next((name for name in names if name not in taken), None)

    outcomes = named("outcomes")
    if outcomes is not None and isinstance(schema[outcomes], (pl.List, pl.Array)):
        table = frame.with_columns(
            pl.col(outcomes).cast(pl.List(pl.Float64)).alias("value"),
            pl.int_ranges(0, pl.col(outcomes).cast(pl.List(pl.Float64)).list.len(), dtype=pl.Int32).alias(
                "repeat"
            ),
        )
        table = (table if outcomes == "value" else table.drop(outcomes)).explode("value", "repeat")
    else:
        right, all_ = named("n_correct"), named(N_SAMPLES)
        if right is None or all_ is None or not (schema[right].is_numeric() and schema[all_].is_numeric()):
            return None
        share = pl.when(pl.col(all_) > 0).then(pl.col(right).cast(pl.Float64) / pl.col(all_))
        table = frame.with_columns(share.alias("value"), pl.col(all_).cast(pl.Int64).alias(N_SAMPLES))
    return table if "metric" in found else table.with_columns(pl.lit(_RIGHT).alias("metric"))


def _cast(our: str, theirs: str, dtype: pl.DataType) -> pl.Expr:
    column = pl.col(theirs)
    if our in ("params", "params_nonembedding") and dtype == pl.String:
        return column.map_batches(sizes_or_raise, return_dtype=pl.Int64, is_elementwise=True).alias(our)
    if our == "seed" and dtype == pl.String:
        # A seed may be a name: `default` is 1 and `small-aux-2` is 2, as in revisions; other names are ranked.
        number = (
            pl.when(column == "default").then(1).otherwise(column.str.extract(r"(\d{1,18})$").cast(pl.Int64))
        )
        ranked = column.rank("dense").cast(pl.Int64) - 1
        return (
            pl.when((number.is_not_null() | column.is_null()).all()).then(number).otherwise(ranked).alias(our)
        )
    target = COLUMNS.get(our, pl.Int64())
    if our in _PLACES and dtype.is_float():
        # NaN is how pandas says missing; as a place in training it would compare equal to nothing, itself included.
        return column.fill_nan(None).cast(target).alias(our)
    if dtype.is_nested() or (dtype.is_temporal() and target != pl.String):
        raise SchemaError(
            f"{our}: column {theirs!r} holds {dtype}, not {'text' if target == pl.String else 'numbers'}; cast it "
            f'first, or declare another column with columns={{"yours": "{our}"}}'
        )
    if target == pl.Int64 and dtype.is_float():
        whole = partial(_whole_or_raise, our=our, theirs=theirs)
        return column.fill_nan(None).map_batches(whole, return_dtype=target).alias(our)
    return column.cast(target).alias(our)


def _whole_or_raise(numbers: pl.Series, *, our: str, theirs: str) -> pl.Series:
    """Cutting off a fraction would make two checkpoints, sizes or seeds one."""
    broken = numbers.filter(numbers != numbers.floor())
    if len(broken):
        raise SchemaError(
            f"{our}: column {theirs!r} holds {broken[0]!r}, which is no whole number; scale it first, or declare "
            f'another column with columns={{"yours": "{our}"}}'
        )
    return numbers.cast(pl.Int64)


def sizes_or_raise(texts: pl.Series) -> pl.Series:
    """A table of millions of rows has a handful of sizes: each is read once."""
    known = {text: _size_or_raise(text) for text in texts.unique().drop_nulls()}
    return texts.replace_strict(known, default=None, return_dtype=pl.Int64)


def _size_or_raise(text: str) -> int:
    size = parse_size(text)
    if size is None:
        raise SchemaError(
            f"params: cannot read the size {text!r}; write a count (1400000000) or a size (1.4B)"
        )
    return size


def _named_steps(theirs: str, *, with_revision: bool) -> list[pl.Expr]:
    """`step143000` or `main` in a step column: the number is the step, the text the revision."""
    text = pl.col(theirs).str.strip_chars()
    grouped = text.str.contains(r"^\d{1,3}(,\d{3})+$")
    number = (
        pl.when(grouped).then(text.str.replace_all(",", "")).otherwise(text).cast(pl.Float64, strict=False)
    )
    number = pl.when(number.is_finite()).then(number)
    whole = pl.when(number == number.round()).then(number).cast(pl.Int64, strict=False)
    pattern = r"(?i)^(?:.*?(?:step|iter|ckpt|checkpoint)[-_=]?|ba)?0*(\d+)(?:[^\d].*)?$"
    named = text.str.extract(pattern, 1).cast(pl.Int64, strict=False)
    thousands = text.str.contains(r"(?i)^(?:.*?(?:step|iter|ckpt|checkpoint)[-_=]?)?\d+k(?:[^0-9a-z]|$)")
    named = pl.when(thousands).then(named * 1000).otherwise(named)
    step = pl.when(number.is_not_null()).then(whole).otherwise(named).alias("step")
    if not with_revision:
        return [step]
    return [step, pl.when(number.is_null()).then(pl.col(theirs)).alias("revision")]


def _config(schema: pl.Schema, found: Mapping[str, str]) -> pl.Expr | None:
    taken = set(found.values())
    by_bare = {_bare(name): name for name in reversed(schema.names()) if name not in taken}
    pairs: dict[str, str] = {}
    for theirs, label in CONFIG_PARTS:
        if theirs in by_bare and label not in pairs:
            pairs[label] = by_bare[theirs]
    if not pairs:
        return None
    parts = [
        pl.concat_str(pl.lit(f"{label}="), _setting(theirs, schema[theirs]))
        for label, theirs in sorted(pairs.items())
    ]
    joined = pl.concat_str(parts, separator=",", ignore_nulls=True)
    return pl.when(joined == "").then(None).otherwise(joined).alias("config")


def _setting(theirs: str, dtype: pl.DataType) -> pl.Expr:
    """A setting as text; a count that became a float beside missing values is written as the count it is."""
    column = pl.col(theirs)
    if not dtype.is_float():
        return column.cast(pl.String)
    column = column.fill_nan(None)
    return (
        pl.when(column == column.round())
        .then(column.cast(pl.Int64, strict=False).cast(pl.String))
        .otherwise(column.cast(pl.String))
    )


def is_config_part(name: str) -> bool:
    """Whether a column of this name becomes a part of `config` where the table has none."""
    return _bare(name) in dict(CONFIG_PARTS)


def config_sources(names: Iterable[str]) -> dict[str, str]:
    """Columns that a filter may name in place of a part of `config`: ``{their name: label in config}``."""
    labels = dict(CONFIG_PARTS)
    return {name: labels[_bare(name)] for name in names if _bare(name) in labels}


def predicate(filters: pl.Expr | str | None, argument: str, schema: pl.Schema) -> pl.Expr | None:
    """A filter as an expression, checked to be one on this table.

    Parameters
    ----------
    filters
        A Polars expression, or a Polars SQL predicate such as ``"params >= 1e9 AND metric = 'acc'"``.
    argument
        Name of the argument, for the message.
    schema
        Columns of the table and their dtypes.
    """
    if filters is None:
        return None
    expression = as_expression(filters, argument)
    for name in expression.meta.root_names():
        if name not in schema:
            raise SchemaError(
                f"{argument}: the table has no column {name!r}{did_you_mean(name, schema)} "
                f"(it has {', '.join(schema)})"
            )
    try:
        # On no rows rather than on the schema alone, which lets a number be compared with a text (0.05 ms).
        found = pl.DataFrame(schema=schema).select(expression).dtypes
    except pl.exceptions.PolarsError as error:
        detail = str(error).split("\n")[0]
        raise OptionError(f"{argument}: {filters!s} does not fit the table's dtypes ({detail})") from None
    if found != [pl.Boolean()]:
        raise OptionError(
            f"{argument} must be true or false for each row, but {filters!s} is "
            f"{', '.join(str(dtype) for dtype in found)}; write it like \"params >= 1e9 AND metric = 'acc'\""
        )
    return expression


def as_expression(filters: pl.Expr | str, argument: str) -> pl.Expr:
    """A filter as an expression, before the table is known."""
    if isinstance(filters, pl.Expr):
        return filters
    if not isinstance(filters, str):
        raise OptionError(
            f"{argument} must be a Polars expression or a SQL predicate, got {type(filters).__name__}"
        )
    # Chains of operators become as deep in Polars, whose stack ends somewhere, and with it the process.
    operators = len(_SQL_OPERATOR.findall(_SQL_TEXT.sub("''", filters)))
    if operators > _MOST_OPERATORS:
        raise OptionError(
            f"{argument}: the predicate has {operators} operators, and {_MOST_OPERATORS} are allowed; "
            "write a list of names as task IN ('a', 'b')"
        )
    try:
        expression = pl.sql_expr(filters)
    except Exception as error:
        raise OptionError(
            f"{argument}: cannot read {filters!r} as a SQL predicate ({error}); "
            "write it like \"params >= 1e9 AND metric = 'acc'\""
        ) from None
    if any(name.startswith("_POLARS_TMP_SQL") for name in expression.meta.root_names()):
        raise OptionError(f"{argument}: {filters!r} has a query inside; a predicate looks at one row")
    return expression


_MOST_OPERATORS = 300
_SQL_TEXT = re.compile(r"'[^']*'|\"[^\"]*\"")
_SQL_OPERATOR = re.compile(
    r"[-+*/%|<>=~^&!:\[(]+|\b(?:and|or|not|is|like|between|case|when|collate)\b", re.IGNORECASE
)
