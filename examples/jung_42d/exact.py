"""The committor of jung_42d for the dynamics used, sampled on a grid in the plane, and models compared with it.

States are tested on frames only, as in path sampling. No grid and no theory of overdamped motion gives this committor: with
inertia, and with tests every tenth step, it has to be sampled.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import numpy as np
from scipy.interpolate import SmoothBivariateSpline
from scipy.special import expit, logit

from openmm_rare.io.files import write_npz
from openmm_rare.io.tasks import Progress
from openmm_rare.mechanism.validation import Calibration, calibrate
from openmm_rare.systems import jung_42d

__all__ = ["GRID_X", "GRID_Y", "STEPS_PER_FRAME", "Exact", "compare", "on_plane"]

STEPS_PER_FRAME = 10
"""Steps between two tests of the states."""
GRID_X, GRID_Y = np.linspace(-1.1, 1.1, 45), np.linspace(-0.9, 0.9, 37)
"""nm."""
_HIGHEST = 9.0  # kT above the wells
_BLOCK = 40_000  # shots that are run together


class Exact:
    """The committor on the grid up to 9 kT above the wells, with its errors.

    The model is symmetric: half the plane is sampled, the other half is its mirror image.

    Parameters
    ----------
    in_b : ndarray, shape (nx, ny)
        Shots that reached B; NaN where there were none.
    n_shots : int
        From each point.

    Attributes
    ----------
    sampled : ndarray of bool, shape (nx, ny)
    p, stderr : ndarray, shape (nx, ny)
        As sampled, (k + 1/2)/(n + 1), which is never 0 or 1, and its error.
    smooth : ndarray, shape (nx, ny)
        A spline through the logits that deviates from them as much as their errors say.
    """

    def __init__(self, in_b: np.ndarray, n_shots: int) -> None:
        self.in_b, self.n_shots, self.sampled = in_b, n_shots, np.isfinite(in_b)
        self.p = (in_b + 0.5) / (n_shots + 1.0)
        self.stderr = np.sqrt(self.p * (1.0 - self.p) / n_shots)
        x, y = np.meshgrid(GRID_X, GRID_Y, indexing="ij")
        p, error = self.p[self.sampled], self.stderr[self.sampled]
        place = (x[self.sampled], y[self.sampled])
        self._spline = SmoothBivariateSpline(*place, logit(p), w=p * (1.0 - p) / error, s=len(p))
        self._largest = float(logit((n_shots + 0.5) / (n_shots + 1.0)))
        self.smooth = np.where(self.sampled, expit(self._between(x, y)), np.nan)

    def logit(self, positions: np.ndarray) -> np.ndarray:
        """Logits of positions ``(n, n_atoms, 3)``, between the points of the grid, too."""
        return self._between(positions[:, 0, 0], positions[:, 0, 1])

    def _between(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.clip(self._spline(x, y, grid=False), -self._largest, self._largest)

    def summary(self) -> dict[str, float]:
        """Its numbers; the mean squared deviation of the spline in units of the errors is 1 if both are right."""
        smooth = self.smooth[self.sampled]
        chi_squared = np.mean((self.in_b[self.sampled] / self.n_shots - smooth) ** 2 / (smooth * (1.0 - smooth)) * self.n_shots)
        points, largest = int(self.sampled.sum()), float(np.nanmax(self.stderr))
        return {"shots": self.n_shots, "points": points, "largest_stderr": largest, "chi_squared_of_spline": float(chi_squared)}

    @classmethod
    def load(cls, file: Path, n_shots: int, pool: ProcessPoolExecutor, progress: Progress) -> Exact:
        """From the file if it holds as many shots, otherwise made and kept there."""
        if file.exists():
            with np.load(file) as archive:
                if int(archive["n_shots"]) >= n_shots:
                    return cls(archive["in_b"], int(archive["n_shots"]))
        half = _half_of_the_grid()
        x, y = (each[half] for each in np.meshgrid(GRID_X, GRID_Y, indexing="ij"))
        parts = np.array_split(np.arange(len(x)), max(len(x) * n_shots // _BLOCK, 1))
        progress.stage("exact committor", len(x))
        futures = {pool.submit(_shots, x[part], y[part], n_shots, number): part for number, part in enumerate(parts)}
        found = np.empty(len(x))
        for future in as_completed(futures):
            found[futures[future]] = future.result()
            progress.update(len(futures[future]))
        in_b = np.full(half.shape, np.nan)
        in_b[half] = found
        in_b = np.where(half, in_b, (n_shots - in_b)[::-1, ::-1])
        write_npz(file, {"in_b": in_b, "n_shots": np.array(n_shots), "x": GRID_X, "y": GRID_Y})
        return cls(in_b, n_shots)


def _half_of_the_grid() -> np.ndarray:
    """Points of half the grid that are low enough and in no state, booleans ``(nx, ny)``."""
    x, y = np.meshgrid(GRID_X, GRID_Y, indexing="ij")
    wanted = jung_42d.energy(x, y) < jung_42d.energy(*np.array(jung_42d.CENTER_A)) + _HIGHEST
    for cx, cy in (jung_42d.CENTER_A, jung_42d.CENTER_B):
        wanted &= np.hypot(x - cx, y - cy) > jung_42d.RADIUS
    return wanted & (np.arange(x.size).reshape(x.shape) <= x.size // 2)


def _shots(x: np.ndarray, y: np.ndarray, n_shots: int, seed: int) -> np.ndarray:
    """Shots that reach B, from some points of the plane."""
    return np.round(jung_42d.committor(x, y, n_shots, seed, STEPS_PER_FRAME)[0] * n_shots)


def on_plane(logits: Callable[[np.ndarray], np.ndarray], exact: Exact, seed: int | None = None) -> np.ndarray:
    """Logits ``(nx, ny)`` of a function of positions over what was sampled, NaN elsewhere.

    The oscillators are at rest, or with a seed as they are in equilibrium.
    """
    system = jung_42d.build()
    positions = np.zeros((int(exact.sampled.sum()), *system.positions.shape))
    if seed is not None:
        spread = np.full(positions[0].size, np.sqrt(jung_42d.KT))
        spread[2 : 2 + jung_42d.N_OSCILLATORS] /= jung_42d.frequencies()
        positions += (spread * np.random.default_rng(seed).normal(size=(len(positions), spread.size))).reshape(positions.shape)
    positions[:, 0, :2] = np.stack(np.meshgrid(GRID_X, GRID_Y, indexing="ij"), axis=-1)[exact.sampled]
    plane = np.full(exact.sampled.shape, np.nan)
    plane[exact.sampled] = logits(positions)
    return plane


def compare(plane: np.ndarray, exact: Exact, lowest: float = 0.0) -> Calibration:
    """Logits ``(nx, ny)`` against the shots, where the exact committor is between `lowest` and 1 - `lowest`."""
    rows = exact.sampled & (exact.p >= lowest) & (exact.p <= 1.0 - lowest)
    return calibrate(plane[rows], exact.n_shots - exact.in_b[rows], exact.in_b[rows])
