"""Two unequal ways around a hill, with momenta: what share of the paths takes the upper one?

    python examples/validation/two_channels_inertial.py direct                 # the truth, by direct simulation: half a minute
    openmm-rare tps examples/validation/two_channels_inertial.toml --chains 2 --trials 400 --out runs/ways
    python examples/validation/two_channels_inertial.py compare runs/ways      # one or more folders

A chain of path sampling hardly ever changes from one way to the other. Its share of the upper way must be right within three
standard errors, or the run must say that it is not to be trusted; `compare` has exit status 1 if a run is wrong and silent.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import openmm

from openmm_rare import Range, RareEventSystem
from openmm_rare.folders.path_folder import read_path_ensemble
from openmm_rare.paths.ensemble import mean_over_paths
from openmm_rare.states.states import Coordinate
from openmm_rare.units import KB

__all__ = ["build", "force", "shares_of_runs", "simulate", "takes_upper_way"]

TEMPERATURE, MASS, FRICTION, TIMESTEP, STEPS_PER_FRAME = 300.0, 40.0, 1.0, 0.02, 10  # K, Da, 1/ps, ps
EDGE, HILL = 0.8, 0.1  # A is x < -0.8 nm, B is x > 0.8 nm; the top of the hill lies at y = 0.1 nm
ENERGY = "10*(x^2-1)^2+15*exp(-(x^2+(y-0.1)^2)/0.18)+8*y^2"  # kJ/mol; saddles of 5.6 kT below and 6.7 kT above
TRUTH = Path("runs/two_channels_inertial.json")
NSIGMA = 3.0


def build() -> RareEventSystem:
    """The system, for ``[system] builder``."""
    force = openmm.CustomExternalForce(ENERGY)
    force.addParticle(0, [])
    system = openmm.System()
    system.addParticle(MASS)
    system.addForce(force)
    variables = [Coordinate("x", 0, 0), Coordinate("y", 0, 1)]
    regions = Range({"x": (-9.0, -EDGE)}), Range({"x": (EDGE, 9.0)})
    made = RareEventSystem.from_openmm(
        system,
        [[-1.0, 0.0, 0.0]],
        *regions,
        variables,
        temperature=TEMPERATURE,
        friction=FRICTION,
        timestep=TIMESTEP,
        num_dimensions=2,
        inertial=True,
        name="two_channels_inertial",
    )
    return replace(made, descriptor={"kind": "coordinates", "columns": [0, 1], "scale": 0.5})


def takes_upper_way(path: np.ndarray) -> bool:
    """Whether a path of frames (n, 2) or more columns, from A to B or back, first crosses x = 0 above the hill."""
    forward = path if path[0, 0] < path[-1, 0] else path[::-1]
    return bool(forward[np.argmax(forward[:, 0] > 0.0), 1] > HILL)


def force(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Minus the gradient of the energy, kJ/mol/nm."""
    hill = 15.0 * np.exp(-(x**2 + (y - HILL) ** 2) / 0.18)
    return -40.0 * x * (x**2 - 1.0) + hill * x / 0.09, hill * (y - HILL) / 0.09 - 16.0 * y


def simulate(n: int = 4000, n_frames: int = 7500, seed: int = 5) -> tuple[float, float, int]:
    """The share of the upper way in the transitions from A to B of particles in equilibrium, its error, and their number.

    Parameters
    ----------
    n : int
        Particles, one half of which begins in B.
    n_frames, seed : int
    """
    rng, kt = np.random.default_rng(seed), KB * TEMPERATURE
    x, y = -1.0 + 0.1 * rng.normal(size=n), 0.3 * rng.normal(size=n)
    x[n // 2 :] *= -1.0
    vx, vy = rng.normal(size=(2, n)) * np.sqrt(kt / MASS)
    decay = np.exp(-FRICTION * TIMESTEP)
    noise, half = np.sqrt((1.0 - decay**2) * kt / MASS), 0.5 * TIMESTEP
    last, upper = np.where(x < 0.0, 1, 2), np.zeros(n, dtype=bool)
    crossed, seen = np.zeros(n, dtype=bool), [[] for _ in range(n)]
    fx, fy = force(x, y)
    for frame in range(n_frames):
        for _ in range(STEPS_PER_FRAME):  # as openmm_rare.BAOABLangevinIntegrator
            vx, vy = vx + half * fx / MASS, vy + half * fy / MASS
            x, y = x + half * vx, y + half * vy
            vx, vy = decay * vx + noise * rng.normal(size=n), decay * vy + noise * rng.normal(size=n)
            x, y = x + half * vx, y + half * vy
            fx, fy = force(x, y)
            vx, vy = vx + half * fx / MASS, vy + half * fy / MASS
        in_a, in_b = x < -EDGE, x > EDGE
        crossing = (last == 1) & ~in_a & ~crossed & (x > 0.0)
        upper, crossed = np.where(crossing, y > HILL, upper), (crossed | crossing) & ~in_a
        for i in np.flatnonzero(in_b & (last == 1)):
            if frame > n_frames // 15:
                seen[i].append(bool(upper[i]))
        last = np.where(in_a, 1, np.where(in_b, 2, last))
        crossed &= last == 1
    shares = np.concatenate([np.array(each, dtype=float) for each in seen])
    return float(shares.mean()), float(shares.std() / np.sqrt(len(shares))), len(shares)


def shares_of_runs(folders: Sequence[Path]) -> Iterator[tuple[Path, float, float, list[str]]]:
    """Folder, share of the upper way, its standard error, and what the run says against itself."""
    for folder in folders:
        paths = read_path_ensemble(folder)
        above = np.array([takes_upper_way(path[:, 0]) for path in paths.paths], dtype=float)
        warnings = json.loads((folder / "result.json").read_text(encoding="utf-8"))["warnings"]
        yield folder, *mean_over_paths(above, paths.weights, paths.chains), warnings


def main() -> int:
    """Direct simulation, or the comparison of runs with it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("task", choices=["direct", "compare"])
    parser.add_argument("folders", nargs="*", type=Path)
    given = parser.parse_args()
    if given.task == "direct":
        share, error, n = simulate()
        TRUTH.parent.mkdir(parents=True, exist_ok=True)
        TRUTH.write_text(json.dumps({"share": share, "stderr": error, "paths": n}), encoding="utf-8")
        print(f"{share:.3f} +- {error:.3f} of {n} paths take the upper way; in {TRUTH}")
        return 0
    if not TRUTH.is_file():
        parser.error(f"{TRUTH} is missing: run the task direct first")
    truth, silent = json.loads(TRUTH.read_text(encoding="utf-8")), 0
    for folder, share, error, warnings in shares_of_runs(given.folders):
        right = abs(share - truth["share"]) <= NSIGMA * np.hypot(error, truth["stderr"])
        silent += not right and not warnings
        said = " ".join(sentence.split(":")[0] + "." for sentence in warnings) or "nothing"
        print(
            f"{folder}: {share:.3f} +- {error:.3f} (direct {truth['share']:.3f}), {'right' if right else 'WRONG'}; says: {said}"
        )
    print(f"{len(given.folders)} runs, {silent} wrong and silent")
    return int(silent > 0)


if __name__ == "__main__":
    sys.exit(main())
