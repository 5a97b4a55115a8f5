"""One seed for all random generators that path sampling uses."""

from __future__ import annotations

import random

import numpy as np
import openpathsampling.rng
import torch

__all__ = ["seed_path_sampling"]


def seed_path_sampling(seed: int) -> int:
    """Seed OpenPathSampling, NumPy's and Python's old generators, and torch, each with its own numbers.

    Selectors, movers and schemes that exist already follow: OpenPathSampling's generator stays the same object.

    Returns
    -------
    int
        A seed for the integrator (``setRandomNumberSeed``, before there is a Context).
    """
    ops, old, python, network, noise = np.random.SeedSequence(seed).generate_state(5)
    openpathsampling.rng.DEFAULT_RNG.bit_generator.state = np.random.default_rng(int(ops)).bit_generator.state
    np.random.seed(int(old))
    random.seed(int(python))
    torch.manual_seed(int(network))
    return int(noise) % (2**31 - 1) + 1
