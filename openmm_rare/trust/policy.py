"""Whose code may run: what a configuration names is code, and what it names must be the user's own or trusted."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["HOW_TO_TRUST", "NO_CODE", "Trust"]

HOW_TO_TRUST: str = "if you trust whoever made it, give --trust (in Python trust=True)"
"""The end of a message that refuses code."""


@dataclass(frozen=True)
class Trust:
    """What may run of the code that somebody's files name or hold.

    Attributes
    ----------
    folder : str or None
        Modules whose files lie in this folder, or below it, may be imported, links resolved; None: no module.
    packages : tuple of str
        Installed packages that may be imported, too.
    everything : bool
        Everything may run, also what a System holds.
    """

    folder: str | None = None
    packages: tuple[str, ...] = ()
    everything: bool = False


NO_CODE: Trust = Trust()
"""For whoever only reads numbers: nothing runs."""
