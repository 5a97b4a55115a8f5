"""Where a long step pays: ethane with a potential that is dear, a wide torch network in a PythonForce.

    python examples/action/dear_potential.py

CPU seconds for each picosecond, beside the error of the energy: Verlet with steps of 0.25 to 2 fs, and a learned step of 2 fs.
"""

from __future__ import annotations

import argparse
import sys
import time
from itertools import combinations
from pathlib import Path

import numpy as np
import openmm
import torch

from openmm_rare.action.data import ActionData
from openmm_rare.action.features.pair_features import PairFeatures
from openmm_rare.action.features.pair_types import PairTypes
from openmm_rare.action.linear_action import LinearAction
from openmm_rare.action.midpoint_map import MidpointMap, verlet_steps
from openmm_rare.action.phase_space import ContextPotential
from openmm_rare.action.sampling import canonical_starts
from openmm_rare.action.thermostat import total_energy
from openmm_rare.io.files import write_json
from openmm_rare.units import KB

sys.path.insert(0, str(Path(__file__).parent))
import ethane

FINE, STRIDE, KELVIN = 0.00025, 8, 300.0
SIZE = 4.0  # kJ/mol, of what the network adds


class WideNetwork:
    """A smooth function of all distances, with random weights that a seed says: what costs, and changes little."""

    def __init__(self, width: int, seed: int = 1) -> None:
        self.width, self.seed = width, seed
        self._layers = None

    def _made(self) -> list[torch.Tensor]:
        generator = torch.Generator().manual_seed(self.seed)
        sizes = (28, self.width, self.width, 1)
        pairs = zip(sizes[:-1], sizes[1:], strict=True)
        return [torch.randn(n, m, generator=generator, dtype=torch.float64) / np.sqrt(n) for n, m in pairs]

    def __getstate__(self) -> dict[str, int]:
        return {"width": self.width, "seed": self.seed, "_layers": None}

    def __call__(self, state: openmm.State) -> tuple[float, np.ndarray]:
        """Energy in kJ/mol and forces in kJ/mol/nm."""
        if self._layers is None:
            self._layers = self._made()
            self._pairs = torch.tensor(list(combinations(range(8), 2))).T
        x = torch.tensor(state.getPositions(asNumpy=True)._value, requires_grad=True)
        y = (0.2 / (x[self._pairs[0]] - x[self._pairs[1]]).norm(dim=1))[None]
        for number, layer in enumerate(self._layers):
            y = torch.tanh(y @ layer) if number < 2 else y @ layer
        energy = SIZE * y[0, 0]
        (gradient,) = torch.autograd.grad(energy, x)
        return float(energy.detach()), -gradient.numpy()


def rms_of(
    step, potential: ContextPotential, q: np.ndarray, p: np.ndarray, steps: int, kt: float
) -> tuple[float, float, float]:
    """Median rms error of the energy in kT, CPU seconds, and gradients of the action a step."""
    pull = potential(q)
    start, off, evaluations, began = total_energy(p, pull), [], 0, time.process_time()
    for _ in range(steps):
        made = step(q, p, pull)
        q, p, pull = made.q, made.p, made.pull
        evaluations += made.evaluations
        off.append((total_energy(p, pull) - start) / kt)
    seconds = time.process_time() - began
    return float(np.median(np.sqrt((np.array(off) ** 2).mean(axis=0)))), seconds, evaluations / steps


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width", type=int, default=800)
    parser.add_argument("--trajectories", type=int, default=4)
    parser.add_argument("--duration", type=float, default=0.1, help="ps")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    system, kt = ethane.system(), KB * KELVIN
    system.addForce(openmm.PythonForce(WideNetwork(given.width)))
    began = time.process_time()
    options = {"temperature": KELVIN, "timestep": FINE, "strides": STRIDE, "samples": 240, "spacing": 20}
    data = ActionData.from_simulation(system, ethane.positions(), **options)
    sampling, began = time.process_time() - began, time.process_time()
    features = PairFeatures.fitting(PairTypes.of_system(ethane.system()), data.space, data.q, data.p, orders=(4, 2, 1))
    action = LinearAction.fit(data, STRIDE, features)
    fit = time.process_time() - began
    context = openmm.Context(system, openmm.VerletIntegrator(FINE), openmm.Platform.getPlatformByName("Reference"))
    potential = ContextPotential(context, data.space)
    q, p = canonical_starts(
        system, data.space, KELVIN, FINE, given.trajectories, np.random.SeedSequence(5), "Reference", spacing=40
    )
    began = time.process_time()
    for _ in range(20):
        potential(q[:1])
    force, began = (time.process_time() - began) / 20, time.process_time()
    for _ in range(20):
        action.gradient(q[:1], p[:1])
    gradient = (time.process_time() - began) / 20
    total = given.duration * given.trajectories
    rows = []
    for h in (FINE, 2 * FINE, 4 * FINE, 8 * FINE):
        rms, seconds, _ = rms_of(
            lambda a, b, pull, h=h: verlet_steps(potential, a, b, h, 1, pull), potential, q, p, round(given.duration / h), kt
        )
        rows.append((f"Verlet, {1e3 * h:g} fs", rms, seconds / total))
    mapping = MidpointMap(action, potential, 1e-6 * float(np.sqrt(kt)))
    rms, seconds, evaluations = rms_of(mapping.step, potential, q, p, round(given.duration / action.timestep), kt)
    rows.append((f"learned, {1e3 * action.timestep:g} fs", rms, seconds / total))
    print(f"CPU: force {1e3 * force:.2f} ms, gradient of the action {1e3 * gradient:.2f} ms, {evaluations:.1f} of these a step")
    print(f"learning: {sampling:.0f} s of sampling, {fit:.1f} s of fit; own error {action.report.own:.3f}\n")
    print("| step | rms error of the energy (kT) | CPU s for a ps |\n|--|--|--|")
    for name, error, seconds in rows:
        print(f"| {name} | {error:.3g} | {seconds:.1f} |")
    if given.out:
        given.out.parent.mkdir(parents=True, exist_ok=True)
        facts = {"force_ms": 1e3 * force, "gradient_ms": 1e3 * gradient, "evaluations": evaluations, "own": action.report.own}
        write_json(given.out, facts | {"sampling_s": sampling, "fit_s": fit, "rows": [list(row) for row in rows]})


if __name__ == "__main__":
    main()
