"""Damage to files, as power loss, bad disks and mistakes of people leave it."""

from __future__ import annotations

import random
import re
from pathlib import Path

__all__ = ["KINDS", "damaged"]

KINDS: tuple[str, ...] = ("bit", "bit near an end", "digit", "truncated", "zeros", "appended", "missing", "swapped")
"""A bit flips anywhere, or where headers and indices are; a digit of a header or a text becomes another one; the end is lost;
0.5 to 64 kB become zeros; bytes are appended; the file is missing, or that of another run stands in its place."""

ENDS = 4096
DIGITS = {".npz": rb"'shape': \(([0-9, ]*)\)", ".toml": rb"=([^\n]*)", ".json": rb":([^\n]*)"}
"""Where digits are tried, by the ending of the file."""
APPENDED = 4096
MOST_ZEROS = 1 << 16


def damaged(path: Path, kind: str, other: Path, rng: random.Random) -> str:
    """Damage a file; says how, in words, empty if this kind changes nothing here.

    Parameters
    ----------
    path : Path
    kind : str
        One of :data:`KINDS`.
    other : Path
        The same file of another run; it may not exist.
    rng : random.Random
    """
    data = path.read_bytes()
    if kind == "missing":
        path.unlink()
        return "missing"
    if kind == "swapped":
        if not other.is_file() or other.read_bytes() == data:
            return ""
        path.write_bytes(other.read_bytes())
        return "that of another run"
    if not data:
        return ""
    changed, words = _changed(bytearray(data), kind, path.suffix, rng)
    path.write_bytes(changed)
    return "" if bytes(changed) == data else f"{words} of {len(data)}"


def _changed(data: bytearray, kind: str, suffix: str, rng: random.Random) -> tuple[bytearray, str]:
    size = len(data)
    place = rng.randrange(size)
    if kind == "digit":
        return _other_digit(data, suffix, rng)
    if kind == "bit near an end":
        within = rng.randrange(min(size, ENDS))
        place = rng.choice([within, size - 1 - within])
    if kind.startswith("bit"):
        bit = rng.randrange(8)
        data[place] ^= 1 << bit
        return data, f"bit {bit} of byte {place}"
    if kind == "truncated":
        return data[:place], f"cut to {place} bytes"
    if kind == "appended":
        more = rng.randbytes(rng.randrange(1, APPENDED))
        return data + more, f"{len(more)} bytes after the end"
    length = min(512 << rng.randrange(8), MOST_ZEROS)  # zeros: of blocks, and anywhere
    place = rng.choice([place, place // 512 * 512])
    length = min(length, size - place)
    data[place : place + length] = bytes(length)
    return data, f"{length} zeros from byte {place}"


def _other_digit(data: bytearray, suffix: str, rng: random.Random) -> tuple[bytearray, str]:
    """One digit becomes another by a bit that flips."""
    spans = [match.span(1) for match in re.finditer(DIGITS.get(suffix, b"(?!)"), bytes(data))]
    places = [at for start, end in spans for at in range(start, end) if chr(data[at]).isdigit()]
    if not places:
        return data, ""
    place = rng.choice(places)
    old = data[place]
    data[place] = rng.choice([old ^ (1 << bit) for bit in range(4) if 48 <= old ^ (1 << bit) <= 57])
    return data, f"digit {chr(old)} -> {chr(data[place])} at byte {place}"
