"""The one Context of a process for walkers that move one at a time."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from ..bias.bias import Bias
from .machine import Machine
from .phase_slots import PhaseSlots

if TYPE_CHECKING:
    from ..problem import RareEventSystem

__all__ = ["one_context"]


@lru_cache(maxsize=1)
def one_context(problem: RareEventSystem, machine: Machine, bias: Bias | None = None) -> PhaseSlots:
    """A Context for one walker, kept until another one is asked for.

    What runs in it must begin with :meth:`PhaseSlots.reseed`, so that nothing depends on what ran before. On the processor
    OpenMM has one random stream for all Contexts of a process: one task at a time, and no threads.

    Parameters
    ----------
    problem : RareEventSystem
        Told from others by identity: tasks that bring it along keep it by :class:`~openmm_rare.parallel.executors.SentOnce`.
    machine : Machine
    bias : Bias, optional
        Told from others by identity, too.
    """
    return PhaseSlots(problem, 1, machine, np.random.default_rng(1), bias=bias)
