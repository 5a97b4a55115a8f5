"""Text of others on the terminal: it shows, and commands nothing."""

from __future__ import annotations

__all__ = ["printable"]


def printable(text: str) -> str:
    """The text with all that a terminal would obey, or would not show, spelled out; ends of lines stay.

    Control characters move the cursor, and others turn the direction of writing: names in files of others may have them.
    """
    if text.isprintable():
        return text
    return "".join(
        each if each == "\n" or each.isprintable() else each.encode("unicode_escape").decode("ascii") for each in text
    )
