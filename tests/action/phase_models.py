"""Model potentials as arrays, mass 1, and exact canonical samples of them by hybrid Monte Carlo."""

import importlib.util
from pathlib import Path

import numpy as np

from openmm_rare.action.data import ActionData
from openmm_rare.action.midpoint_map import verlet_steps
from openmm_rare.action.phase_space import PhaseSpace, Pull

KB = 0.00831446261815324


def example(name):
    """A module of examples/action, which stays off the path of all other tests."""
    path = Path(__file__).parents[2] / "examples" / "action" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"action_example_{name}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def oscillator(q):
    """q^2/2 + q^4/4 in each coordinate."""
    return Pull((q**2 / 2 + q**4 / 4).sum(axis=1), -q - q**3)


def harmonic(q):
    """q^2/2 in each coordinate."""
    return Pull((q**2 / 2).sum(axis=1), -q)


def discs(q):
    """Seven Lennard-Jones discs in a plane."""
    x = q.reshape(len(q), 7, 2)
    d = x[:, :, None] - x[:, None]
    r2 = (d**2).sum(axis=3) + np.eye(7)
    s = np.where(np.eye(7) > 0, 0.0, 1.0 / r2**3)
    force = (24.0 * (2.0 * s**2 - s) / r2)[..., None] * d
    return Pull(2.0 * (s**2 - s).sum(axis=(1, 2)), force.sum(axis=2).reshape(len(q), 14))


def chain(q, alpha=0.25, beta=0.25):
    """Eight sites between fixed ends (Fermi, Pasta, Ulam and Tsingou)."""
    x = np.pad(q, ((0, 0), (1, 1)))
    d = np.diff(x, axis=1)
    pull = d + alpha * d**2 + beta * d**3
    return Pull((d**2 / 2 + alpha * d**3 / 3 + beta * d**4 / 4).sum(axis=1), pull[:, 1:] - pull[:, :-1])


def hexagon():
    """The seven discs at rest, shape (14,)."""
    angle = np.arange(6) * np.pi / 3
    ring = 1.12 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return np.concatenate([np.zeros((1, 2)), ring]).reshape(-1)


def canonical(potential, start, kt, rows, h, steps, seed):
    """Coordinates and momenta at kT."""
    rng = np.random.default_rng(seed)
    q = np.repeat(np.asarray(start, dtype=float)[None], rows, axis=0)
    for _ in range(steps):
        p = rng.normal(size=q.shape) * np.sqrt(kt)
        before = potential(q)
        made = verlet_steps(potential, q, p, h, int(rng.integers(5, 25)), before)
        change = made.pull.energy + (made.p**2).sum(axis=1) / 2 - before.energy - (p**2).sum(axis=1) / 2
        q = np.where((rng.random(rows) < np.exp(-change / kt))[:, None], made.q, q)
    return q, rng.normal(size=q.shape) * np.sqrt(kt)


def plain_space(n):
    """n particles of mass 1 that move in one dimension."""
    return PhaseSpace(np.ones(n), np.zeros((n, 3)), 1)


def data_of(potential, space, start, kt, *, hotter, rows, h, delta, strides, seed=2, steps=40, centered=False):
    """Training data, half at kT and half hotter."""
    parts = []
    for factor, number in ((1.0, seed), (hotter, seed + 100)):
        q, p = canonical(potential, start, factor * kt, rows // 2, h, steps, number)
        if centered:
            q, p = centered_rows(q), centered_rows(p)
        about = {"timestep": delta, "strides": strides, "temperature": kt / KB}
        parts.append(ActionData.of_stretches(potential, space, q, p, **about))
    return ActionData.join(parts)


def centered_rows(rows):
    """Without the motion of the center of mass, in a plane."""
    x = rows.reshape(len(rows), -1, 2)
    return (x - x.mean(axis=1, keepdims=True)).reshape(len(rows), -1)
