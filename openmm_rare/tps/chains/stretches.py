"""What makes a stretch of a chain or a walker: imported, and OpenPathSampling with it, where it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ...paths.trial import Trial
    from .point_task import WalkerState
    from .task import ChainState, ChainTask

__all__ = ["run_chain", "run_walker"]


def run_chain(task: ChainTask) -> tuple[ChainState, list[Trial]]:
    """What :func:`openmm_rare.tps.chains.chain.run_chain` returns."""
    from . import chain

    return chain.run_chain(task)


def run_walker(task: ChainTask) -> tuple[WalkerState, list[Trial]]:
    """What :func:`openmm_rare.tps.chains.points.run_walker` returns."""
    from . import points

    return points.run_walker(task)
