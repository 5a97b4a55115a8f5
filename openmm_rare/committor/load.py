"""Committor models of any kind: how they are read, and bins of what they say."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import expit

from .base import Committor, naming_model
from .ensemble import CommittorEnsemble
from .model import CommittorModel
from .model_file import read_model_file
from .multistate import MultiStateModel

__all__ = ["committor_bin", "from_parts", "load_committor"]


def load_committor(source: str | Path | bytes, fingerprint: str | None = None) -> Committor:
    """A committor model, an ensemble of them, or one of many states, as it was saved.

    Parameters
    ----------
    source : path or bytes
        A file, or what ``to_bytes`` returned.
    fingerprint : str, optional
        Fingerprint of the system that the model is wanted for.

    Raises
    ------
    ValueError
        If it is no model, is damaged, or belongs to another system or other states.
    """
    name = "what was given" if isinstance(source, bytes) else source
    with naming_model(name, CommittorModel.title):
        metadata, tensors = read_model_file(io.BytesIO(source) if isinstance(source, bytes) else source)
    return from_parts(name, metadata, tensors, fingerprint)


def from_parts(
    name: str | Path, metadata: Mapping[str, Any], tensors: Mapping[str, np.ndarray], fingerprint: str | None = None
) -> Committor:
    """The model that some file holds among other things.

    Parameters
    ----------
    name : str or path
        For messages.
    metadata : mapping
    tensors : mapping of ndarray
    fingerprint : str, optional
        As for :func:`load_committor`.

    Raises
    ------
    ValueError
        As :func:`load_committor`.
    """
    kinds = [kind for kind in (CommittorEnsemble, MultiStateModel) if kind.title in str(metadata.get("format"))]
    return (kinds or [CommittorModel])[0].from_file(name, metadata, tensors, fingerprint)


def committor_bin(logit: np.ndarray, n_bins: int) -> np.ndarray:
    """Which of so many equal bins of the committor, from 0 to 1, each logit belongs to."""
    return np.minimum((expit(logit) * n_bins).astype(int), n_bins - 1)
