"""What path sampling costs beyond the integrator: CPU time per frame on alanine dipeptide in water, every variant in turn.

python engine_overhead.py [--frames 20] [--repeats 15] [--steps-per-frame 10] [--out rows.json]

Each repeat runs every variant for as many frames, one after the other in one process with one thread; the overhead is the
median over the repeats of the ratio to the bare integrator beside it, with its standard error. The states are tested on every
frame, in the two angles that define them, but are out of reach. The last row is OpenMM's own leapfrog integrator, which path
sampling cannot use, for comparison.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
import openmm
import openpathsampling as paths
from openmm import unit
from openpathsampling.engines.openmm import Snapshot
from openpathsampling.engines.topology import Topology

from openmm_rare.dynamics.langevin import BAOABLangevinIntegrator
from openmm_rare.io.files import write_json
from openmm_rare.ops.engine import RareEventEngine
from openmm_rare.ops.volumes import state_volumes, which_state
from openmm_rare.problem import RareEventSystem
from openmm_rare.states.states import Range, States
from openmm_rare.systems import build
from openmm_rare.walkers.machine import Machine


def out_of_reach(target: RareEventSystem) -> tuple[paths.Volume, paths.Volume]:
    """States in the same variables, where no frame comes: a point each."""
    points = [dict.fromkeys(target.states.variables.names, (value, value + 1e-9)) for value in (-1.0, 1.0)]
    return state_volumes(States(target.states.variables, *(Range(point) for point in points)))


def make_engine(target: RareEventSystem, steps_per_frame: int) -> tuple[RareEventEngine, Snapshot]:
    """The engine on the CPU with one thread, and a frame with velocities to start from."""
    integrator = BAOABLangevinIntegrator(target.temperature, target.friction, target.timestep)
    integrator.setRandomNumberSeed(1)
    options = {"n_steps_per_frame": steps_per_frame, "n_frames_max": 100000}
    topology = Topology(len(target.positions))
    engine = RareEventEngine(topology, target.system, integrator, {"Threads": "1"}, options, "CPU")
    box = [vector.value_in_unit(unit.nanometer) for vector in target.system.getDefaultPeriodicBoxVectors()]
    start = Snapshot.construct(
        target.positions * unit.nanometer,
        np.array(box) * unit.nanometer,
        np.zeros_like(target.positions) * unit.nanometer / unit.picosecond,
        engine=engine,
    )
    return engine, engine.randomize_velocities(start)


def variants(target: RareEventSystem, n_frames: int, steps_per_frame: int) -> dict[str, Callable[[], int]]:
    """What to measure: calls that return how many frames they have made, the bare integrator first."""
    engine, start = make_engine(target, steps_per_frame)
    volumes = out_of_reach(target)
    engine.options["n_frames_max"] = n_frames + 1
    outside = paths.AllOutXEnsemble(volumes[0] | volumes[1])
    running = [outside.can_append, paths.LengthEnsemble(slice(0, n_frames + 2)).can_append]
    leapfrog = openmm.LangevinMiddleIntegrator(target.temperature, target.friction, target.timestep)
    context = Machine("CPU", threads=1).context(target.system, leapfrog)
    context.setPositions(target.positions)
    context.setVelocitiesToTemperature(target.temperature, 1)

    def bare(integrator: openmm.Integrator, _: object = None) -> int:
        for _ in range(n_frames):
            integrator.step(steps_per_frame)
        return n_frames

    return {
        "bare integrator": lambda: bare(engine.integrator),
        "generate() of OpenPathSampling": lambda: len(engine.generate(start, running=running)) - 1,
        "shoot() of the engine": lambda: len(engine.shoot(start, lambda frames: which_state(volumes, frames, engine))[0]),
        "bare LangevinMiddleIntegrator": lambda: bare(leapfrog, context),  # which would vanish otherwise
    }


def measure(calls: dict[str, Callable[[], int]], repeats: int) -> list[dict]:
    """Milliseconds of CPU time per frame, and ratios to the first variant with their standard errors."""
    cost = np.empty((repeats, len(calls)))
    for row in [np.empty(len(calls)), *cost]:  # the first is a warm-up
        for column, call in enumerate(calls.values()):
            before = time.process_time()
            n_frames = call()
            row[column] = 1e3 * (time.process_time() - before) / n_frames
    ratio = cost / cost[:, :1]
    resampled = np.random.default_rng(0).integers(0, repeats, (1000, repeats))
    return [
        {
            "variant": name,
            "ms_per_frame": float(np.median(cost[:, column])),
            "best_ms_per_frame": float(cost[:, column].min()),
            "overhead": float(np.median(ratio[:, column]) - 1.0),
            "standard_error": float(np.median(ratio[:, column][resampled], axis=1).std()),
        }
        for column, name in enumerate(calls)
    ]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--steps-per-frame", type=int, default=10)
    parser.add_argument("--out")
    arguments = parser.parse_args()
    target = build("alanine_dipeptide")
    calls = variants(target, arguments.frames, arguments.steps_per_frame)
    rows = measure(calls, arguments.repeats)
    print(f"{len(target.positions)} atoms, {arguments.steps_per_frame} steps a frame")
    print(f"{'':<32} {'ms/frame':>9} {'best':>7} {'overhead':>9}")
    for row in rows:
        error = 100 * row["standard_error"]
        print(
            f"{row['variant']:<32} {row['ms_per_frame']:>9.2f} {row['best_ms_per_frame']:>7.2f} "
            f"{100 * row['overhead']:>+7.1f} % ± {error:.1f}"
        )
    if arguments.out:
        write_json(arguments.out, {"n_atoms": len(target.positions), "rows": rows})


if __name__ == "__main__":
    main()
