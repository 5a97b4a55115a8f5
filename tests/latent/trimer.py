"""Three sites in space with harmonic distances, of which everything is known, as latent coordinates."""

import numpy as np
import torch

from openmm_rare.latent.embedding import Embedding
from openmm_rare.latent.orbits import log_inertia
from openmm_rare.units import KB

TEMPERATURE = 300.0
KT = KB * TEMPERATURE
MASSES = (16.0, 12.0, 14.0)
SPEC = {"kind": "pair_distances"}
SPREAD = 0.03
STIFFNESS = KT / SPREAD**2


def embedding():
    return Embedding(SPEC, MASSES)


def sample(n, center, seed=0, spread=SPREAD):
    """Independent equilibrium distances, shape (n, 3): exp(-U/kT) times the product of the distances."""
    rng, found, have = np.random.default_rng(seed), [], 0
    top = np.prod(np.asarray(center) + 4.5 * spread)
    while have < n:
        r = rng.normal(center, spread, (200_000, 3))
        r = r[(r > 0.02).all(1) & (2.0 * r.max(1) < r.sum(1))]
        found.append(r[rng.random(len(r)) < r.prod(1) / top])
        have += len(found[-1])
    return np.concatenate(found)[:n]


def positions(distances, seed=0):
    """Positions (n, 3, 3) with these distances, turned at random."""
    x = np.zeros((len(distances), 3, 3))
    a, b, c = distances.T
    x[:, 1, 0] = a
    x[:, 2, 0] = (a**2 + b**2 - c**2) / (2.0 * a)
    x[:, 2, 1] = np.sqrt(np.maximum(b**2 - x[:, 2, 0] ** 2, 0.0))
    turns = np.linalg.qr(np.random.default_rng(seed).normal(size=(len(x), 3, 3)))[0]
    return x @ turns.transpose(0, 2, 1)


def energy(distances, center):
    """U, kJ/mol, with its gradient where the distances want one."""
    return 0.5 * STIFFNESS * ((distances - torch.as_tensor(center)) ** 2).sum(1)


def forces(x, center, potential=energy):
    """Forces (n, 3, 3) of a function of the distances."""
    at = torch.tensor(x, requires_grad=True)
    (gradient,) = torch.autograd.grad(potential(embedding().of_sites(at), center).sum(), at)
    return -gradient.numpy()


def exact_v(distances, center):
    """V, kJ/mol, but for a constant."""
    return energy(distances, center) - 0.5 * KT * log_inertia(distances, torch.tensor(MASSES), 3)


def exact_a(distances, center):
    """A, kJ/mol, but for a constant."""
    return energy(distances, center) - KT * distances.log().sum(1)


def slope(function, distances, center):
    """Gradient of one of these, shape (n, 3)."""
    at = torch.as_tensor(distances).clone().requires_grad_(True)
    return torch.autograd.grad(function(at, center).sum(), at)[0]
