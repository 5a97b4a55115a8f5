"""An OpenMM engine for OpenPathSampling: reloads as itself, and costs little more than its integrator."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openmm
import openpathsampling as paths
from openmm import unit
from openpathsampling.engines.openmm import Engine, Snapshot

from ..errors import DynamicsError, InputError
from ..files import write_npz
from ..openmm_errors import naming_system, our_error
from ..slots import platform_by_name
from ..units import KB
from .frames import Frames
from .time_reversal import is_overdamped, require_reversible

__all__ = ["RareEventEngine"]

_LOG = logging.getLogger(__name__)
_VELOCITY = unit.nanometer / unit.picosecond
_SEEDS = 2**31 - 1


class RareEventEngine(Engine):
    """OpenMM dynamics for OpenPathSampling.

    Other than the engine of OpenPathSampling it computes no energy for a frame, keeps its platform when it is stored, refuses
    integrators whose velocities cannot be turned around, draws velocities that satisfy constraints, and stops a run at NaN,
    with the last good frame in a file. With overdamped dynamics all frames share one set of zero velocities.

    Parameters
    ----------
    topology : openpathsampling.engines.Topology
        :class:`~openpathsampling.engines.MDTrajTopology`, or ``Topology(n_atoms)`` for a model.
    system : openmm.System
    integrator : openmm.Integrator
    openmm_properties : dict, optional
        Platform properties.
    options : dict, optional
        ``n_steps_per_frame``, ``n_frames_max``, and the other options of an engine of OpenPathSampling.
    platform : str
        Name of the OpenMM platform.

    Raises
    ------
    ValueError
        For a leapfrog integrator or an unknown platform.
    """

    _default_options = {"n_steps_per_frame": 10, "n_frames_max": 5000}

    def __init__(
        self,
        topology: paths.engines.topology.Topology,
        system: openmm.System,
        integrator: openmm.Integrator,
        openmm_properties: dict[str, str] | None = None,
        options: dict[str, Any] | None = None,
        platform: str = "CPU",
    ) -> None:
        require_reversible(integrator)
        platform_by_name(platform)
        super().__init__(topology, system, integrator, openmm_properties, options)
        self.platform_name = platform
        self._still, self._overdamped = None, is_overdamped(integrator)
        self._box_changes = any("Barostat" in force.getName() for force in system.getForces())

    def to_dict(self) -> dict[str, Any]:
        """What storage keeps."""
        return super().to_dict() | {"platform": self.platform_name}

    @classmethod
    def from_dict(cls, dct: dict[str, Any]) -> RareEventEngine:
        """Rebuild from storage; the noise is seeded anew, since a stored seed would repeat it."""
        integrator = openmm.XmlSerializer.deserialize(dct["integrator_xml"])
        if hasattr(integrator, "setRandomNumberSeed"):
            integrator.setRandomNumberSeed(0)
        return cls(
            dct["topology"],
            openmm.XmlSerializer.deserialize(dct["system_xml"]),
            integrator,
            {str(key): str(value) for key, value in dct["properties"].items()},
            dct["options"],
            str(dct["platform"]),
        )

    def from_new_options(
        self,
        integrator: openmm.Integrator | None = None,
        openmm_properties: dict[str, str] | None = None,
        options: dict[str, Any] | None = None,
    ) -> RareEventEngine:
        """The same system with another integrator, other properties or options."""
        xml = openmm.XmlSerializer
        return type(self)(
            self.topology,
            self.system,
            integrator or xml.deserialize(xml.serialize(self.integrator)),
            self.openmm_properties if openmm_properties is None else openmm_properties,
            self.options | (options or {}),
            self.platform_name,
        )

    @property
    def overdamped(self) -> bool:
        """Whether the dynamics ignores velocities."""
        return self._overdamped

    def initialize(self, platform: str | openmm.Platform | None = None) -> None:
        """Create the Context, on the engine's own platform unless told otherwise."""
        if self._simulation is not None:
            return
        if platform is not None:
            self.platform_name = platform if isinstance(platform, str) else platform.getName()
        mdtraj_topology = getattr(self.topology, "mdtraj", None)
        topology = openmm.app.Topology() if mdtraj_topology is None else mdtraj_topology.to_openmm()
        platform = platform_by_name(self.platform_name)
        with naming_system("the System", self.platform_name):
            self._simulation = openmm.app.Simulation(topology, self.system, self.integrator, platform, self.openmm_properties)
        _LOG.info("%s on platform %s", type(self).__name__, self.platform_name)

    @property
    def snapshot_timestep(self) -> unit.Quantity:
        """Time between two frames."""
        return self.n_steps_per_frame * self.integrator.getStepSize()

    def generate_next_frame(self) -> Snapshot:
        """The frame after ``n_steps_per_frame`` steps.

        Raises
        ------
        FloatingPointError
            If positions or velocities become NaN; the frame before is in the file that the message names.
        """
        before = self._current_snapshot
        try:
            self.integrator.step(self.n_steps_per_frame)
        except openmm.OpenMMException as error:
            if "nan" in str(error).lower():
                self._refuse_nan(before)
            raise our_error(error, "the System", self.platform_name, running=True) from error
        self._current_snapshot = None
        if not self.is_valid_snapshot(self.current_snapshot):
            self._refuse_nan(before)
        return self.current_snapshot

    def shoot(self, start: Snapshot, state_of: Callable[[Frames], np.ndarray], check_every: int = 1) -> tuple[Frames, int]:
        """The frames after a given one, until one lies in a state.

        Parameters
        ----------
        start : Snapshot
        state_of : callable
            From frames to the number of the state of each, -1 for none, shape ``(n,)``.
        check_every : int
            Frames made before their states are asked for; those beyond the first in a state are thrown away.

        Returns
        -------
        frames : Frames
            Without the start; at most ``n_frames_max`` - 1.
        state : int
            State of the last one, -1 if there were too many before.

        Raises
        ------
        FloatingPointError
            If positions or velocities become NaN; the last good frame is in the file that the message names.
        """
        self.current_snapshot = start
        parts, done = [], 0
        while done < self.n_frames_max - 1:
            block = self.block(min(check_every, self.n_frames_max - 1 - done), start, parts)
            states = state_of(block)
            arrived = np.flatnonzero(states >= 0)
            if len(arrived):
                return Frames.join([*parts, block[: arrived[0] + 1]]), int(states[arrived[0]])
            parts.append(block)
            done += len(block)
        return Frames.join(parts), -1

    def block(self, n_frames: int, start: Snapshot, parts: list[Frames]) -> Frames:
        """The next frames, all finite, after those in `parts`, or after the start if there are none."""
        context, moving = self.simulation.context, not self.overdamped
        step, n_steps = self.integrator.step, self.n_steps_per_frame  # OpenPathSampling looks attributes up slowly
        shape = (n_frames, self.system.getNumParticles(), 3)
        block = Frames(np.full(shape, np.nan), np.full(shape, np.nan) if moving else None, np.empty((n_frames, 3, 3)))
        for i in range(n_frames):
            try:
                step(n_steps)
            except openmm.OpenMMException as error:
                if "nan" not in str(error).lower():
                    raise our_error(error, "the System", self.platform_name, running=True) from error
                break
            state = context.getState(positions=True, velocities=moving)
            # what getPositions(asNumpy=True) calls; the rest of it takes longer than a step of a small system
            state._getVectorAsNumpy(openmm.State.Positions, block.positions[i])
            if moving:
                state._getVectorAsNumpy(openmm.State.Velocities, block.velocities[i])
            if i == 0 or self._box_changes:
                box = state.getPeriodicBoxVectors(asNumpy=True)._value
            block.boxes[i] = box
        self._current_snapshot = None
        good = block.n_finite()
        if good < n_frames:
            known = [*parts, block[:good]] if good else parts
            self._refuse_nan(known[-1][-1:].trajectory(self)[0] if known else start)
        return block

    @staticmethod
    def is_valid_snapshot(snapshot: Snapshot) -> bool:
        """Whether all numbers of a frame are finite."""
        # the properties of the snapshot itself would copy the arrays
        arrays = (snapshot.statics.coordinates, snapshot.kinetics.velocities)
        return all(bool(np.isfinite(array._value).all()) for array in arrays)

    def _refuse_nan(self, before: Snapshot | None) -> None:
        # no word of "particle" or "coordinates": OpenPathSampling would take the error for a rejected trial and go on
        where = ""
        if before is not None:
            path = Path(f"nan-after-{before.__uuid__}.npz").resolve()
            write_npz(path, {"positions": before.coordinates._value, "velocities": before.velocities._value})
            where = f"; the frame before it is in {path}"
        raise DynamicsError(
            f"positions or velocities became NaN within {self.n_steps_per_frame} steps: use a smaller time step, or look at "
            f"the forces there{where}"
        )

    def _build_current_snapshot(self) -> Snapshot:
        context, still = self.simulation.context, self.no_velocities()
        state = context.getState(positions=True, velocities=still is None)
        return Snapshot.construct(
            coordinates=state.getPositions(asNumpy=True),
            box_vectors=state.getPeriodicBoxVectors(asNumpy=True),
            velocities=None if still is not None else state.getVelocities(asNumpy=True),
            kinetics=still,
            engine=self,
        )

    def no_velocities(self) -> Any:
        """The one set of zero velocities that all overdamped frames share, or None if the dynamics has velocities."""
        if self.overdamped and self._still is None:
            zeros = np.zeros((self.system.getNumParticles(), 3)) * _VELOCITY
            self._still = Snapshot.KineticContainer(velocities=zeros, engine=self)
        return self._still

    def randomize_velocities(self, snapshot: Snapshot, beta: Any = None, subset: list[int] | None = None) -> Snapshot:
        """A frame with velocities drawn anew, which satisfy the constraints; OpenPathSampling's RandomVelocities calls this.

        Parameters
        ----------
        snapshot : Snapshot
        beta : Quantity or float, optional
            Inverse temperature, mol/kJ; by default that of the integrator.
        subset : list of int, optional
            Atoms that get new velocities; by default all.

        Raises
        ------
        ValueError
            If `beta` has the wrong unit, or there is none and the integrator has no temperature.
        """
        if self.overdamped:
            return snapshot
        context = self.simulation.context
        self.current_snapshot = snapshot
        context.setVelocitiesToTemperature(self._temperature(beta), int(paths.default_rng().integers(1, _SEEDS)))
        if subset is not None:
            drawn = context.getState(velocities=True).getVelocities(asNumpy=True)._value
            velocities = snapshot.velocities.value_in_unit(_VELOCITY).copy()
            velocities[subset] = drawn[subset]
            context.setVelocities(velocities)
            context.applyVelocityConstraints(1e-5)
        self._current_snapshot = None
        return self.current_snapshot

    def _temperature(self, beta: Any) -> float:
        """Temperature in K of an inverse temperature, or of the integrator."""
        if unit.is_quantity(beta):  # per particle, or per mole
            constants = (unit.BOLTZMANN_CONSTANT_kB, unit.MOLAR_GAS_CONSTANT_R)
            found = [t for t in (1.0 / (beta * constant) for constant in constants) if unit.is_quantity(t)]
            fitting = [t for t in found if t.unit.is_compatible(unit.kelvin)]
            if not fitting:
                raise InputError(f"beta = {beta} is no inverse energy, as 1/(BOLTZMANN_CONSTANT_kB*300*kelvin) is one")
            return fitting[0].value_in_unit(unit.kelvin)
        if beta is not None:
            return 1.0 / (KB * float(beta))
        if hasattr(self.integrator, "getTemperature"):
            return self.integrator.getTemperature().value_in_unit(unit.kelvin)
        try:
            return self.integrator.getGlobalVariableByName("kT") / KB
        except (AttributeError, openmm.OpenMMException):
            raise InputError(
                f"{type(self.integrator).__name__} does not say its temperature: give RandomVelocities a beta"
            ) from None
