"""Whether walkers with momenta are biased: the thermostat's noise is all that can be shifted."""

from __future__ import annotations

from dataclasses import replace

from ...bias.directions import has_gradient
from ...dynamics.copies.replication import fits_in_slots
from ...io.tasks import Progress, Task
from ..pilot import choose_steering
from ..roots import RootSampler, Steering
from .calibration import STEERING, Calibration

__all__ = ["steering_of"]

_WORTH = 0.3
"""Strengths below are not tried: with friction from a solvent they have gained nothing, and larger ones lost."""


def steering_of(sampler: RootSampler, calibration: Calibration, task: Task, progress: Progress) -> Steering:
    r"""No bias, or one that the pilot has found better.

    Where ln I is a function of :math:`s + \tau \dot s`, the best shift of the noise, :math:`b\,\partial_v \ln I`, is that of
    the strength :math:`\gamma \tau`. Friction of a solvent makes :math:`\tau` short against :math:`1/\gamma` of the thermostat.

    Parameters
    ----------
    sampler : RootSampler
        With the calibrated importance.
    calibration : Calibration
    task : callable
        See :data:`openmm_rare.io.tasks.Task`; every trial is one task of kind "pilot".
    progress : Progress
    """
    problem, importance = sampler.problem, calibration.importance
    strength = min(1.0, problem.friction * importance.tau)
    able = problem.inertial and fits_in_slots(problem) and has_gradient(importance.direction) and calibration.arrived
    if not able or strength < _WORTH:
        return STEERING
    settings = replace(sampler.settings, strengths=(strength, STEERING.strength), window_powers=(STEERING.window.power,))
    return choose_steering(replace(sampler, settings=settings), task, progress)
