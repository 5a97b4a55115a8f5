"""What evaluates the bias: four kinds of force behind one interface, and a trial of each on this machine.

Run as a program, it tries one out, in a process that may die of it: ``python -m openmm_rare.bias.force torch Reference``.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from functools import cache

import numpy as np
import openmm

from ..committor.model import CommittorModel
from ..dynamics import native
from ..errors import InputError
from .committor_force import CommittorForce, has_native_features
from .importance import FastImportance, ImportanceFunction, TorchImportance
from .python_force import BIAS_GROUP, Observer, PythonBias, python_force
from .torch_force import HOW_TO_INSTALL, python_torch_force, torch_force

__all__ = ["FORCES", "auto_force", "check_force", "is_compiled", "make_bias_force", "require_known", "why_not"]

_TOLERANCE = 1e-5  # relative, in a trial; the forces in single precision come to 1e-6


def _native(importance: ImportanceFunction, positions: np.ndarray, n_walkers: int, scale: float) -> openmm.Force:
    if not isinstance(importance, FastImportance):
        raise InputError(f"the force native needs a FastImportance, not {type(importance).__name__}; choose the force python")
    return CommittorForce(importance, n_walkers, scale)


_MAKERS: dict[str, Callable[..., openmm.Force]] = {
    "native": _native,
    "torch": torch_force,
    "python_torch": python_torch_force,
}

FORCES: tuple[str, ...] = ("native", "python", "torch", "python_torch")
"""Kinds of bias force: the plugin's CommittorForce, OpenMM's PythonForce, openmmtorch's TorchForce and PythonTorchForce."""


def auto_force(importance: ImportanceFunction) -> str:
    """The fastest kind for an importance function: "native" where the plugin knows all its features, else "python"."""
    return "native" if isinstance(importance, FastImportance) and has_native_features(importance) else "python"


def is_compiled(kind: str, importance: ImportanceFunction) -> bool:
    """Whether the force of this kind, or "auto", needs nothing of Python."""
    return kind == "native" or (kind == "auto" and auto_force(importance) == "native")


def require_known(kind: str) -> None:
    """Raise ValueError unless it is one of :data:`FORCES`, or "auto"."""
    if kind not in ("auto", *FORCES):
        raise InputError(f"bias force {kind!r} is unknown; choose auto or one of {', '.join(FORCES)}")


def make_bias_force(
    kind: str,
    importance: ImportanceFunction,
    positions: np.ndarray | None,
    n_walkers: int,
    kt: float,
    observer: Observer | None = None,
) -> openmm.Force:
    """The bias energy -2 kT ln I, summed over all walkers of a replicated System, as a force of :data:`BIAS_GROUP`.

    Parameters
    ----------
    kind : str
        One of :data:`FORCES`, or "auto": see :func:`auto_force`.
    importance : ImportanceFunction
        "python" takes any, "native" a :class:`~openmm_rare.bias.importance.FastImportance`, "torch" and "python_torch" that, a
        :class:`~openmm_rare.committor.model.CommittorModel`, or a :class:`~openmm_rare.bias.importance.TorchImportance`.
    positions : ndarray, shape (n_atoms, 3), nm, or None
        Of one walker: "torch" and "python_torch" try the module out there.
    n_walkers : int
        Copies in the System.
    kt : float
        kT in kJ/mol.
    observer : callable, optional
        Saves "python" work: tells the walkers that are to be biased, see :class:`openmm_rare.bias.python_force.PythonBias`.

    Raises
    ------
    ImportError
        If openmmtorch is needed and missing.
    RuntimeError
        If the plugin is needed and missing.
    ValueError
        For an unknown kind, or an importance function that this kind cannot evaluate.
    """
    require_known(kind)
    kind = auto_force(importance) if kind == "auto" else kind
    if kind == "python":
        return python_force(PythonBias(importance, kt, n_walkers, observer), BIAS_GROUP)
    force = _MAKERS[kind](importance, positions, n_walkers, -2.0 * kt)
    force.setForceGroup(BIAS_GROUP)
    return force


def check_force(kind: str, platform: str) -> None:
    """Refuse a kind of force that does not exist, or that does not pass a trial with this OpenMM platform here.

    Parameters
    ----------
    kind : str
        One of :data:`FORCES`, or "auto", which is always allowed.
    platform : str

    Raises
    ------
    ValueError
    """
    require_known(kind)
    reason = "" if kind in ("auto", "python") else why_not(kind, platform)
    if reason:
        raise InputError(f"the bias force {kind} cannot be used on platform {platform}: {reason} Or choose the force python.")


@cache
def why_not(kind: str, platform: str) -> str:
    """Why this kind of force cannot be used on this platform here, in sentences; empty if it can.

    A tiny System is evaluated and compared with torch's own gradient. For openmmtorch that is done in another process, which
    takes a few seconds: a version that does not fit may end the process.
    """
    if kind == "native" and platform not in native.plugin().platforms:
        return " ".join(native.plugin().problems) or f"The plugin serves {', '.join(native.plugin().platforms)} only."
    if kind in ("native", "python"):
        return _trial(kind, platform)
    if importlib.util.find_spec("openmmtorch") is None:
        return f"openmmtorch is not installed. {HOW_TO_INSTALL}."
    command = [sys.executable, "-m", "openmm_rare.bias.force", kind, platform]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    except subprocess.TimeoutExpired:
        return "A trial did not end within 10 minutes."
    if done.returncode == 0:
        return done.stdout.splitlines()[-1].strip()
    last = "".join(done.stderr.strip().splitlines()[-1:])
    return (
        f"A trial ended its process with status {done.returncode} ({last}): the installed openmmtorch does not fit the "
        "installed OpenMM or torch there."
    )


def _trial(kind: str, platform: str) -> str:
    """As :func:`why_not`, in this process."""
    model = CommittorModel({"kind": "pair_distances"}, 3, hidden=(4,))
    random = np.random.default_rng(1)
    model.set_tensors({name: random.normal(size=tensor.shape) for name, tensor in model.tensors().items()})
    positions = np.array([[0.0, 0.0, 0.0], [0.3, 0.0, 0.1], [0.0, 0.4, 0.0]]) + random.normal(scale=0.05, size=(2, 3, 3))
    value, gradient = TorchImportance(model).log_importance_gradient(positions)
    try:
        energy, forces = _evaluate(make_bias_force(kind, FastImportance(model), positions[0], 2, 1.0), positions, platform)
    except (ImportError, openmm.OpenMMException, RuntimeError, ValueError) as error:
        return f"{' '.join(str(error).split()).rstrip('.')}."
    off = max(abs(energy / (-2.0 * value.sum()) - 1.0), np.abs(forces - 2.0 * gradient).max() / np.abs(2.0 * gradient).max())
    passed = off < _TOLERANCE  # as NaN would not
    return "" if passed else f"Energy and forces of a trial differ from those of torch by {off:.1g} of their size."


def _evaluate(force: openmm.Force, positions: np.ndarray, platform: str) -> tuple[float, np.ndarray]:
    system = openmm.System()
    for _ in range(positions[..., 0].size):
        system.addParticle(1.0)
    system.addForce(force)
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName(platform))
    context.setPositions(positions.reshape(-1, 3))
    state = context.getState(energy=True, forces=True)
    return state.getPotentialEnergy()._value, state.getForces(asNumpy=True)._value.reshape(positions.shape)


if __name__ == "__main__":
    print(_trial(*sys.argv[1:]))
