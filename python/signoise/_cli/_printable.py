"""Names from files on their way to a terminal: they must not steer it."""

from __future__ import annotations


def printable(text: str, keep: str = "") -> str:
    """A text with blanks in place of what is not to be seen: escape sequences, ends of lines, marks of direction."""
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() or letter in keep else " " for letter in text)


def printable_lines(text: str) -> str:
    """The same of several lines."""
    return printable(text, keep="\n")
