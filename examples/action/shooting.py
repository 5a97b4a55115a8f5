"""Two-way shooting with a learned step beside fine dynamics: paths and committor of a double well with eight modes.

python examples/action/shooting.py --trials 400 --out runs/shooting.json
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
import openpathsampling as paths
from openpathsampling.engines.topology import Topology

from openmm_rare.action.data import ActionData
from openmm_rare.action.features.plain_features import PlainFeatures
from openmm_rare.action.linear_action import LinearAction
from openmm_rare.dynamics.frames import Frames
from openmm_rare.dynamics.unbiased import unbiased_integrator
from openmm_rare.io.files import write_json
from openmm_rare.ops import RareEventEngine, ShootingStrategy, seed_path_sampling, shooting_scheme, state_volumes, trajectory_of
from openmm_rare.ops.action_engine import ActionEngine
from openmm_rare.ops.shooting import shoot_to_state
from openmm_rare.statistics import correlated_mean

sys.path.insert(0, str(Path(__file__).parent))
import double_well

KELVIN = 300.0


def engines(stride: int, seed: int, degrees: tuple[int, int] = (2, 0)) -> tuple[dict[str, RareEventEngine], LinearAction]:
    """Fine dynamics and learned steps, with frames at the same times."""
    problem = double_well.problem(KELVIN)
    data = ActionData.from_simulation(
        problem.system,
        problem.positions,
        temperature=KELVIN,
        timestep=double_well.FINE,
        strides=stride,
        samples=600,
        hotter=3.0,  # so that data are from both wells and the barrier between them
        num_dimensions=1,
        seed=seed,
    )
    action = LinearAction.fit(data, stride, PlainFeatures.fitting(data.q, data.p, degrees))
    integrator = unbiased_integrator(problem)
    integrator.setRandomNumberSeed(seed)
    options = {"n_frames_max": 5000}
    fine = RareEventEngine(
        Topology(9), problem.system, integrator, options=options | {"n_steps_per_frame": stride}, platform="Reference"
    )
    learned = ActionEngine(
        Topology(9),
        problem.system,
        action,
        KELVIN,
        double_well.FRICTION,
        1,
        options | {"n_steps_per_frame": 1},
        seed=seed,
    )
    for engine in (fine, learned):
        engine.initialize()
    return {"fine": fine, "action": learned}, action


def first_path(engine: RareEventEngine, states: list[paths.Volume]) -> paths.Trajectory:
    """From the top of the barrier, both ways, until it joins A and B."""
    top = np.zeros((1, 9, 3))
    while True:
        start = trajectory_of(Frames(top, np.zeros_like(top), np.eye(3)[None]), engine)[0]
        start = paths.RandomVelocities(engine=engine)(start)
        forward, last = shoot_to_state(engine, states, start)
        backward, first = shoot_to_state(engine, states, start.reversed)
        if first != last:
            before, after = (backward.reversed, forward) if first == 0 else (forward.reversed, backward)
            return trajectory_of(before, engine) + paths.Trajectory([start]) + trajectory_of(after, engine)


def sampled(engine: RareEventEngine, trials: int, seed: int) -> tuple[dict[str, object], list[np.ndarray]]:
    """Paths by two-way shooting from uniformly chosen frames."""
    problem = double_well.problem(KELVIN)
    states = list(state_volumes(problem.states))
    seed_path_sampling(seed)
    network = paths.TPSNetwork.from_states_all_to_all(states)
    modifier = paths.RandomVelocities(engine=engine)
    scheme = shooting_scheme(network, ShootingStrategy(paths.UniformSelector(), modifier, engine))
    sample_set = scheme.initial_conditions_from_trajectories(first_path(engine, states))
    simulation = paths.PathSampling(None, scheme, sample_set)
    simulation.output_stream = open("/dev/null", "w")  # noqa: SIM115
    lengths, barrier, kept, accepted = [], [], [], 0
    for trial in range(trials):
        before = simulation.sample_set[0].trajectory
        simulation.run(1)
        path = simulation.sample_set[0].trajectory
        accepted += path is not before
        x = np.array([snapshot.statics.coordinates._value[0][0] for snapshot in path])
        lengths.append(len(path))
        barrier.append(float(np.mean(np.abs(x) < 0.1)))
        if trial % 20 == 0:
            kept.append(np.array([np.asarray(snapshot.statics.coordinates._value) for snapshot in path]))
    burn = trials // 10
    frame = engine.snapshot_timestep._value
    time_ps = [frame * each for each in correlated_mean([np.array(lengths[burn:], dtype=float)])]
    return {
        "trials": trials,
        "accepted": accepted / trials,
        "path_time_ps": time_ps,
        "frames_near_the_top": list(correlated_mean([np.array(barrier[burn:])])),
    }, kept


def committor(engine: RareEventEngine, frames: np.ndarray, shots: int) -> np.ndarray:
    """Shots that reach B, of each frame, shape (n_frames,)."""
    states = list(state_volumes(double_well.problem(KELVIN).states))
    modifier, found = paths.RandomVelocities(engine=engine), np.zeros(len(frames), dtype=int)
    for row, positions in enumerate(frames):
        start = trajectory_of(Frames(positions[None], np.zeros_like(positions)[None], np.eye(3)[None]), engine)[0]
        for _ in range(shots):
            found[row] += shoot_to_state(engine, states, modifier(start))[1]
    return found


def main() -> None:
    """Run the comparison and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=400)
    parser.add_argument("--shots", type=int, default=100)
    parser.add_argument("--stride", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    made, action = engines(given.stride, given.seed)
    print(f"step {1e3 * action.timestep:g} fs, error of what is learned {100 * action.report.own:.2g} %")
    found: dict[str, object] = {"stride": given.stride, "own": action.report.own}
    kept: list[np.ndarray] = []
    for name, engine in made.items():
        began = time.process_time()
        found[name], own = sampled(engine, given.trials, given.seed)
        kept += own
        print(name, json.dumps(found[name]), f"{time.process_time() - began:.0f} CPU s", flush=True)
    frames = np.concatenate(kept)
    frames = frames[np.abs(frames[:, 0, 0]) < 0.25]
    rng = np.random.default_rng(given.seed)
    chosen = frames[rng.choice(len(frames), 8, replace=False)]
    for name, engine in made.items():
        found[f"committor_{name}"] = committor(engine, chosen, given.shots) / given.shots
        print("committor", name, np.round(found[f"committor_{name}"], 2), flush=True)
    p, q = found["committor_fine"], found["committor_action"]
    pooled = np.clip((p + q) / 2, 0.5 / given.shots, None)
    chi = float((((p - q) ** 2) / (2 * pooled * (1 - pooled).clip(0.5 / given.shots) / given.shots)).sum())
    found |= {"chi_square": chi, "degrees": len(p), "summary": made["action"].mover.summary.__dict__}
    print(f"chi^2 of the committors {chi:.1f} for {len(p)}; acceptance {made['action'].mover.summary.acceptance_rate:.4f}")
    if given.out:
        given.out.parent.mkdir(parents=True, exist_ok=True)
        write_json(given.out, found)


if __name__ == "__main__":
    main()
