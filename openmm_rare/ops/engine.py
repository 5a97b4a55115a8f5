"""An OpenMM engine for OpenPathSampling: reloads as itself, and costs little more than its integrator."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import openmm
import openpathsampling as paths
from openmm import unit
from openpathsampling.engines.openmm import Engine, Snapshot

from ..dynamics.frames import Frames
from ..dynamics.langevin import BAOABLangevinIntegrator, has_half_steps, moving_axes
from ..dynamics.platforms import platform_by_name
from ..dynamics.time_reversal import is_overdamped, known_temperature, temperature_of
from ..structure.openmm_errors import naming_system, our_error
from ..structure.special_forces import barostats
from .engine_checks import require_ready, require_suitable
from .frame_watch import FrameWatch
from .snapshots import VELOCITY, snapshot_in
from .velocities import draw_velocities

__all__ = ["RareEventEngine"]

_LOG = logging.getLogger(__name__)


class RareEventEngine(Engine):
    """OpenMM dynamics for OpenPathSampling.

    Other than the engine of OpenPathSampling it computes no energy for a frame, keeps its platform when it is stored, refuses
    integrators that cannot be turned around or ignore a part of the System, draws velocities that satisfy constraints, and
    stops a run at NaN, broken constraints and explosions, with the last good frame in a file. With overdamped dynamics all
    frames share one set of zero velocities.

    Parameters
    ----------
    topology : openpathsampling.engines.Topology
        :class:`~openpathsampling.engines.MDTrajTopology`, or ``Topology(n_atoms)`` for a model.
    system : openmm.System
    integrator : openmm.Integrator
    openmm_properties, options : dict, optional
        Platform properties; ``n_steps_per_frame``, ``n_frames_max``, and the other options of an engine of OpenPathSampling.
    platform : str
        Name of the OpenMM platform.
    check : bool
        Look at System and integrator now, and not only before the first frames: what a storage holds can be read always.

    Attributes
    ----------
    is_checked : bool
        Whether System, integrator and time step are known to suit each other; else the first frames wait for a look.

    Raises
    ------
    ValueError
        For an unknown platform, and an integrator that does not suit the System; see
        :func:`~openmm_rare.ops.engine_checks.require_suitable`.
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
        check: bool = True,
    ) -> None:
        platform_by_name(platform)
        if check:
            require_suitable(system, integrator, platform)
        super().__init__(topology, system, integrator, openmm_properties, options)
        self.platform_name, self.is_checked = platform, False
        self._still, self._overdamped = None, is_overdamped(integrator)
        self._box_changes, self._axes = bool(barostats(system)), moving_axes(integrator)
        # one restored from XML has lost the method that counts for it
        self._halves = 2 if has_half_steps(integrator) and not isinstance(integrator, BAOABLangevinIntegrator) else 1
        self._watch, self._start, self._made, self._drawn_at = None, None, None, None

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
            check=False,
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
        known = getattr(self.topology, "mdtraj", None)
        topology, platform = openmm.app.Topology() if known is None else known.to_openmm(), platform_by_name(self.platform_name)
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
            If positions or velocities become NaN, constraints break or molecules fly apart; the frame before is in the file
            that the message names.
        """
        before, moving = self._current_snapshot, not self.overdamped
        if before is None or before is not self._made:
            self._start = before = self.current_snapshot
            self._require_ready(before)
        try:
            self._stepper()(self.n_steps_per_frame * self._halves)
        except openmm.OpenMMException as error:
            if "nan" in str(error).lower():
                self.watch.refuse_nan(before)
            raise our_error(error, "the System", self.platform_name, running=True) from error
        self._current_snapshot = None
        self._made = made = self.current_snapshot
        velocities = made.kinetics.velocities._value[None] if moving else None
        frames = Frames(made.statics.coordinates._value[None], velocities, made.statics.box_vectors._value[None])
        self.watch.require(frames, self._start, before)
        return made

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
            If positions or velocities become NaN, constraints break or molecules fly apart; the last good frame is in the file
            that the message names.
        """
        self._require_ready(start)
        self.current_snapshot = start
        parts, done = [], 0
        while done < self.n_frames_max - 1:
            block = self._advance(min(check_every, self.n_frames_max - 1 - done))
            if block.n_finite() < len(block):
                self.watch.require(Frames.join([*parts, block]), start)
            states = state_of(block)
            arrived = np.flatnonzero(states >= 0)
            if len(arrived):
                parts.append(block[: arrived[0] + 1])
                return self.watch.require(Frames.join(parts), start), int(states[arrived[0]])
            parts.append(block)
            done += len(block)
        return self.watch.require(Frames.join(parts), start), -1

    def block(self, n_frames: int, start: Snapshot, parts: list[Frames]) -> Frames:
        """The next frames, all of them sound, after those in `parts`, or after the start if there are none."""
        return self.watch.require(self._advance(n_frames), start, parts[-1][-1:] if parts else None)

    def _stepper(self) -> Callable[[int], None]:
        return self.integrator.step

    def _advance(self, n_frames: int) -> Frames:
        """The next frames; NaN where OpenMM has found NaN."""
        context, moving, step = self.simulation.context, not self.overdamped, self._stepper()
        n_steps = self.n_steps_per_frame * self._halves  # OpenPathSampling is slow at attributes
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
        return block

    @property
    def watch(self) -> FrameWatch:
        """What looks at the frames."""
        if self._watch is None:
            platform, temperature = platform_by_name(self.platform_name), known_temperature(self.integrator) or self._drawn_at
            self._watch = FrameWatch(self.system, self.integrator, temperature, platform, self.n_steps_per_frame)
        return self._watch

    def _require_ready(self, start: Snapshot) -> None:
        """Look at all that can be seen before dynamics runs, once."""
        if not self.is_checked:
            require_suitable(self.system, self.integrator, self.platform_name)
            require_ready(self.system, self.integrator, start.coordinates.value_in_unit(unit.nanometer))
            self.is_checked = True

    @staticmethod
    def is_valid_snapshot(snapshot: Snapshot) -> bool:
        """Whether all numbers of a frame are finite."""
        # the properties of the snapshot itself would copy the arrays
        arrays = (snapshot.statics.coordinates, snapshot.kinetics.velocities)
        return all(bool(np.isfinite(array._value).all()) for array in arrays)

    def _build_current_snapshot(self) -> Snapshot:
        return snapshot_in(self.simulation.context, self)

    def no_velocities(self) -> Any:
        """The one set of zero velocities that all overdamped frames share, or None if the dynamics has velocities."""
        if self.overdamped and self._still is None:
            zeros = np.zeros((self.system.getNumParticles(), 3)) * VELOCITY
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
        temperature = temperature_of(self.integrator, beta)
        if self._drawn_at is None and known_temperature(self.integrator) is None:
            self._drawn_at, self._watch = temperature, None  # nothing else says how hot it is
        draw_velocities(context, temperature, snapshot.velocities.value_in_unit(VELOCITY), self._axes, subset)
        self._current_snapshot = None
        return self.current_snapshot
