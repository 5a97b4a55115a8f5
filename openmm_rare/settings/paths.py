"""Everything that path sampling uses and a user may change, with its default (section ``[path_sampling]``)."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from ..committor.networks import architecture_spec
from ..errors import InputError
from ..io.toml import Section, nearest
from .reading import read_settings

if TYPE_CHECKING:
    from ..problem import RareEventSystem

__all__ = ["INITIAL_PATHS", "METHODS", "SELECTORS", "PathSettings"]

METHODS: tuple[str, ...] = ("chains", "points")
"""Markov chains of paths, or paths from shooting points that walkers sample."""

SELECTORS: tuple[str, ...] = ("lorentzian", "gaussian", "uniform", "aimless")
"""How shooting points are chosen."""

INITIAL_PATHS: tuple[str, ...] = ("auto", "line", "hot", "biased")
"""Where a first path comes from, other than a file."""

_STEPS_PER_FRAME = 10  # of a system whose states may be tested at every step

_FREE = {"trials", "processes", "initial_path"}
_OF_METHOD = {
    "chains": ("chains", "selector", "width", "density_correction", "offset", "corrected"),
    "points": ("walkers", "reach", "wait", "start_up"),
}


@dataclass(frozen=True)
class PathSettings:
    """Settings of path sampling; the defaults serve model systems with a frame every ten steps.

    Attributes
    ----------
    method : str
        "chains": each trial shoots from the current path of a Markov chain. "points": each trial shoots from where a walker is
        that moves near the barrier, and paths have weights ("Shooting points sampled directly" in docs/theory.md).
    walkers : int
        Points: independent walkers, which share one model.
    reach : float
        Points: width of their bias in units of the logit, below 1.4. Less gives more transition paths, of more different
        weights.
    wait : int
        Points: frames that a walker moves between two trials; 0: as many as the first transition paths have on average.
    start_up : int
        Points: trials of each walker that are not counted, after it has left the paths where it began.
    selector : str
        Shooting points near the learned transition states ("lorentzian", "gaussian" in the logit), anywhere between the ends
        of a path ("uniform"), or near the one before ("aimless").
    width : float
        Of the first two, in units of the logit.
    density_correction : bool
        Choose places that transition paths pass rarely as often as others of the same committor.
    offset : int
        Frames between the two candidates of aimless shooting.
    corrected : bool
        Aimless shooting: accept so that paths are sampled by their probability; otherwise they carry weights.
    trials : int
        Monte Carlo steps of each chain, or trials of each walker; the last round is shorter where they make no whole rounds.
    chains : int
        Independent Markov chains that share one model.
    trials_per_round : int
        Trials of each chain or walker between two trainings.
    processes : int
        Chains or walkers that run at the same time; 0: as many as there are chains or cores.
    threads : int
        Threads of each, on the platform CPU; 0: the cores divided by the processes. Only with one thread does OpenMM add up
        forces in the same order each time, and a run that was stopped goes on to the same bits as if it had not been.
    steps_per_frame : int
        Integration steps between two frames; 0: the check interval of the system, or 10 where that is 1. A and B are tested on
        frames only, so that this becomes the check interval of the system that is sampled, and of its committor.
    max_frames : int
        A shot that is in no state after so many frames is given up, and its trial rejected.
    network : str
        "residual" learns most of few shots; "selu" and "mlp" have plain layers (:mod:`openmm_rare.committor.networks`).
    hidden : tuple of int
        Widths of its hidden layers, or of its residual blocks.
    dropout : float
        Probability that a unit is left out while a residual or selu network learns.
    members : int
        Networks that learn from resampled shots and are averaged; their spread says how sure they are.
    passages : int
        About how many frames that the shots of a trial pass count as 0.3 shots each (:mod:`openmm_rare.learning.passages`);
        shots longer than the path that they start from pass more. 0: none. With momenta they are weighted to be fair to first
        order.
    gate_strength, weight_decay : float
        See :class:`~openmm_rare.learning.gated_fit.FitOptions`.
    growth : float
        The committor is fitted anew when the shots have grown by this part; earlier, at most after every round, where
        transition paths are more or fewer than expected (:class:`~openmm_rare.learning.shot_trainer.ShotTrainer`).
    window : int
        Latest trials on which the transition paths seen and expected are compared.
    initial_path : tuple of str
        "auto", "line", "hot", "biased", or a file, or several of them, which the chains take in turn; see
        :func:`~openmm_rare.tps.first_paths.initial_path.initial_path`. One may be given as it is.
    scouting : int
        Before the first trial, about as much work as so many trials is spent on first paths by other ways, which some chains
        start from and to which all are compared in the end (:mod:`openmm_rare.tps.first_paths.first_paths`); a quarter of that
        in systems of more than 200 atoms; 0: none.
    storage : bool
        Write every step to an OpenPathSampling storage too.
    """

    method: str = "chains"
    walkers: int = 8
    reach: float = 4.0
    wait: int = 0
    start_up: int = 10
    selector: str = "lorentzian"
    width: float = 0.5
    density_correction: bool = False
    offset: int = 2
    corrected: bool = True
    trials: int = 500
    chains: int = 1
    trials_per_round: int = 5
    processes: int = 0
    threads: int = 0
    steps_per_frame: int = 0
    max_frames: int = 10_000
    network: str = "residual"
    hidden: tuple[int, ...] = (16,)
    dropout: float = 0.0
    members: int = 1
    passages: int = 4
    gate_strength: float = 0.6
    weight_decay: float = 0.3
    growth: float = 0.2
    window: int = 100
    initial_path: tuple[str, ...] = ("auto",)
    scouting: int = 100
    storage: bool = True

    def __post_init__(self) -> None:
        if isinstance(self.initial_path, str):
            object.__setattr__(self, "initial_path", (self.initial_path,))
        if not self.initial_path:
            raise InputError(f"initial_path = [] must name something: {', '.join(INITIAL_PATHS)}, or files")
        for name, known in (("method", METHODS), ("selector", SELECTORS)):
            value = getattr(self, name)
            if value not in known:
                raise InputError(
                    f"{name} = {value!r} must be one of {', '.join(known)}; did you mean {nearest(value, known)!r}?"
                )
        self._require_own_options()
        if not self.reach > 0.0:
            raise InputError(f"reach = {self.reach} must be positive")
        if not self.width > 0.0:
            raise InputError(f"width = {self.width} must be positive")
        for name in ("gate_strength", "weight_decay", "growth"):
            if not getattr(self, name) >= 0.0:
                raise InputError(f"{name} = {getattr(self, name)} must not be negative")
        architecture_spec(self.architecture())
        least = {name: 0 for name in ("processes", "threads", "steps_per_frame", "passages", "wait", "start_up", "scouting")}
        least["max_frames"] = 3
        for field in fields(self):
            value = getattr(self, field.name)
            if field.type == "int" and value < least.get(field.name, 1):
                raise InputError(f"{field.name} = {value} must be at least {least.get(field.name, 1)}")
        if self.density_correction and self.selector == "aimless":
            raise InputError("density_correction needs a selector that chooses: aimless shooting stays near its last point")

    def _require_own_options(self) -> None:
        """Refuse what only the other method knows."""
        defaults = {field.name: field.default for field in fields(self)}
        for method, names in _OF_METHOD.items():
            given = [name for name in names if method != self.method and getattr(self, name) != defaults[name]]
            if given:
                own = " and ".join(_OF_METHOD[self.method][:2])
                raise InputError(
                    f'{given[0]} = {getattr(self, given[0])!r} is for method = "{method}" only: leave it out, or choose that '
                    f'method; "{self.method}" has {own}'
                )

    @property
    def series(self) -> int:
        """Independent series of trials: chains or walkers."""
        return self.walkers if self.method == "points" else self.chains

    @property
    def kind(self) -> str:
        """What one of them is called."""
        return "walker" if self.method == "points" else "chain"

    def as_chains(self) -> PathSettings:
        """The same settings for shots of chains, as those that relax a first path."""
        own = {field.name: field.default for field in fields(self) if field.name in ("method", *_OF_METHOD["points"])}
        return replace(self, **own)

    def for_system(self, problem: RareEventSystem) -> PathSettings:
        """The same settings with what they leave to the system: the steps between two frames."""
        own = problem.check_interval if problem.check_interval > 1 else _STEPS_PER_FRAME
        return self if self.steps_per_frame else replace(self, steps_per_frame=own)

    def course(self) -> dict[str, Any]:
        """The settings that change what a run computes, and not only for how long or how fast it does."""
        return {name: value for name, value in asdict(self).items() if name not in _FREE}

    def architecture(self) -> dict[str, Any]:
        """The network, for :func:`openmm_rare.committor.networks.architecture_spec`."""
        return {"kind": self.network} | ({"dropout": self.dropout} if self.dropout else {})

    @classmethod
    def parse(cls, section: Section) -> PathSettings:
        """From ``[path_sampling]``."""
        section.check((), [field.name for field in fields(cls)])
        return cls(**read_settings(cls, section))

    def to_dict(self) -> dict[str, Any]:
        """For TOML."""
        one = {"initial_path": self.initial_path[0]} if len(self.initial_path) == 1 else {}
        return asdict(self) | one
