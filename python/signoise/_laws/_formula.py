"""From a formula to steps that the kernels carry out.

``"E + A * params**-alpha"`` is parsed as a Python expression of numbers, ``+ - * / **``, `FUNCTIONS`, variables
(columns of data) and parameters. Powers become exponentials of logarithms, products of exponentials one, so that
nothing overflows on the way and each term costs one exponential. What depends on data alone is computed once, by
NumPy, and becomes a column.
"""

from __future__ import annotations

import ast
import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._errors import OptionError

#: What a formula may call, and its number of arguments.
FUNCTIONS = {"exp": 1, "log": 1, "sqrt": 1, "sigmoid": 1, "softplus": 1, "tanh": 1, "maximum": 2}

#: A formula may come from anybody: characters, levels, and steps once powers are written out.
_LONGEST, _DEEPEST, _LARGEST = 5000, 100, 20_000

#: Numbers of the operations in the kernels.
_OPS = {
    "constant": 0,
    "parameter": 1,
    "column": 2,
    "neg": 10,
    "exp": 11,
    "log": 12,
    "sigmoid": 13,
    "softplus": 14,
    "add": 20,
    "sub": 21,
    "mul": 22,
    "div": 23,
    "maximum": 24,
}

#: An operation with its operands: ("add", left, right), ("constant", 2.0), ("variable", "params"), ("parameter", 0).
Node = tuple[Any, ...]
Steps = tuple[NDArray[np.uint8], NDArray[np.uint32], NDArray[np.uint32], NDArray[np.float64]]


@dataclass(frozen=True)
class Program:
    """A formula ready for the kernels."""

    steps: Steps
    """Operations, left and right operands, constants: an entry a step."""
    columns: tuple[Node, ...]
    """What the data columns are, in terms of variables."""
    linear: NDArray[np.bool_]
    """Parameters in which the value is linear, all others held."""

    def data(self, variables: Mapping[str, NDArray[np.float64]], n: int) -> NDArray[np.float64]:
        """The data columns at n points, row by row."""
        with np.errstate(all="ignore"):  # what comes out not finite is for the caller to judge
            rows = [np.broadcast_to(_evaluate(node, variables), n) for node in self.columns]
        return np.array(rows, dtype=np.float64).reshape(len(rows), n)


@functools.lru_cache(maxsize=256)
def parse(
    formula: str, variables: tuple[str, ...], parameters: tuple[str, ...], transforms: tuple[str, ...]
) -> Program:
    """Read a formula; names are those of variables and parameters.

    `transforms` says how a parameter comes from what is fitted: ``"log"`` is its exponential, ``"logit"`` its sigmoid,
    ``"softplus"`` its softplus.
    """
    if len(formula) > _LONGEST:
        raise OptionError(f"the formula has {len(formula)} characters; {_LONGEST} are allowed")
    try:
        tree = ast.parse(formula, mode="eval").body
    except SyntaxError as error:
        raise OptionError(
            f"formula {formula!r} cannot be read: {error.msg} at character {error.offset}"
        ) from None
    except (ValueError, RecursionError, MemoryError) as error:  # a zero byte, or too deep
        raise OptionError(f"formula {formula!r} cannot be read: {error or 'it is nested too deep'}") from None
    _check_size(tree, formula)
    names: dict[str, Node] = {name: ("variable", name) for name in variables}
    made: dict[str, Callable[[Node], Node]] = {"log": _exp, "logit": _sigmoid, "softplus": _softplus}
    for index, (name, transform) in enumerate(zip(parameters, transforms, strict=True)):
        names[name] = made.get(transform, _same)(("parameter", index))
    root = _read(tree, names, formula)
    unused = [name for index, name in enumerate(parameters) if not _uses(root, ("parameter", index))]
    if unused:
        raise OptionError(
            f"formula {formula!r} does not use the parameter {unused[0]!r}; take it out or write it in"
        )
    return _program(root, len(parameters))


def _check_size(tree: ast.expr, formula: str) -> None:
    """Refuse what would take long: powers write their base out, so that a short formula may stand for a huge one."""

    def size(part: ast.AST, depth: int) -> int:
        if depth > _DEEPEST:
            raise OptionError(f"formula {formula!r} is nested too deep; {_DEEPEST} levels are allowed")
        inside = [
            size(child, depth + 1) for child in ast.iter_child_nodes(part) if isinstance(child, ast.expr)
        ]
        times = 4 if isinstance(part, ast.BinOp) and isinstance(part.op, ast.Pow) else 1
        return 1 + times * sum(inside)

    if (steps := size(tree, 0)) > _LARGEST:
        raise OptionError(f"formula {formula!r} has powers of powers, {steps} steps; {_LARGEST} are allowed")


def _read(tree: ast.expr, names: Mapping[str, Node], formula: str) -> Node:
    def read(part: ast.expr) -> Node:
        return _read(part, names, formula)

    match tree:
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
            try:
                return ("constant", float(value))
            except OverflowError:
                raise OptionError(f"formula {formula!r} holds a number that is too large") from None
        case ast.Name(id=name):
            if name not in names:
                known = ", ".join(names)
                raise OptionError(f"formula {formula!r} has the unknown name {name!r}; known: {known}")
            return names[name]
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return _neg(read(operand))
        case ast.UnaryOp(op=ast.UAdd(), operand=operand):
            return read(operand)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            return _BINARY[type(op)](read(left), read(right))
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in FUNCTIONS:
            if len(arguments) != FUNCTIONS[name]:
                raise OptionError(
                    f"formula {formula!r}: {name} takes {FUNCTIONS[name]} argument(s), got {len(arguments)}"
                )
            return _CALLS[name](*map(read, arguments))
    text = ast.unparse(tree)
    raise OptionError(
        f"formula {formula!r} holds {text!r}; it may hold numbers, names, + - * / ** and {', '.join(FUNCTIONS)}"
    )


# --- nodes, simplified as they are made -------------------------------------------------------------


def _number(node: Node) -> float | None:
    return node[1] if node[0] == "constant" else None


def _same(a: Node) -> Node:
    return a


def _neg(a: Node) -> Node:
    if (x := _number(a)) is not None:
        return ("constant", -x)
    return a[1] if a[0] == "neg" else ("neg", a)


def _add(a: Node, b: Node) -> Node:
    x, y = _number(a), _number(b)
    if x is not None and y is not None:
        return ("constant", x + y)
    if x == 0:
        return b
    if y == 0:
        return a
    if b[0] == "neg":
        return _sub(a, b[1])
    return _sub(b, a[1]) if a[0] == "neg" else ("add", a, b)


def _sub(a: Node, b: Node) -> Node:
    x, y = _number(a), _number(b)
    if x is not None and y is not None:
        return ("constant", x - y)
    if y == 0:
        return a
    if x == 0:
        return _neg(b)
    return _add(a, b[1]) if b[0] == "neg" else ("sub", a, b)


def _mul(a: Node, b: Node) -> Node:
    x, y = _number(a), _number(b)
    if x is not None and y is not None:
        return ("constant", x * y)
    if x == 1:
        return b
    if y == 1:
        return a
    if a[0] == "neg" or x == -1:
        return _neg(_mul(a[1], b) if a[0] == "neg" else b)
    if b[0] == "neg" or y == -1:
        return _neg(_mul(a, b[1]) if b[0] == "neg" else a)
    if a[0] == b[0] == "exp":
        return _exp(_add(a[1], b[1]))
    # The exponential moves to the end of a product, where it meets the next one.
    if a[0] == "mul" and a[2][0] == b[0] == "exp":
        return _mul(a[1], _mul(a[2], b))
    return ("mul", b, a) if a[0] == "exp" else ("mul", a, b)


def _div(a: Node, b: Node) -> Node:
    x, y = _number(a), _number(b)
    if x is not None and y is not None and y != 0:
        return ("constant", x / y)
    if y is not None and y != 0:
        return _mul(a, ("constant", 1 / y))
    if b[0] == "exp":
        return _mul(a, _exp(_neg(b[1])))
    if b[0] == "neg":
        return _neg(_div(a, b[1]))
    return _neg(_div(a[1], b)) if a[0] == "neg" else ("div", a, b)


def _exp(a: Node) -> Node:
    if (x := _number(a)) is not None and x < 700:
        return ("constant", math.exp(x))
    return a[1] if a[0] == "log" else ("exp", a)


def _log(a: Node) -> Node:
    if (x := _number(a)) is not None and x > 0:
        return ("constant", math.log(x))
    if a[0] == "mul" and a[2][0] == "exp":
        return _add(_log(a[1]), a[2][1])
    if a[0] == "div" and a[1][0] == "exp":
        return _sub(a[1][1], _log(a[2]))
    return a[1] if a[0] == "exp" else ("log", a)


def _pow(a: Node, b: Node) -> Node:
    x, y = _number(a), _number(b)
    if y == 0:
        return ("constant", 1.0)
    if y == 1:
        return a
    if y is not None and y.is_integer() and 2 <= y <= 4 and a[0] != "exp":
        return _mul(a, _pow(a, ("constant", y - 1)))
    if y == -1:
        return _div(("constant", 1.0), a)
    if x is not None and y is not None and x > 0 and y * math.log(x) < 700:
        return ("constant", x**y)
    return _exp(_mul(b, _log(a)))


def _sigmoid(a: Node) -> Node:
    return ("sigmoid", a)


def _softplus(a: Node) -> Node:
    return ("softplus", a)


def _sqrt(a: Node) -> Node:
    return _pow(a, ("constant", 0.5))


def _tanh(a: Node) -> Node:
    return _sub(_mul(("constant", 2.0), _sigmoid(_mul(("constant", 2.0), a))), ("constant", 1.0))


def _maximum(a: Node, b: Node) -> Node:
    return ("maximum", a, b)


_BINARY: dict[type[ast.operator], Callable[[Node, Node], Node]] = {
    ast.Add: _add,
    ast.Sub: _sub,
    ast.Mult: _mul,
    ast.Div: _div,
    ast.Pow: _pow,
}
_CALLS: dict[str, Callable[..., Node]] = {
    "exp": _exp,
    "log": _log,
    "sqrt": _sqrt,
    "sigmoid": _sigmoid,
    "softplus": _softplus,
    "tanh": _tanh,
    "maximum": _maximum,
}


# --- from nodes to steps ---------------------------------------------------------------------------


def _children(node: Node) -> tuple[Node, ...]:
    return () if node[0] in ("constant", "variable", "parameter") else node[1:]


def _uses(node: Node, what: Node) -> bool:
    return node == what or any(_uses(child, what) for child in _children(node))


def _free_of_parameters(node: Node) -> bool:
    return node[0] != "parameter" and all(map(_free_of_parameters, _children(node)))


def _program(root: Node, n_parameters: int) -> Program:
    columns: list[Node] = []
    place: dict[Node, int] = {}
    rows: list[tuple[int, int, int, float]] = []

    def step(node: Node) -> int:
        if node not in place:
            if node[0] == "constant":
                row = (_OPS["constant"], 0, 0, node[1])
            elif node[0] == "parameter":
                row = (_OPS["parameter"], node[1], 0, 0.0)
            elif _free_of_parameters(node):
                columns.append(node)
                row = (_OPS["column"], len(columns) - 1, 0, 0.0)
            else:
                operands = [step(child) for child in _children(node)]
                row = (_OPS[node[0]], operands[0], operands[-1], 0.0)
            rows.append(row)
            place[node] = len(rows) - 1
        return place[node]

    step(root)
    ops, left, right, constants = zip(*rows, strict=True)
    steps = (
        np.array(ops, dtype=np.uint8),
        np.array(left, dtype=np.uint32),
        np.array(right, dtype=np.uint32),
        np.array(constants, dtype=np.float64),
    )
    linear, other = _linear(root)
    mask = np.zeros(n_parameters, dtype=bool)
    mask[sorted(linear - other)] = True
    return Program(steps, tuple(columns), mask)


def _linear(node: Node) -> tuple[frozenset[int], frozenset[int]]:
    """Parameters in which a node is linear (all at once), and those that come in otherwise."""
    nothing: frozenset[int] = frozenset()
    if node[0] == "parameter":
        return frozenset({node[1]}), nothing
    parts = [_linear(child) for child in _children(node)]
    every = nothing.union(*(linear | other for linear, other in parts))
    other = nothing.union(*(other for _, other in parts))
    if node[0] in ("add", "sub", "neg"):
        return nothing.union(*(linear for linear, _ in parts)), other
    if node[0] == "mul" and not all(linear for linear, _ in parts):
        return parts[0][0] | parts[1][0], other
    if node[0] == "div":
        return parts[0][0], other | parts[1][0]
    return nothing, every


def _evaluate(node: Node, variables: Mapping[str, NDArray[np.float64]]) -> Any:
    if node[0] == "constant":
        return node[1]
    if node[0] == "variable":
        return variables[node[1]]
    return _NUMPY[node[0]](*(_evaluate(child, variables) for child in _children(node)))


_NUMPY: dict[str, Callable[..., Any]] = {
    "neg": np.negative,
    "exp": np.exp,
    "log": np.log,
    "sigmoid": lambda x: np.exp(-np.logaddexp(0.0, -x)),
    "softplus": lambda x: np.logaddexp(0.0, x),
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "maximum": np.maximum,
}
