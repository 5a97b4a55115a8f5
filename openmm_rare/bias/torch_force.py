"""The bias of a torch module as a force of openmmtorch, which evaluates it without Python (TorchForce) or without copies."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import openmm
import torch
from openmm import unit
from torch import Tensor

from ..errors import InputError, MissingPackageError
from ..units import in_md_units
from .importance import FastImportance, TorchImportance

__all__ = ["HOW_TO_INSTALL", "python_torch_force", "torch_force"]

HOW_TO_INSTALL = (
    "In an environment of its own, because it works with one build of torch only: "
    'pip install "openmm>=8.6,<8.7" torch==2.9.0 openmmtorch==1.5 (with the CUDA build of torch, also on a CPU)'
)


class _BiasEnergy(torch.nn.Module):
    """``scale`` times the sum of ln I over all walkers, of the positions ``(n_particles, 3)`` of a replicated System."""

    def __init__(self, importance: TorchImportance, n_walkers: int, scale: float) -> None:
        super().__init__()
        self.importance, self.n_walkers, self.scale = importance, n_walkers, scale

    def forward(self, positions: Tensor) -> Tensor:
        """Energy in kJ/mol."""
        walkers = positions.to(torch.float64).reshape(self.n_walkers, -1, 3)
        return self.scale * self.importance(walkers).sum()


def torch_force(
    importance: torch.nn.Module | FastImportance, positions: np.ndarray, n_walkers: int, scale: Any
) -> openmm.Force:
    """``openmmtorch.TorchForce``: the energy ``scale`` times the sum of ln I over all walkers, in double precision.

    It is what :class:`~openmm_rare.bias.python_force.PythonBias` computes. The module is traced, and so must do the same
    operations wherever the walkers are.

    Parameters
    ----------
    importance : torch.nn.Module or FastImportance
        See :class:`TorchImportance`. It is copied.
    positions : ndarray, shape (n_atoms, 3), nm
        Of one walker; the module is tried out near them.
    n_walkers : int
        Copies in the System.
    scale : Quantity or float
        kJ/mol; -2 kT makes the bias of overdamped dynamics.

    Raises
    ------
    ImportError
        If openmmtorch cannot be imported; the message says how to install it.
    ValueError
        If an argument is out of range, or the module cannot be traced.
    """
    openmmtorch = _import_openmmtorch()
    energy, nearby = _energy(importance, positions, n_walkers, scale)
    try:
        traced = torch.jit.trace(energy, nearby[0], check_trace=False)
    except (RuntimeError, torch.jit.TracingCheckError) as error:
        raise InputError(f"torch cannot trace the module ({error}); choose the force python for it") from error
    if not torch.allclose(traced(nearby[1]), energy(nearby[1]), rtol=1e-9, equal_nan=True):
        raise InputError(
            "the traced module differs from the module at other positions: its operations depend on the positions, or are "
            "random; give it as torch.jit.script(module), or choose the force python for it"
        )
    return openmmtorch.TorchForce(traced)


def python_torch_force(
    importance: torch.nn.Module | FastImportance, positions: np.ndarray, n_walkers: int, scale: Any
) -> openmm.Force:
    """``openmmtorch.PythonTorchForce``: as :func:`torch_force`, called from Python but without copies of the positions.

    Parameters and what is raised are those of :func:`torch_force`, but nothing is traced.
    """
    openmmtorch = _import_openmmtorch()
    if not hasattr(openmmtorch, "PythonTorchForce"):
        raise MissingPackageError(
            "the installed openmmtorch has no PythonTorchForce, which no release on PyPI has up to 1.5: build openmm-torch "
            "from its sources, or choose the force torch"
        )
    energy, _ = _energy(importance, positions, n_walkers, scale)

    def energy_and_forces(state: openmm.State, positions: Tensor) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            x = positions.detach().requires_grad_()
            value = energy.to(x.device)(x)
            (gradient,) = torch.autograd.grad(value, x)
        return value.detach(), -gradient

    return openmmtorch.PythonTorchForce(energy_and_forces)


def _energy(importance: Any, positions: np.ndarray, n_walkers: int, scale: Any) -> tuple[_BiasEnergy, list[Tensor]]:
    """The module of the energy, tried out, and two frames of all walkers near the positions."""
    positions = np.asarray(positions, dtype=np.float64)
    if positions.ndim != 2 or positions.shape[1] != 3:
        raise InputError(f"positions have shape {positions.shape}; allowed: (n_atoms, 3), those of one walker")
    if n_walkers < 1:
        raise InputError(f"n_walkers = {n_walkers} must be at least 1")
    scale = in_md_units(scale, unit.kilojoule_per_mole, "scale")
    nearby = positions + np.random.default_rng(0).normal(scale=0.02, size=(2, n_walkers, *positions.shape))
    function = importance.by_autograd() if isinstance(importance, FastImportance) else TorchImportance(importance)
    function.try_out(nearby[0])
    return _BiasEnergy(function, n_walkers, scale), [torch.from_numpy(frame.reshape(-1, 3)) for frame in nearby]


def _import_openmmtorch() -> ModuleType:
    """Import it, and give OpenMM its kernels: OpenMM could not load them when torch was not there yet."""
    try:
        module = importlib.import_module("openmmtorch")
    except ImportError as error:
        raise MissingPackageError(
            f"this force needs openmmtorch, which cannot be imported here ({error}). {HOW_TO_INSTALL}"
        ) from error
    if not openmm.Platform.getPlatformByName("Reference").supportsKernels(["CalcTorchForce"]):
        for path in sorted(Path(openmm.version.openmm_library_path, "plugins").glob("*OpenMMTorch*")):
            try:
                openmm.Platform.loadPluginLibrary(str(path))
            except openmm.OpenMMException:
                continue  # of a platform that is not here
    return module
