"""Every number that a rate calculation uses and a user may change, with its default."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Settings"]


@dataclass(frozen=True)
class Settings:
    """Sampling settings; the defaults serve from one particle in a plane to small clusters.

    Attributes
    ----------
    annealing : tuple of float
        Temperatures in K to train at before the wanted one, falling; empty: found automatically.
    hidden : tuple of int
        Widths of the network's hidden layers.
    n_slots : int
        Walkers in the largest Context.
    stride : int
        Steps between branchings; length of a training segment.
    uniform_fraction : float
        Part of the roots that is drawn uniformly from the exits, not in proportion to I.
    max_population : int
        Bound on the walkers of one round.
    strengths : tuple of float
        Bias strengths that the pilot compares.
    pilot_roots, production_roots : int
        Roots of each pilot run and of each production round.
    flux_walkers, flux_steps : int
        Walkers of the flux run, and steps of its first stretch.
    pool_share : float
        Largest part of the target error that the pool and the flux may have.
    min_ess : float
        Effective sample size below which the run goes on, and the answer is called unreliable.
    max_walker_steps : int
        Give up beyond this cost.
    """

    annealing: tuple[float, ...] = ()
    hidden: tuple[int, ...] = (64, 64, 64)
    n_slots: int = 1000
    stride: int = 20
    uniform_fraction: float = 0.1
    max_population: int = 4000
    strengths: tuple[float, ...] = (1.0, 0.7, 0.0)
    pilot_roots: int = 200
    production_roots: int = 1000
    flux_walkers: int = 1000
    flux_steps: int = 500
    pool_share: float = 0.6
    min_ess: float = 100.0
    max_walker_steps: int = 10**10
    equilibration_tries: int = 8
    pilot_max_steps: int = 2000
    # training
    ladder_ratio: float = 0.7
    heating_factor: float = 1.35
    heating_tries: int = 16
    heating_roots: int = 500
    training_exits: int = 1000
    training_flux_limit: int = 4_000_000
    training_flux_walkers: int = 150
    training_flux_steps: int = 500
    training_roots: int = 200
    replayed_roots: int = 500
    replay_steps: int = 200
    training_population: int = 1000
    training_max_steps: int = 3000
    training_strength: float = 1.0
    first_stage_rounds: int = 10
    stage_rounds: int = 5
    last_stage_rounds: int = 10
    collect: float = 1.0
    patience: int = 3
    buffer: int = 200_000
    batch: int = 1024
    updates: int = 120
    sweeps: int = 3
    learning_rate: float = 1e-3
    learning_rate_decay: float = 0.1
