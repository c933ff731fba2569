"""HTML as text in which nothing from a score table can be anything but text."""

from __future__ import annotations

import html
from typing import Any

#: Elements without an end tag.
_VOID = frozenset({"meta", "input", "col", "br"})


class Markup(str):
    """Text that is HTML already; everything else is escaped where it joins some."""

    __slots__ = ()


def text(value: Any) -> Markup:
    """A value as text: escaped, without letters that control anything."""
    if isinstance(value, Markup):
        return value
    found = str(value)
    if not found.isprintable():
        found = "".join(letter if letter.isprintable() or letter == "\n" else " " for letter in found)
    return Markup(html.escape(found, quote=True))


def join(*children: Any) -> Markup:
    """Children one after the other; None is left out."""
    return Markup("".join(text(child) for child in children if child is not None))


def tag(name: str, /, *children: Any, **attributes: Any) -> Markup:
    """An element. Attributes: `class_` is ``class``, `data_x` is ``data-x``; None and False are left out, True is bare.

    Examples
    --------
    >>> tag("p", "1 < 2", class_="note", hidden=True)
    '<p class="note" hidden>1 &lt; 2</p>'
    """
    parts = [name]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        word = key.rstrip("_").replace("_", "-")
        parts.append(word if value is True else f'{word}="{text(value)}"')
    opened = Markup(f"<{' '.join(parts)}>")
    return opened if name in _VOID else Markup(f"{opened}{join(*children)}</{name}>")


def data_block(content: str, *, id_: str, kind: str) -> Markup:
    """Text for scripts to read, such as CSV: never run, and unable to end its element early."""
    safe = content.replace("\\", "\\\\").replace("<", "\\u003c")
    return Markup(f'<script type="{kind}" id="{text(id_)}">{safe}</script>')
