"""Frames all over the plane of two_channel_2d, for plane.toml: python spread.py"""

from pathlib import Path

import numpy as np

positions = np.random.default_rng(1).uniform([-1.5, -1.3, 0.0], [1.5, 1.3, 0.0], (20_000, 1, 3))
np.savez(Path(__file__).with_name("spread.npz"), positions=positions)
