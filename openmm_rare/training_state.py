"""The whole state of a training as a dictionary of arrays: model tensors and the moments of Adam."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from .committor import CommittorModel

__all__ = ["set_training_state", "training_state"]

_MODEL = "model/"


def training_state(model: CommittorModel, optimizer: torch.optim.Optimizer) -> dict[str, np.ndarray]:
    """Copies of model tensors and optimizer moments, named ``model/...`` and ``adam/...``."""
    arrays = {f"{_MODEL}{name}": value for name, value in model.tensors().items()}
    for index, moments in optimizer.state_dict()["state"].items():
        for name, value in moments.items():
            arrays[f"adam/{index}/{name}"] = value.detach().numpy().copy()
    return arrays


def set_training_state(model: CommittorModel, optimizer: torch.optim.Optimizer, arrays: Mapping[str, np.ndarray]) -> None:
    """Restore what :func:`training_state` returned."""
    model.set_tensors({key[len(_MODEL) :]: value for key, value in arrays.items() if key.startswith(_MODEL)})
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in arrays.items():
        if key.startswith("adam/"):
            _, index, name = key.split("/")
            state.setdefault(int(index), {})[name] = torch.tensor(np.asarray(value))  # a copy: Adam works in place
    full = optimizer.state_dict()
    full["state"] = state
    optimizer.load_state_dict(full)
