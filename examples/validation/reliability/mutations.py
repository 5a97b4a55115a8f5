"""Random changes to the text of configurations, Systems and structures, to the bytes of files, and to saved models."""

from __future__ import annotations

import copy
import io
import json
import math
import random
import re
import tomllib
import zipfile
from typing import Any

import numpy as np

__all__ = ["bytes_changed", "configuration", "model", "structure", "toml_text", "xml"]

VALUES: tuple[Any, ...] = (
    *(0, -1, 1, 2**31, 2**63, -(2**63), 10**30, 1e308, -1e-308, math.inf, -math.inf, math.nan, 0.0, -0.0, 1e-320, True, False),
    *"300 0x10 a:b:c os:system os: :x os.path:join json:loads no_module:f mine:build mine:inside mine:values mine all".split(),
    *"lj7 jung_42d Reference CUDA native /dev/zero /dev/null /proc/self/mem ../../etc/passwd . system.xml start.pdb".split(),
    *"|  |300 K|nan K|inf ps|-5 fs|1e999 K|0 K|300 kelvin|0x10 K|\u0661 K|1_000 K|\u0000|resname ALA and name CA".split("|"),
    *("a" * 5000, [], [[]], [1], [1, 2, 3, 4, 5], [0, 0, 0, 0], [-1, 0, 1, 2], [10**9] * 4, [10**7], [10**7] * 3, ["name CA"]),
    *(["a"], [math.nan] * 2, ["180 deg", "-180 deg"], [True, False], [[1, 2, 3]], [[math.inf] * 3] * 3, [[0, 0, 0]] * 3),
    *({}, {"x": 1}, {"phi": 3}, {"phi": [1, 2]}, [{}], [{"to": "x"}], {"center": {}, "radius": 1}),
    *({"center": {"phi": 0}, "radius": -1}, {"center": {"phi": 0}, "radius": "1 rad"}),
)
KEYS: tuple[str, ...] = (
    *"name builder xml pdb parameters temperature friction timestep num_dimensions check_interval inertial import".split(),
    *"descriptor type atoms range disc function box coefficients kind columns scale radius atom axis order".split(),
    *"target_error seed platform method hidden strengths window_powers trials selector members dropout network".split(),
    *"folder system variables states sampling path_sampling channels names rules arrival barrier radius_a".split(),
    *("", "a.b", "\u00fc", "__class__", "self"),
)
NUMBERS: tuple[str, ...] = (
    *"0 -1 1 2 3 7 32 1000 1000000 2147483647 -2147483648 2147483648 99999999999999999999 1e9 1.5 -0".split(),
    *("nan", "inf", "-inf", "1e308", "-1e308", "1e-320", "0x10", "", "abc", " 5", "true"),
)
WORDS: tuple[bytes, ...] = (
    *(b"\xff\xff\xff\x7f", b"\x7f\xff\xff\xff", b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x80\0\0\0", b"\0\0\xc0\x7f"),
    *(b"\0\0\x80\x7f", b"\xff\xff\xff\xff\xff\xff\xff\x7f"),
)
LETTERS = "A0- \x7f\u00e9\u200b\U0001f600"
PDB_PIECES: tuple[bytes, ...] = (
    *(b"nan", b"inf", b"1e99", b"9" * 40, b"MODEL 1\n", b"END\n", b"CONECT    1    9\n", b"HETATM", b"\xff", b"\0"),
    b"CRYST1   10.000   10.000   10.000  90.00  90.00  90.00 P 1           1\n",
)
HEAD = 200  # bytes, changed as often as all others together


def configuration(text: str, rng: random.Random) -> bytes:
    """A configuration with one to three changed entries, or with changed bytes."""
    if rng.random() < 0.35:
        return bytes_changed(text.encode(), rng)
    data = tomllib.loads(text)
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        _change_entry(data, rng)
    return toml_text(data).encode("utf-8", "surrogatepass")


def _change_entry(data: dict, rng: random.Random) -> None:
    places = list(_places(data))
    if not places:
        data[rng.choice(KEYS)] = rng.choice(VALUES)
        return
    table, key = rng.choice(places)
    action, value = rng.random(), table[key]
    if action < 0.55:
        table[key] = copy.deepcopy(rng.choice(VALUES))
    elif action < 0.65:
        del table[key]
    elif action < 0.8:
        table[rng.choice(KEYS)] = copy.deepcopy(rng.choice(VALUES))
    elif action < 0.9:
        table[rng.choice(KEYS)] = table.pop(key)
    elif isinstance(value, list) and value:
        value[rng.randrange(len(value))] = copy.deepcopy(rng.choice(VALUES))
    elif isinstance(value, str) and value:
        place = rng.randrange(len(value))
        table[key] = value[:place] + rng.choice(LETTERS) + value[place + 1 :]
    elif isinstance(value, int | float) and not isinstance(value, bool):
        table[key] = -value if rng.random() < 0.5 else float(value) * 10.0 ** rng.choice([-9, 3, 9, 18])


def _places(table: dict):
    """Every entry of every table."""
    for key, value in table.items():
        yield table, key
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, dict):
                yield from _places(each)


def toml_text(value: Any, top: bool = True) -> str:
    """Any value as TOML, also what no configuration may hold; tables below the first are inline."""
    if isinstance(value, dict):
        entries = [f"{json.dumps(key, ensure_ascii=False)} = {toml_text(each, False)}" for key, each in value.items()]
        return "\n".join(entries) if top else "{ " + ", ".join(entries) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(toml_text(each, False) for each in value) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)


def xml(text: str, rng: random.Random) -> bytes:
    """A serialized System with changed attributes, elements and names."""
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        text = _changed_xml(text, rng)
    return text.encode("utf-8", "surrogatepass")


def _changed_xml(text: str, rng: random.Random) -> str:
    action = rng.random()
    attributes = list(re.finditer(r'\s([A-Za-z0-9_]+)="([^"]*)"', text))
    elements = list(re.finditer(r"<[A-Za-z]+[^<>]*/>", text))
    names = list(re.finditer(r"</?([A-Za-z]+)", text))
    if action < 0.55 and attributes:
        start, end = rng.choice(attributes).span(2)
        return text[:start] + rng.choice(NUMBERS) + text[end:]
    if action < 0.65 and attributes:
        start, end = rng.choice(attributes).span()
        return text[:start] + text[end:]
    if action < 0.8 and elements:
        start, end = rng.choice(elements).span()
        return text[:start] + text[start:end] * rng.choice([0, 2, 50]) + text[end:]
    if action < 0.9 and names:
        start, end = rng.choice(names).span(1)
        return text[:start] + rng.choice(["Force", "Forces", "Particle", "System", "Bond", "x"]) + text[end:]
    if action < 0.95:  # another kind of object
        types = list(re.finditer(r'type="([A-Za-z]+)"', text))
        kinds = ["System", "PythonForce", "HarmonicBondForce", "State", "VerletIntegrator", "CustomIntegrator", "Unknown"]
        if types:
            start, end = rng.choice(types).span(1)
            return text[:start] + rng.choice(kinds) + text[end:]
    return bytes_changed(text.encode(), rng).decode("utf-8", "replace")


def structure(data: bytes, rng: random.Random) -> bytes:
    """A PDB or mmCIF file with changed columns, lines and words."""
    changed = bytearray(data)
    for _ in range(rng.choice([1, 2, 4])):
        place, action = rng.randrange(len(changed)), rng.random()
        if action < 0.4:
            changed[place] = rng.choice(b"0123456789- .\nA*@Zn\x00\xff")
        elif action < 0.6:
            del changed[place : place + rng.randrange(1, 90)]
        elif action < 0.8:
            other = rng.randrange(len(changed))
            changed[place:place] = changed[other : other + rng.randrange(1, 90)]
        else:
            changed[place:place] = rng.choice(PDB_PIECES)
        changed = changed or bytearray(b"x")
    return bytes(changed)


def bytes_changed(data: bytes, rng: random.Random) -> bytes:
    """Bits flipped, the end lost, numbers replaced, bytes lost, doubled or put in."""
    changed, action = bytearray(data), rng.random()
    place = rng.choice([rng.randrange(len(changed)), rng.randrange(min(HEAD, len(changed)))])
    if action < 0.2:
        return bytes(changed[:place])
    if action < 0.6:
        for _ in range(rng.choice([1, 1, 4, 20])):
            changed[rng.choice([place, rng.randrange(len(changed))])] ^= 1 << rng.randrange(8)
    elif action < 0.75:
        word = rng.choice(WORDS)
        changed[place : place + len(word)] = word
    elif action < 0.85:
        del changed[place : place + rng.randrange(1, 40)]
    elif action < 0.95:
        other = rng.randrange(len(changed))
        changed[place:place] = changed[other : other + rng.randrange(1, 60)]
    else:
        changed[place:place] = rng.randbytes(rng.randrange(1, 9))
    return bytes(changed)


def model(data: bytes, rng: random.Random) -> bytes:
    """A saved model with other bytes, or an archive in order with other metadata or another array in it."""
    if rng.random() < 0.3:
        return bytes_changed(data, rng)
    with np.load(io.BytesIO(data), allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    if rng.random() < 0.5:
        metadata = json.loads(str(arrays["metadata"]))
        for _ in range(rng.choice([1, 1, 2])):
            _change_entry(metadata, rng)
        arrays["metadata"] = np.array(json.dumps(metadata))
    else:
        name = rng.choice([each for each in arrays if each != "metadata"])
        arrays[name] = _changed_array(arrays[name], rng)
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue() if rng.random() < 0.9 else _without_a_member(stream.getvalue(), rng)


def _changed_array(array: np.ndarray, rng: random.Random) -> np.ndarray:
    changed = np.array(array)
    kind = rng.randrange(6)
    if kind == 0 and changed.size:
        changed.flat[rng.randrange(changed.size)] = rng.choice([math.nan, math.inf, -math.inf, 3e38])
    elif kind == 1:
        changed = changed.astype(rng.choice(["f2", "f8", "i1", "u8", "c8", "?", "S4"]))
    elif kind == 2:
        changed = changed[..., None]
    elif kind == 3:
        changed = changed.ravel()[: rng.randrange(changed.size + 1)]
    elif kind == 4:
        changed = np.zeros((0, 3), dtype=changed.dtype)
    else:
        changed = np.array(rng.choice(["text", 3, math.nan, True]))
    return changed


def _without_a_member(data: bytes, rng: random.Random) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(stream, "w") as new:
        names = old.namelist()
        lost = rng.choice(names)
        for name in names:
            if name != lost:
                new.writestr(name, old.read(name))
    return stream.getvalue()
