"""Committor models of any kind: how they are read, and bins of what they say."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
from scipy.special import expit

from .committor import CommittorModel
from .ensemble import CommittorEnsemble
from .multistate import MultiStateModel
from .saved_model import SavedModel

__all__ = ["Committor", "committor_bin", "load_committor"]

Committor = CommittorModel | CommittorEnsemble
"""A committor between two states."""


def load_committor(source: str | Path | bytes, fingerprint: str | None = None) -> SavedModel:
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
    kinds = [kind for kind in (CommittorEnsemble, MultiStateModel) if kind.title in _format(source)]
    return (kinds or [CommittorModel])[0].load(io.BytesIO(source) if isinstance(source, bytes) else source, fingerprint)


def _format(source: str | Path | bytes) -> str:
    """What a file says it holds; nothing for one that cannot be read."""
    try:
        with np.load(io.BytesIO(source) if isinstance(source, bytes) else source, allow_pickle=False) as archive:
            return str(json.loads(str(archive["metadata"]))["format"])
    except Exception:  # whoever loads it says what is wrong
        return ""


def committor_bin(logit: np.ndarray, n_bins: int) -> np.ndarray:
    """Which of so many equal bins of the committor, from 0 to 1, each logit belongs to."""
    return np.minimum((expit(logit) * n_bins).astype(int), n_bins - 1)
