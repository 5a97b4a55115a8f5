"""Files of models, which somebody else may have made: read only as far as their own size, and as numbers that can be right."""

from __future__ import annotations

import io
import json
import math
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ..descriptors.build import build_descriptor, most_numbers
from ..io.files import npy_array
from ..io.regular_file import regular_file

__all__ = ["read_model_file", "require_bounded", "require_tensors"]

_MOST_ATOMS = 10**7
_LARGEST = 1e15  # of single precision, whose products with each other are to stay finite
_MOST_NUMBERS = 5e7  # that a descriptor keeps: 200 MB


def read_model_file(source: str | Path | BinaryIO) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Metadata and tensors of a model. Nothing is unpacked that is longer than what is in the file.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is no archive of plain arrays as models are written, compressed, or damaged.
    """
    content = regular_file(source).read_bytes() if isinstance(source, str | Path) else source.read()
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = archive.infolist()
        _require(len({member.filename for member in members}) == len(members), "an array is there twice")
        _require(
            all(member.compress_type == zipfile.ZIP_STORED for member in members), "it is compressed, which models are not"
        )
        _require(sum(member.file_size for member in members) <= len(content), "it claims to hold more than its own size")
        _require(all(member.filename.endswith(".npy") for member in members), "it holds something else than arrays")
        arrays = {member.filename.removesuffix(".npy"): npy_array(archive.read(member), member.filename) for member in members}
    text = arrays.pop("metadata", None)
    _require(text is not None and text.shape == () and text.dtype.kind == "U", "it has no metadata")
    try:
        metadata = json.loads(str(text))
    except RecursionError:
        raise ValueError("its metadata lie too deep within each other") from None
    _require(isinstance(metadata, dict), "its metadata are no table")
    return metadata, arrays


def require_bounded(metadata: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> None:
    """Refuse metadata of a model that would be larger than its tensors, before it is built.

    Raises
    ------
    ValueError
    """
    members = metadata.get("members", [metadata])
    _require(isinstance(members, list) and 0 < len(members) <= max(len(tensors), 1), "members are no list, or too many")
    n_numbers, lengths = sum(each.size for each in tensors.values()), set()
    for member in members:
        _require(isinstance(member, dict), "a member has no metadata")
        n_numbers -= _n_weights(member, len(tensors))
        lengths.add(_n_features(member))
    _require(n_numbers >= 0, "its layers are wider than its tensors")
    means = {each.size for name, each in tensors.items() if name.rpartition(".")[2] == "feature_mean"}
    _require(means == lengths, f"its descriptor has {sorted(lengths)} features, its tensors are of {sorted(means)}")


def _n_weights(member: Mapping[str, Any], n_tensors: int) -> int:
    """At least so many numbers has a network of these hidden layers."""
    hidden, network = member["hidden"], member.get("network") or {}
    _require(
        isinstance(hidden, list) and all(type(width) is int and width > 0 for width in hidden), "hidden is no list of widths"
    )
    _require(len(hidden) <= n_tensors, "it has more layers than tensors")
    outputs = member.get("state_names", ["B"])
    _require(isinstance(outputs, list) and all(isinstance(name, str) for name in outputs), "state_names is no list of names")
    _require(isinstance(network, dict), "network is no table")
    widths = [*hidden, len(outputs)] if hidden else []
    within = sum(width**2 for width in hidden) if network.get("kind") == "residual" else 0
    return within + sum(hidden) + sum(one * other for one, other in zip(widths[:-1], widths[1:], strict=True))


def _n_features(member: Mapping[str, Any]) -> int:
    """How many features the descriptor has, which must be possible."""
    n_atoms, temperature, spec = member["n_atoms"], member["temperature_k"], member["descriptor"]
    _require(type(n_atoms) is int and 0 < n_atoms <= _MOST_ATOMS, f"n_atoms = {n_atoms!r} is no number of atoms")
    _require(
        type(temperature) in (int, float) and 0.0 < temperature < math.inf, f"temperature_k = {temperature!r} is no temperature"
    )
    _require(isinstance(member["fingerprint"], str), "fingerprint is no text")
    interval = member.get("check_interval", 1)
    _require(type(interval) is int and interval > 0, f"check_interval = {interval!r} is no number of steps")
    _require(isinstance(spec, dict), "descriptor is no table")
    _require(most_numbers(spec, n_atoms) <= _MOST_NUMBERS, "its descriptor takes too much memory")
    return build_descriptor(spec, n_atoms).n_features


def require_tensors(tensors: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]) -> None:
    """Refuse tensors of other names, shapes or types than a model has, and numbers that cannot be right.

    Raises
    ------
    ValueError
    """
    other = sorted(set(tensors) ^ set(expected))
    _require(not other, f"the tensors {other[:3]} are missing or unknown")
    for name, own in expected.items():
        found = tensors[name]
        same = found.shape == own.shape and found.dtype == own.dtype
        _require(same, f"{name} is {found.dtype}{list(found.shape)}, not {own.dtype}{list(own.shape)}")
        _require(own.dtype.kind != "f" or np.isfinite(found).all(), f"{name} has values that are not finite")
        _require(own.dtype.kind != "f" or (np.abs(found) < _LARGEST).all(), f"{name} has values that overflow")
        _require(name.rpartition(".")[2] != "feature_scale" or (found > 0.0).all(), f"{name} must be positive")


def _require(fine: bool | np.bool_, what: str) -> None:
    if not fine:
        raise ValueError(what)
