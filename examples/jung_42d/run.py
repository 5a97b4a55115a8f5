"""Transition paths of the model of Jung et al. with OpenPathSampling: shooting points chosen by a committor that it learns.

python run.py [--trials 500] [--selector lorentzian|uniform|aimless] [--seed 1] [--out paths]

Needs the extra "ops". OUT.nc is the storage of OpenPathSampling, OUT.npz the committor with all shots; with both there, a run
continues where it stopped.
"""

import argparse
from pathlib import Path

import numpy as np
import openpathsampling as paths
from openmm import unit
from openpathsampling.engines.openmm import Snapshot
from openpathsampling.engines.topology import Topology

from openmm_rare import CommittorModel
from openmm_rare.inertial import LangevinIntegrator
from openmm_rare.ops.engine import RareEventEngine
from openmm_rare.ops.hooks import TrainingHook
from openmm_rare.ops.seeding import seed_path_sampling
from openmm_rare.ops.selector import CommittorSelector
from openmm_rare.ops.shooting import AimlessShootingStrategy, ShootingStrategy, shooting_scheme
from openmm_rare.systems import jung_42d

TARGET = jung_42d.build()


def distance(snapshot, x, y):
    """Distance in the plane from a point, nm."""
    position = snapshot.statics.coordinates._value[0]
    return ((position[0] - x) ** 2 + (position[1] - y) ** 2) ** 0.5


def states():
    """The discs A and B."""
    centers = {"A": jung_42d.CENTER_A, "B": jung_42d.CENTER_B}
    variables = {name: paths.CoordinateFunctionCV(f"to_{name}", distance, x=x, y=y) for name, (x, y) in centers.items()}
    return [paths.CVDefinedVolume(variables[name], 0.0, jung_42d.RADIUS).named(name) for name in "AB"]


def straight_line(engine, a, b, n_frames=40):
    """A first path: a line from A to B, the oscillators as hot as they should be."""
    rng = np.random.default_rng(0)
    frames = []
    for share in np.linspace(0.0, 1.0, n_frames):
        coordinates = np.zeros(42)
        coordinates[:2] = (1 - share) * np.array(jung_42d.CENTER_A) + share * np.array(jung_42d.CENTER_B)
        coordinates[2:] = rng.normal(size=40) * np.sqrt(jung_42d.KT) / jung_42d.frequencies()
        still = np.zeros((14, 3)) * unit.nanometer / unit.picosecond
        frames.append(
            Snapshot.construct(coordinates.reshape(14, 3) * unit.nanometer, np.eye(3) * unit.nanometer, still, engine=engine)
        )
    inner = [frame for frame in frames if not (a(frame) or b(frame))]
    return paths.Trajectory([frames[0], *inner, frames[-1]])


def new_simulation(selector_name, seed, out):
    """Everything that a run starts with."""
    noise = seed_path_sampling(seed)
    integrator = LangevinIntegrator(TARGET.temperature, TARGET.friction, TARGET.timestep)
    integrator.setRandomNumberSeed(noise)
    engine = RareEventEngine(Topology(14), TARGET.system, integrator, platform="Reference", options={"n_steps_per_frame": 10})
    a, b = states()
    model = CommittorModel(TARGET.descriptor_spec(), 14, (64, 64), TARGET.temperature, TARGET.fingerprint())
    selector = CommittorSelector(model, form="uniform" if selector_name == "aimless" else selector_name).named("selector")
    velocities = paths.RandomVelocities(engine=engine)
    strategy = (
        AimlessShootingStrategy(velocities, engine, offset=2)
        if selector_name == "aimless"
        else ShootingStrategy(selector, velocities, engine)
    )
    scheme = shooting_scheme(paths.TPSNetwork.from_states_all_to_all([a, b]), strategy)
    first = straight_line(engine, a, b)
    storage = paths.Storage(str(out), "w", template=first[0])
    storage.save([selector, a, b])
    start = scheme.initial_conditions_from_trajectories(first)
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
    hook = TrainingHook(selector, a, b, arguments.out.with_suffix(".npz"))
    simulation.attach_hook(hook)
    simulation.run_until(arguments.trials)
    simulation.storage.close()
    both = np.array(hook.shots.n_a) * np.array(hook.shots.n_b) > 0
    error = both.std() / np.sqrt(len(both))
    print(f"\n{len(both)} trials, {both.mean():.3f} ± {error:.3f} of them transition paths (0.5 at most on average)")


if __name__ == "__main__":
    main()
