"""Long steps of a learned action as an engine for OpenPathSampling. Experimental: paths are those of learned dynamics."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from typing import Any

import numpy as np
import openmm
import openpathsampling as paths
from openmm import unit

from ..action.integrator import LearnedActionIntegrator
from ..action.model_file import SavedAction, action_of_arrays, arrays_of_action
from ..action.phase_space import PhaseSpace
from ..action.refusals import require_suitable
from ..dynamics.langevin import BAOABLangevinIntegrator
from ..io.files import npz_arrays, sealed_npz
from ..structure.particles import masses_of
from ..units import in_md_units
from .engine import RareEventEngine

__all__ = ["ActionEngine"]

_PER_PS = unit.picosecond**-1


class ActionEngine(RareEventEngine):
    """Langevin dynamics with the steps of a learned action, Metropolized, so that equilibrium is exact.

    What two-way shooting needs is there: with reversed momenta a step leads back, volume is kept, and the chain obeys modified
    detailed balance, so that paths of new momenta are accepted as with any other dynamics at that temperature. They are
    paths of the learned dynamics all the same: how long they take, and rates, are approximate.

    Parameters
    ----------
    topology : openpathsampling.engines.Topology
    system : openmm.System
    action : LinearAction or ActionNetwork
        Learned for this System.
    temperature, friction : Quantity or float
        K and 1/ps.
    num_dimensions : int
    options : dict, optional
        As for :class:`~openmm_rare.ops.engine.RareEventEngine`; a step is a long one.
    platform : str
    seed : int
        Of the noise; one that is read from a storage begins with another.
    tolerance : float
        Of the midpoint equations, in units of the root of kT.

    Raises
    ------
    ValueError
        For Systems that no action can move.
    """

    def __init__(
        self,
        topology: paths.engines.topology.Topology,
        system: openmm.System,
        action: SavedAction,
        temperature: Any,
        friction: Any = 1.0,
        num_dimensions: int = 3,
        options: dict[str, Any] | None = None,
        platform: str = "Reference",
        seed: int = 1,
        tolerance: float = 1e-6,
    ) -> None:
        require_suitable(system)
        self.action, self._tolerance, self._seed = action, float(tolerance), int(seed)
        kelvin, rate = in_md_units(temperature, unit.kelvin, "temperature"), in_md_units(friction, _PER_PS, "friction")
        # never steps: it says temperature, friction and time step to whoever asks the engine
        carrier = BAOABLangevinIntegrator(kelvin, rate, action.timestep, num_dimensions)
        super().__init__(topology, system, carrier, {}, options, platform, check=False)
        self._about = (kelvin, rate, num_dimensions)
        self._mover: LearnedActionIntegrator | None = None
        self.is_checked = True

    def to_dict(self) -> dict[str, Any]:
        """What storage keeps."""
        content = b"".join(bytes(part) for part in sealed_npz(arrays_of_action(self.action, self._space)))
        about = dict(zip(("temperature", "friction", "num_dimensions"), self._about, strict=True))
        more = {"action": base64.b64encode(content).decode("ascii"), "tolerance": self._tolerance}
        return super().to_dict() | about | more

    @classmethod
    def from_dict(cls, dct: dict[str, Any]) -> ActionEngine:
        """Rebuild from storage; the noise begins anew."""
        content = io.BytesIO(base64.b64decode(dct["action"]))
        action, _, _ = action_of_arrays(npz_arrays(content), "a storage of OpenPathSampling")
        return cls(
            dct["topology"],
            openmm.XmlSerializer.deserialize(dct["system_xml"]),
            action,
            float(dct["temperature"]),
            float(dct["friction"]),
            int(dct["num_dimensions"]),
            dct["options"],
            str(dct["platform"]),
            seed=int(np.random.SeedSequence().generate_state(1)[0]),
            tolerance=float(dct["tolerance"]),
        )

    @property
    def _space(self) -> PhaseSpace:
        masses = masses_of(self.system)
        features = getattr(self.action.features, "space", None)
        reference = np.zeros((len(masses), 3)) if features is None else features.reference
        return PhaseSpace(masses, reference, self._about[2])

    @property
    def mover(self) -> LearnedActionIntegrator:
        """What takes the steps."""
        if self._mover is None:
            kelvin, friction, num_dimensions = self._about
            self._mover = LearnedActionIntegrator(
                self.simulation.context,
                self.action,
                kelvin,
                friction,
                tolerance=self._tolerance,
                num_dimensions=num_dimensions,
                seed=self._seed,
            )
        return self._mover

    def _stepper(self) -> Callable[[int], None]:
        return self.mover.step
