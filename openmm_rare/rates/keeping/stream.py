"""Random numbers for what is kept: beside those of a run, which stay what they are."""

from __future__ import annotations

import zlib

import numpy as np

__all__ = ["stream_of_paths"]

_KEY = zlib.crc32(b"paths that are kept")  # larger than any number of streams that are spawned from a seed


def stream_of_paths(seed: np.random.SeedSequence) -> np.random.Generator:
    """A stream of its own beside all that are spawned from the seed; the seed itself is left as it is."""
    return np.random.default_rng(np.random.SeedSequence(seed.entropy, spawn_key=(*seed.spawn_key, _KEY)))
