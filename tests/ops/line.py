"""A double well on a line for path sampling: overdamped dynamics."""

import numpy as np

from openmm_rare.committor.model import CommittorModel
from world import BARRIER, EDGE, STRIDE, World, coordinate

__all__ = ["BARRIER", "EDGE", "STRIDE", "coordinate"]

FRICTION, TIMESTEP = 1.0, 0.005
"""1/ps; ps."""


def moves(place, rng):
    """Euler-Maruyama along x."""
    spread = np.sqrt(2.0 * TIMESTEP / FRICTION)
    x = place[0]
    while True:
        for _ in range(STRIDE):
            x += -4.0 * BARRIER * x * (x**2 - 1.0) * TIMESTEP / FRICTION + spread * rng.standard_normal(len(x))
        yield place


def level(x):
    """There is no valley."""
    return 0.0


LINE = World("", level, TIMESTEP, FRICTION, inertial=False, axis=0, moves=moves)
make_engine, make_modifier, make_states, make_path = LINE.make_engine, LINE.make_modifier, LINE.make_states, LINE.make_path
observable = LINE.observable


def direct_paths(n_frames=6000, **options):
    """Lengths and mean squares of x of the transition paths of unbiased dynamics, both directions: arrays ``(n_paths,)``."""
    return LINE.direct_paths(n_frames=n_frames, **options)


def make_model(slope):
    """A committor model of one coordinate whose logit is `slope` x."""
    model = CommittorModel({"kind": "coordinates", "columns": [0], "scale": 1.0}, 1, (8,), 300.0, "line")
    tensors = {name: np.zeros_like(value) for name, value in model.tensors().items()}
    tensors["feature_scale"] += 1.0
    tensors["network.0.weight"][:, 0] = slope * np.tile([1.0, -1.0], 4)
    tensors["network.2.weight"][0] = np.tile([1.0, -1.0], 4) / 4.0  # silu(z) - silu(-z) = z
    model.set_tensors(tensors)
    return model
