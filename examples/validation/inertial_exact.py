"""Rates with momenta against exact ones: wells of 5 and 8 kT, frictions of 5 and 20 per ps, with a bias and without.

    python examples/validation/inertial_exact.py                       # slots: minutes
    python examples/validation/inertial_exact.py --way trees           # the same roots one at a time: an hour
    python examples/validation/inertial_exact.py --way brute --bath    # counting, also with a bath, where nothing is exact
    python examples/validation/inertial_exact.py --table               # what there is so far

Exact is the Klein-Kramers equation, with states tested all the time and no time step; counting says what these are worth. The
direction is the exact committor of positions. A finished row is kept, and not computed again.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from openmm_rare import Machine, RareEventSystem, RateSettings
from openmm_rare.bias.bias import Bias
from openmm_rare.bias.calibrated import CalibratedImportance
from openmm_rare.bias.level_table import LevelTable
from openmm_rare.flux.blocks import BlockFlux
from openmm_rare.flux.root_density import RootDensity
from openmm_rare.io.tasks import Silent
from openmm_rare.parallel.executors import Here
from openmm_rare.rates.branching import Branching, WeightWindow
from openmm_rare.rates.production import Production, production_round
from openmm_rare.rates.roots import RootSampler, Steering
from openmm_rare.rates.trees.follower import TreeFollower
from openmm_rare.rates.trees.tree import TreeRules
from openmm_rare.rates.weighted_paths import Patience
from openmm_rare.statistics import effective_sample_size
from openmm_rare.systems import langevin_well
from openmm_rare.systems.klein_kramers import PhaseSolution

__all__ = ["ExactDirection", "count", "look_ahead", "sample"]

OUT = Path("runs/inertial_exact.json")
BARRIERS, FRICTIONS, STRENGTHS = (5.0, 8.0), (5.0, 20.0), (0.0, 1.0)  # kT, 1/ps
TARGET, NSIGMA = 0.045, 3.0
ROOTS = {"slots": 8000, "trees": 300}  # of a round


@dataclass(frozen=True, eq=False)
class ExactDirection:
    """The logit of the committor that is known from positions alone; it goes on as a line into the states."""

    x: np.ndarray
    level: np.ndarray
    slope: np.ndarray
    name: str = "exact"
    logistic: bool = True

    @classmethod
    def of(cls, solution: PhaseSolution) -> ExactDirection:
        """The direction of a solution."""
        q = solution.mean_committor()
        level = np.log(q) - np.log1p(-q)
        return cls(solution.x, level, np.gradient(level, solution.x))

    def __call__(self, positions: np.ndarray) -> np.ndarray:
        """As :class:`openmm_rare.bias.directions.Direction`."""
        return self.gradient(positions)[0]

    def gradient(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """As :class:`openmm_rare.bias.directions.Gradual`."""
        inside = np.clip(x := positions[:, 0, 0], self.x[0], self.x[-1])
        gradient = np.zeros(positions.shape)
        gradient[:, 0, 0] = np.interp(inside, self.x, self.slope)
        return np.interp(inside, self.x, self.level) + gradient[:, 0, 0] * (x - inside), gradient


def look_ahead(barrier: float, friction: float) -> float:
    """How long momenta are remembered on top of the barrier, ps (Kramers)."""
    return 1.0 / (friction / 2.0 + np.sqrt(friction**2 / 4.0 + 4.0 * barrier))


def count(barrier: float, friction: float, bath: bool, time_ps: float, n: int = 4000, seed: int = 1) -> tuple[float, float]:
    """Rate by counting transitions, both ways, of walkers in the integrator's own steps, and its standard error; 1/ps."""
    random, dt, spring = np.random.Generator(np.random.SFC64(seed)), langevin_well.TIMESTEP, langevin_well.BATH * bath
    kept = np.exp(-friction * dt)
    x = random.choice([-1.0, 1.0], n) + 0.1 * random.normal(size=n)
    y = x + random.normal(size=n) / np.sqrt(spring) if bath else x.copy()
    position, velocity = np.stack([x, y])[: 1 + bath], random.normal(size=(1 + bath, n))
    in_a, events = x < 0.0, np.zeros(n)

    def force() -> np.ndarray:
        pull = spring * (position[-1] - position[0])
        return np.stack([langevin_well.force(position[0], barrier) + pull, -pull])[: 1 + bath]

    f, n_steps = force(), round(time_ps / dt)
    for step in range(-2000, n_steps):
        velocity += 0.5 * dt * f
        position += 0.5 * dt * velocity
        velocity = kept * velocity + np.sqrt(1.0 - kept**2) * random.standard_normal(velocity.shape)
        position += 0.5 * dt * velocity
        f = force()
        velocity += 0.5 * dt * f
        last = np.where(position[0] <= -langevin_well.EDGE, True, np.where(position[0] >= langevin_well.EDGE, False, in_a))
        events += (last != in_a) & (step >= 0)
        in_a = last
    rates = events / (n_steps * dt)
    return float(rates.mean()), float(rates.std(ddof=1) / np.sqrt(n))


class Sampler(RootSampler):
    """Follows roots as trees, although many walkers would fit into one Context."""

    def follow(self, n_roots, steering, level, seed, *, first_root=0, **options):  # noqa: ANN001, ANN003, ANN201
        """As the method that it stands for; nothing is left pending."""
        root = self.density.draw(self.pool.log_importance, n_roots, np.random.default_rng(seed), self.pool.weight)
        log_weight = -np.log(self.density(self.pool.log_importance[root]))
        bias = Bias(self.importance, steering.strength, self.settings.bias_interval) if steering.strength else None
        branching = Branching(level, steering.window, self.problem.check_interval, self.settings.max_population)
        rules = TreeRules(self.problem, self.machine, self.importance, branching, 10**7, bias)
        batch = TreeFollower(rules, self.executor).follow(self.pool.exits[root], log_weight, seed, first_root=first_root)
        return root, log_weight, batch


def sample(problem: RareEventSystem, importance: CalibratedImportance, way: str, strength: float, seed: int) -> dict:
    """Rate by flux and weighted paths."""
    settings, machine, progress = RateSettings(), Machine("Reference"), Silent()
    seeds, steps = np.random.SeedSequence(seed), {"flux": 0, "paths": 0}

    def task(kind, compute):  # noqa: ANN001, ANN202
        record = compute(seeds.spawn(1)[0])
        steps["flux"] += int(record["walker_steps"])
        return record

    flux = BlockFlux(problem, settings, settings.flux_walkers, machine, Here(), task, progress)
    flux.equilibrate()
    flux.extend_until(0.3, 100)
    flux.judge(importance)
    flux.extend_until(0.5 * TARGET, 1000)
    density = RootDensity.of_pool(flux.pool.log_importance, settings.uniform_fraction, flux.pool.weight)
    kind = RootSampler if way == "slots" else Sampler
    sampler = kind(problem, importance, settings, machine, flux.pool, density)
    steering, production = Steering(strength, WeightWindow()), Production(1)
    level, random = sampler.level(steering.window), np.random.default_rng(seed)
    while True:
        given = sampler, production, steering, level, ROOTS[way], Patience(walkers=1, steps=10**6), seeds.spawn(1)[0]
        record = production_round(*given)
        production.add(record)
        steps["paths"] += int(record["walker_steps"])
        rate = production.clustered(flux.pool, density)
        draws = rate.bootstrap(random)
        error = rate.relative_error(draws)
        if error <= TARGET:
            weight = production.mean_weight()
            return {"k": rate.value, "error": error * rate.value, "mean_weight": weight, "steps": steps}
        if rate.pool_limit(error, effective_sample_size(production.contribution)) > 0.7 * TARGET:
            flux.extend(flux.n_blocks)


def row(barrier: float, friction: float, way: str, strength: float, bath: bool, events: float) -> dict:
    """One line of the table."""
    exact, begin = langevin_well.exact(barrier, friction), time.process_time()
    if way == "brute":
        k, error = count(barrier, friction, bath, events / (4000 * exact.rate_per_ps))
        found = {"k": k, "error": error}
    else:
        problem, direction = langevin_well.build(barrier, friction), ExactDirection.of(exact)
        scale = LevelTable(direction.level, -np.logaddexp(0.0, -direction.level), True)
        importance = CalibratedImportance(direction, scale, look_ahead(barrier, friction), problem.timestep)
        found = sample(problem, importance, way, strength, seed=1)
    about = {"barrier": barrier, "friction": friction, "way": way, "strength": strength, "bath": bath}
    return {**about, **found, "exact": None if bath else exact.rate_per_ps, "cpu_seconds": time.process_time() - begin}


def table(rows: list[dict]) -> str:
    """In Markdown."""
    lines = ["| barrier (kT) | friction (1/ps) | by | bias | k (1/ps) | k/exact | z | steps |", "|" + "---|" * 8]
    for r in rows:
        name = f"{r['way']}, bath" if r["bath"] else r["way"]
        steps = sum(r.get("steps", {}).values())
        ratio, z = "", ""
        if r["exact"] is not None:
            ratio = f"{r['k'] / r['exact']:.3f} ± {r['error'] / r['exact']:.3f}"
            z = f"{(r['k'] - r['exact']) / r['error']:+.1f}"
        cells = [f"{r['barrier']:g}", f"{r['friction']:g}", name, f"{r['strength']:g}", f"{r['k']:.3e} ± {r['error']:.0e}"]
        lines.append("| " + " | ".join([*cells, ratio, z, f"{steps:.1e}" if steps else ""]) + " |")
    return "\n".join(lines)


def main() -> int:
    """Fill the table; exit status 1 if a rate is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--way", choices=("slots", "trees", "brute"), default="slots")
    parser.add_argument("--bath", action="store_true", help="with --way brute: the well of 5 kT with the bath, too")
    parser.add_argument("--events", type=float, default=10000.0, help="with --way brute")
    parser.add_argument("--table", action="store_true", help="compute nothing")
    given = parser.parse_args()
    rows = json.loads(OUT.read_text(encoding="utf8")) if OUT.is_file() else []
    wanted = (
        [] if given.table else [(h, g, given.way, s, False) for h, g, s in itertools.product(BARRIERS, FRICTIONS, STRENGTHS)]
    )
    if given.way == "brute":
        wanted = [case for case in wanted if case[3] == 0.0]
        wanted += [(5.0, 5.0, "brute", 0.0, True)] if given.bath and not given.table else []
    done = {(r["barrier"], r["friction"], r["way"], r["strength"], r["bath"]) for r in rows}
    for case in wanted:
        if case not in done:
            rows.append(row(*case, given.events))
            OUT.parent.mkdir(parents=True, exist_ok=True)
            OUT.write_text(json.dumps(rows, indent=1), encoding="utf8")
            print(table(rows[-1:]).splitlines()[-1], flush=True)
    print(table(rows))
    wrong = [r for r in rows if r["exact"] is not None and abs(r["k"] - r["exact"]) > NSIGMA * r["error"]]
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
