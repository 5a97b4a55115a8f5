"""Learned actions as files: plain arrays and plain text, nothing that could run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..io.checksums import naming_damage
from ..io.files import read_npz, write_npz
from .features.pair_features import PairFeatures
from .features.pair_types import PairTypes
from .features.plain_features import PlainFeatures
from .linear_action import LinearAction
from .mlp import Mlp
from .network import ActionNetwork
from .phase_space import PhaseSpace

__all__ = ["SavedAction", "action_of_arrays", "arrays_of_action", "load_action", "save_action"]

_FORMAT = "openmm_rare action 1"
_ADVICE = "train it again with openmm-rare action train --resume"
_LARGEST = 1e15

SavedAction = LinearAction | ActionNetwork


def save_action(path: str | Path, action: SavedAction, space: PhaseSpace, system: str = "") -> None:
    """Write an action to an ``.npz`` file; arguments as for :func:`arrays_of_action`."""
    write_npz(path, arrays_of_action(action, space, system))


def load_action(path: str | Path) -> tuple[SavedAction, PhaseSpace, str]:
    """The action of a file, what its rows mean, and the hash of its System.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it holds no action, or is damaged.
    """
    arrays = read_npz(path, _ADVICE)
    with naming_damage(path, _ADVICE):
        return action_of_arrays(arrays, str(path))


def arrays_of_action(action: SavedAction, space: PhaseSpace, system: str = "") -> dict[str, np.ndarray]:
    """All of an action as plain arrays.

    Parameters
    ----------
    action : LinearAction or ActionNetwork
    space : PhaseSpace
        What its rows mean.
    system : str
        Hash of the System that it was learned for.
    """
    head = {
        "format": _FORMAT,
        "system": system,
        "num_dimensions": space.num_dimensions,
        "features": action.features.spec(),
        "action": action.spec(),
    }
    arrays = {"masses": space.masses, "reference": space.reference}
    base = action if isinstance(action, LinearAction) else action.base
    if base is not None:
        arrays["coefficients"] = base.coefficients
    if isinstance(action, ActionNetwork):
        head["base"] = None if base is None else base.spec()
        arrays |= {"mean": action.mean, "spread": action.spread}
        arrays |= {f"network/{name}": getattr(action.network, name) for name in Mlp.__dataclass_fields__}
    return arrays | {"metadata": np.array(json.dumps(head))}


def action_of_arrays(arrays: Mapping[str, np.ndarray], where: str) -> tuple[SavedAction, PhaseSpace, str]:
    """Inverse of :func:`arrays_of_action`; `where` they are from, for messages.

    Raises
    ------
    ValueError
        If they are no action.
    """
    numbers = dict(arrays)
    text = numbers.pop("metadata", np.array(""))
    head = json.loads(str(text)) if text.dtype.kind == "U" and str(text) else {}
    if not isinstance(head, dict) or head.get("format") != _FORMAT:
        raise InputError(f"{where} holds no learned action: {_ADVICE}")
    for name, array in numbers.items():
        if array.dtype.kind != "f" or not np.isfinite(array).all() or (np.abs(array) > _LARGEST).any():
            raise ValueError(f"{name} has values that cannot be right")
    space = PhaseSpace(numbers["masses"], numbers["reference"], int(head["num_dimensions"]))
    return _action(head, numbers, _features(head["features"], space)), space, str(head["system"])


def _features(spec: Mapping[str, Any], space: PhaseSpace) -> PairFeatures | PlainFeatures:
    if spec["kind"] == "plain":
        return PlainFeatures(spec["scales"], spec["degrees"])
    ranges = (spec[name] for name in ("low", "high", "speeds"))
    return PairFeatures(space, PairTypes.of_spec(spec["types"]), *ranges, spec["basis"], spec["orders"])


def _action(head: Mapping[str, Any], arrays: Mapping[str, np.ndarray], features: PairFeatures | PlainFeatures) -> SavedAction:
    spec = head["action"]
    if spec["kind"] == "linear":
        return _linear(spec, arrays, features)
    base = None if head["base"] is None else _linear(head["base"], arrays, features)
    network = Mlp(*(arrays[f"network/{name}"] for name in Mlp.__dataclass_fields__))
    _require_shape(network.w1, (len(network.b1), features.n_features + 1))
    for name in ("mean", "spread"):
        _require_shape(arrays[name], (features.n_features,))
    own = (spec["unit"], tuple(spec["timesteps"]), spec["timestep"], spec["kernel"], spec["frequency"])
    return ActionNetwork(features, network, arrays["mean"], arrays["spread"], *own, base)


def _linear(spec: Mapping[str, Any], arrays: Mapping[str, np.ndarray], features: PairFeatures | PlainFeatures) -> LinearAction:
    _require_shape(arrays["coefficients"], (features.n_features,))
    return LinearAction(features, arrays["coefficients"], spec["timestep"], spec["kernel"], spec["frequency"])


def _require_shape(array: np.ndarray, shape: tuple[int, ...]) -> None:
    if array.shape != shape:
        raise ValueError(f"an array of shape {array.shape} should be of shape {shape}")
