"""Transition paths of the model of Jung et al. with OpenPathSampling: shooting points chosen by a committor that it learns.

python run.py [--trials 500] [--selector lorentzian|uniform|aimless] [--seed 1] [--out paths]

Needs the extra "ops". OUT.nc is the storage of OpenPathSampling, OUT.npz the committor with all shots; with both there, a run
continues where it stopped.
"""

import argparse
from pathlib import Path

import numpy as np
import openpathsampling as paths

from openmm_rare import CommittorModel, Silent
from openmm_rare.ops import (
    AimlessShootingStrategy,
    CommittorSelector,
    ShootingStrategy,
    TrainingHook,
    seed_path_sampling,
    shooting_scheme,
    state_volumes,
    trajectory_of,
)
from openmm_rare.settings.paths import PathSettings
from openmm_rare.systems import jung_42d
from openmm_rare.tps.chains.chain import make_engine
from openmm_rare.tps.chains.task import PathProblem
from openmm_rare.tps.first_paths.initial_path import initial_path

TARGET = jung_42d.build()


def new_simulation(selector_name, seed, out):
    """Everything that a run starts with."""
    problem = PathProblem(TARGET, PathSettings(steps_per_frame=10), "Reference")
    first = initial_path(problem, seed, Silent())  # a straight line; the oscillators move as dynamics makes them
    noise = seed_path_sampling(seed)
    engine = make_engine(problem)
    engine.integrator.setRandomNumberSeed(noise)
    a, b = state_volumes(TARGET.states)
    about = (TARGET.descriptor_spec(), 14, (32,), TARGET.temperature, TARGET.fingerprint())
    model = CommittorModel(*about, {"kind": "residual"})
    model.standardize(first.positions)
    selector = CommittorSelector(model, form="uniform" if selector_name == "aimless" else selector_name).named("selector")
    velocities = paths.RandomVelocities(engine=engine)
    strategy = (
        AimlessShootingStrategy(velocities, engine, offset=2)
        if selector_name == "aimless"
        else ShootingStrategy(selector, velocities, engine)
    )
    scheme = shooting_scheme(paths.TPSNetwork.from_states_all_to_all([a, b]), strategy)
    trajectory = trajectory_of(first, engine)
    storage = paths.Storage(str(out), "w", template=trajectory[0])
    storage.save([selector, a, b])
    start = scheme.initial_conditions_from_trajectories(trajectory)
    return paths.PathSampling(storage=storage, move_scheme=scheme, sample_set=start), selector, a, b


def old_simulation(out):
    """A run that was stopped."""
    storage = paths.Storage(str(out), "a")
    simulation = storage.pathsimulators[0]
    simulation.restart_at_step(storage.steps[-1])
    selector = next(each for each in storage.shootingpointselectors if isinstance(each, CommittorSelector))
    return simulation, selector, storage.volumes["A"], storage.volumes["B"]


def main():
    """Sample and say how many trials became transition paths."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=500)
    parser.add_argument("--selector", default="lorentzian", choices=("lorentzian", "gaussian", "uniform", "aimless"))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("paths"))
    arguments = parser.parse_args()
    storage = arguments.out.with_suffix(".nc")
    made = old_simulation(storage) if storage.exists() else new_simulation(arguments.selector, arguments.seed, storage)
    simulation, selector, a, b = made
    simulation.save_frequency = 10
    hook = TrainingHook(selector, [a, b], arguments.out.with_suffix(".npz"))
    simulation.attach_hook(hook)
    simulation.run_until(arguments.trials)
    simulation.storage.close()
    both = (np.array(hook.shots.reached) > 0).all(1)
    error = both.std() / np.sqrt(len(both))
    print(f"\n{len(both)} trials, {both.mean():.3f} ± {error:.3f} of them transition paths (0.5 at most on average)")


if __name__ == "__main__":
    main()
