"""Two wells on a plane for path sampling: dynamics with inertia, in a valley along y = TILT x."""

import numpy as np

from world import BARRIER, STRIDE, World

STIFFNESS, TILT, FRICTION, TIMESTEP = 3.0, 0.7, 2.5, 0.02
"""kT/nm^2; slope of the valley; 1/ps; ps."""


def moves(place, rng):
    """BAOAB."""
    velocity, kept = rng.standard_normal(place.shape), np.exp(-FRICTION * TIMESTEP)

    def kick():
        x, y = place
        across = 2.0 * STIFFNESS * (y - TILT * x)
        velocity[0] -= 0.5 * TIMESTEP * (4.0 * BARRIER * x * (x**2 - 1.0) - TILT * across)
        velocity[1] -= 0.5 * TIMESTEP * across

    while True:
        for _ in range(STRIDE):
            kick()
            place += 0.5 * TIMESTEP * velocity
            velocity *= kept
            velocity += np.sqrt(1.0 - kept**2) * rng.standard_normal(place.shape)
            place += 0.5 * TIMESTEP * velocity
            kick()
        yield place


def valley(x):
    """Its bottom."""
    return TILT * x


PLANE = World(f"+{STIFFNESS}*(y-{TILT}*x)^2+z^2", valley, TIMESTEP, FRICTION, inertial=True, axis=1, moves=moves)
make_engine, make_modifier, make_states, make_path = PLANE.make_engine, PLANE.make_modifier, PLANE.make_states, PLANE.make_path
observable, direct_paths = PLANE.observable, PLANE.direct_paths
