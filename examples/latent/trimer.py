"""Three atoms in space with harmonic distances, and a hidden one: a System whose density in the distances is known.

As the builder of trimer.toml, and: python trimer.py run/trimer, which compares a fit with the exact density.
"""

import sys

import numpy as np
import openmm
import torch

from openmm_rare import Distance, Range, RareEventSystem
from openmm_rare.latent import LatentPotential
from openmm_rare.latent.comparison import divergence, latent_grid, model_density
from openmm_rare.units import KB

TEMPERATURE = 300.0
LENGTHS = (0.12, 0.15, 0.20)
SPREAD = 0.03
MASSES = (16.0, 12.0, 14.0, 10.0)
HIDDEN = 4000.0


def build() -> RareEventSystem:
    """Distances 0-1, 0-2 and 1-2 with springs of kT / SPREAD^2; atom 3, which no coordinate sees, is tied to atom 0."""
    system, force = openmm.System(), openmm.HarmonicBondForce()
    for mass in MASSES:
        system.addParticle(mass)
    for (i, j), length in zip(((0, 1), (0, 2), (1, 2)), LENGTHS, strict=True):
        force.addBond(i, j, length, KB * TEMPERATURE / SPREAD**2)
    system.addForce(force)
    hidden = openmm.CustomBondForce("0.5*k*r^2")
    hidden.addGlobalParameter("k", HIDDEN)
    hidden.addBond(0, 3, [])
    system.addForce(hidden)
    x = (LENGTHS[0] ** 2 + LENGTHS[1] ** 2 - LENGTHS[2] ** 2) / (2 * LENGTHS[0])
    positions = [[0, 0, 0], [LENGTHS[0], 0, 0], [x, np.sqrt(LENGTHS[1] ** 2 - x**2), 0], [0, 0, 0.01]]
    a, b = Range({"r": (0.0, 0.14)}), Range({"r": (0.18, 1.0)})
    return RareEventSystem.from_openmm(
        system,
        np.array(positions),
        a,
        b,
        Distance("r", (0, 1)),
        temperature=TEMPERATURE,
        friction=5.0,
        timestep=0.004,
        inertial=True,
        name="trimer",
    )


def main(folder: str) -> None:
    """KL of the exact density from that of the model, and from models that are wrong on purpose."""
    model = LatentPotential.load(f"{folder}/model.npz", TEMPERATURE)
    grid = latent_grid(model.starts.numpy())
    centers = grid.centers()
    inside = model.metric.inside(centers)

    def coarse(log_density: torch.Tensor) -> np.ndarray:
        made = torch.zeros(len(centers), dtype=torch.float64)
        made[inside] = torch.exp(log_density - log_density.max())
        return grid.coarse(made.numpy().reshape(grid.shape) / made.sum().item())

    at = centers[inside]
    exact = coarse(-0.5 * ((at - torch.tensor(LENGTHS)) ** 2).sum(1) / SPREAD**2 + at.log().sum(1))
    print(f"KL of the exact density from the model       {divergence(exact, grid.coarse(model_density(model, grid))):.2g}")
    forgotten = coarse((-model.potential(at) / model.kt).detach())
    print(f"  from exp(-V/kT), the determinant forgotten {divergence(exact, forgotten):.2g}")
    sample = np.random.default_rng(0).multinomial(60_000, exact.ravel() / exact.sum())
    print(f"  of a histogram of 60000 independent frames {divergence(sample, exact):.2g}")


if __name__ == "__main__":
    main(sys.argv[1])
