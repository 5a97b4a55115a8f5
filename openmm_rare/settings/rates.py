"""Everything that a rate calculation uses and a user may change, with its default."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace

from ..errors import InputError

__all__ = ["RateSettings"]

_MAY_BE_ZERO = {"residual_weight", "stage_rounds", "last_stage_rounds", "last_updates", "time_scale", "save_paths", "reverse"}

_LENGTHS = (
    "flux_steps",
    "waiting_steps",
    "pilot_max_steps",
    "training_flux_steps",
    "training_flux_limit",
    "training_stride",
    "segment_length",
    "training_path_length",
    "residual_steps",
)
"""Settings in steps that grow with the number of steps that the same motion takes."""

_RESOLUTIONS = ("stride", "bias_interval")
"""Those that grow with its square root: next to A, where walkers begin a step away from it, a step stays a step."""


_EARLIER = {
    **{"hidden": (64, 64, 64), "ladder_ratio": 0.7, "training_walkers": 1000, "last_updates": 400},
    **{"strengths": (1.0, 0.7, 0.0), "window_powers": (0.85, 1.0)},
}
"""Defaults of earlier versions that are others now."""

_EVERY_WAY = ("backend", "reverse", "max_walker_steps", "save_paths")

_ONE_AT_A_TIME = ("block_ps", "few_walkers", "equilibration_ps", "calibration_roots", "calibration_rounds", "tree_roots")

_OF_WAY = {
    "brute_force": (
        *("flux_walkers", "flux_steps", "few_walkers", "block_ps", "equilibration_ps"),
        *("n_slots", "training_flux_walkers", "heating_factor", "heating_tries"),  # starts all over A
    ),
    "splitting": (
        *("n_slots", "flux_walkers", "equilibration_tries", "uniform_fraction", "pilot_roots", "pilot_max_steps"),
        *("production_roots", "max_population", "bias_interval", "waiting_steps", *_ONE_AT_A_TIME),
    ),
    "barrier": (),
}
"""Which settings each way to a rate uses; where a committor is learned ("importance"), all but those above."""


@dataclass(frozen=True)
class RateSettings:
    """Sampling settings; the defaults serve from one particle in a plane to small clusters.

    Attributes
    ----------
    backend : str
        What moves the walkers: "native" (the compiled plugin), "python", "custom_integrator", or "auto", which is the first of
        them that the machine has.
    time_scale : float
        Factor on the settings in steps, `flux_steps` to `residual_steps`, and its square root on `stride` and
        `bias_interval`; 0: chosen, 1 or more, by how many steps walkers between the states take. A time step ten times
        shorter wants it ten times larger.
    annealing : tuple of float
        Temperatures in K to train at before the wanted one, falling; empty: found automatically.
    hidden : tuple of int
        Widths of the network's hidden layers.
    n_slots : int
        Walkers in the largest Context.
    stride : int
        Steps between branchings.
    bias_interval : int
        Steps for which a walker keeps the gradient of ln I that biases it; costs efficiency when long, never correctness.
    uniform_fraction : float
        Part of the roots that is drawn uniformly from the exits, not in proportion to I.
    max_population : int
        Bound on the walkers of one round.
    strengths : tuple of float
        Bias strengths that the pilot compares, the likeliest first: the others are given up when they cost more.
    window_powers : tuple of float
        Powers of I in the weight windows that it compares, the first one while it compares strengths.
    pilot_roots, production_roots : int
        Roots of each pilot run and of each production round; with interfaces twice as many walkers start in a round, in all.
    flux_walkers, flux_steps : int
        Walkers of the flux run, and steps of its first stretch.
    waiting_steps : int
        Steps that a round waits, once all its roots have started, for walkers that arrive neither in A nor in B.
    pool_share : float
        Part of the target error that the pool and the flux may have before production; for later see "Error bars" in
        docs/theory.md.
    min_ess : float
        Effective sample size below which the run goes on.
    max_walker_steps : int
        End beyond this cost: brute force, and rates along a given direction, once there are exits to begin with, with what they
        have; the others without an answer.
    equilibration_tries : int
        Stretches, each twice as long as the one before, after which equilibration in A ends in any case.
    pilot_max_steps : int
        The pilot drops walkers at this age: it only compares strengths and powers. If none has reached B by then, it
        tries longer ones, up to `waiting_steps`. Walkers stop after so many steps on their way to an interface.
    block_ps : float
        With momenta, or where walkers move one at a time: how long a block of the flux run is, the unit of its error bars.
    few_walkers : int
        Flux walkers where they move one at a time.
    equilibration_ps : float
        How long these move from the given structures, with fresh velocities, before anything is counted; at least, where the
        flux says when it is steady.
    calibration_roots, calibration_rounds : int
        Roots of each round in which the pilot measures how probable it is to come to a level, where walkers move one at a time
        (elsewhere as many as `pilot_roots`), and rounds at least.
    tree_roots : int
        Roots of each round of production where walkers move one at a time.
    save_paths : int
        Paths from A to B to write, with their weights; of methods that make weighted paths.
    reverse : bool
        Keep what the rate from B to A starts from: some arrivals in B.
    ladder_ratio : float
        Ratio of neighboring temperatures while annealing.
    heating_factor, heating_tries, heating_roots : float, int, int
        Search for an easy temperature: the factor between tries, their number, and the roots of each.
    training_exits : int
        Exits wanted for training at each temperature.
    training_flux_walkers, training_flux_steps, training_flux_limit : int
        Walkers and first stretch of the flux runs that find them, and the walker-steps after which fewer must do.
    training_roots, training_walkers : int
        Walkers that start a training round from exits, and from places between the states that are known already.
    training_stride, segment_length : int
        Steps between the frames that begin a segment, and most steps from there to its end.
    training_path_length : int
        The same for a round that knows no place between the states yet.
    training_strength : float
        Bias strength while training.
    first_stage_rounds, stage_rounds, last_stage_rounds : int
        Rounds at the first temperature, at each later one, and at the last, at most: training goes on while it is predicted
        to save more production than it costs. ``stage_rounds`` and ``last_stage_rounds`` of 0 take a given model as it is.
    patience : int
        A stage whose latest rounds brought no walker to B goes on for up to so many times its rounds.
    buffer : int
        Newest segments that are trained on.
    last_updates : int
        Gradient steps of each sweep of the final fit to all segments of the last temperature, in batches twice as large,
        of which there are as many as pay; 0: none.
    batch, updates, sweeps : int
        Segments per gradient step, gradient steps per sweep, and sweeps per round; each sweep freezes the reference anew.
    residual_batch, residual_weight, residual_steps : int, float, float
        Places per gradient step where the backward equation is enforced, the weight of its squared residual (0: never),
        and the steps that the residual is added up over.
    learning_rate, learning_rate_decay : float
        Of Adam at the start of a stage, and the factor it falls by until the end.
    """

    backend: str = "auto"
    time_scale: float = 0.0
    annealing: tuple[float, ...] = ()
    hidden: tuple[int, ...] = (48, 48)
    n_slots: int = 1000
    stride: int = 20
    bias_interval: int = 4
    uniform_fraction: float = 0.1
    max_population: int = 4000
    strengths: tuple[float, ...] = (1.0, 0.85, 0.0)
    window_powers: tuple[float, ...] = (1.0,)
    pilot_roots: int = 500
    production_roots: int = 2000
    flux_walkers: int = 500
    flux_steps: int = 500
    waiting_steps: int = 100_000
    pool_share: float = 0.6
    min_ess: float = 100.0
    max_walker_steps: int = 10**10
    equilibration_tries: int = 8
    pilot_max_steps: int = 2000
    # with momenta, or without room for many walkers in one Context
    block_ps: float = 5.0
    few_walkers: int = 8
    equilibration_ps: float = 20.0
    calibration_roots: int = 60
    calibration_rounds: int = 2
    tree_roots: int = 60
    # what else is kept
    save_paths: int = 0
    reverse: bool = False
    # training
    ladder_ratio: float = 0.6
    heating_factor: float = 1.35
    heating_tries: int = 16
    heating_roots: int = 500
    training_exits: int = 1000
    training_flux_limit: int = 4_000_000
    training_flux_walkers: int = 150
    training_flux_steps: int = 250
    training_roots: int = 200
    training_walkers: int = 600
    training_stride: int = 40
    segment_length: int = 200
    training_path_length: int = 3000
    training_strength: float = 1.0
    first_stage_rounds: int = 8
    stage_rounds: int = 5
    last_stage_rounds: int = 10
    patience: int = 3
    buffer: int = 200_000
    batch: int = 512
    updates: int = 100
    sweeps: int = 2
    last_updates: int = 200
    residual_batch: int = 256
    residual_weight: float = 4.0
    residual_steps: float = 20.0
    learning_rate: float = 2e-3
    learning_rate_decay: float = 0.1

    def slowed(self, factor: float) -> RateSettings:
        """A copy for motion that takes ``factor`` times as many steps."""
        longer = {name: getattr(self, name) * factor for name in _LENGTHS}
        longer |= {name: getattr(self, name) * math.sqrt(factor) for name in _RESOLUTIONS}
        whole = {name: max(1, round(value)) for name, value in longer.items() if isinstance(getattr(self, name), int)}
        return replace(self, **{**longer, **whole})

    def continuing(self, begun: RateSettings, way: str) -> RateSettings:
        """A copy for a run that began with other settings: with those that are defaults of then, or that it does not use.

        Parameters
        ----------
        begun : RateSettings
        way : str
            "importance" (a committor is learned), "splitting" (along a given direction), "brute_force" or "barrier".
        """
        today, used = type(self)(), self.used_by(way)
        kept = {
            name: value
            for name, value in _EARLIER.items()
            if getattr(begun, name) == value and getattr(self, name) == getattr(today, name)
        }
        kept |= {field.name: getattr(begun, field.name) for field in fields(self) if field.name not in used}
        return replace(self, **kept)

    def used_by(self, way: str) -> set[str]:
        """Names of the settings that a way to a rate uses, or refuses."""
        return {*_EVERY_WAY, *_OF_WAY[way]} if way in _OF_WAY else {f.name for f in fields(self)}.difference(_ONE_AT_A_TIME)

    def block_steps(self, timestep: float) -> int:
        """Steps of a block, of this many ps each."""
        return max(1, round(self.block_ps / timestep))

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(field.default, str):
                continue
            numbers = value if isinstance(value, tuple) else (value,)
            least = 0 if field.name in _MAY_BE_ZERO else 1 if isinstance(field.default, int) else None
            for number in numbers:
                if not isinstance(number, (int, float)) or not math.isfinite(number) or number < 0:
                    raise InputError(f"{field.name} = {value!r}: a finite number, not negative, is needed")
                if least is not None and number < least:
                    raise InputError(f"{field.name} = {value!r} must be at least {least}")
        if not 0.0 < self.uniform_fraction <= 1.0:
            raise InputError(f"uniform_fraction = {self.uniform_fraction} must be above 0 and at most 1")
        if not 0.0 < self.ladder_ratio < 1.0 < self.heating_factor:
            raise InputError("ladder_ratio must lie between 0 and 1, and heating_factor above 1")
        if not self.strengths:
            raise InputError("strengths must name at least one bias strength")
        if not self.window_powers or not all(0.0 < power <= 1.0 for power in self.window_powers):
            raise InputError("window_powers must name at least one power, each above 0 and at most 1")
