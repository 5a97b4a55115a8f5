"""From windows to populations: Z_b/p_A, p_B/p_A and the free energy, of both sets together and of each alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ...states.states import NEITHER
from .free_energy import FreeEnergy
from .top import Top
from .windows import Window

__all__ = ["Populations", "populations"]

_BINS = 60
_PARTED = 2.0  # standard errors of the difference between the sets
_FAR_APART = 0.5  # kT


@dataclass(frozen=True)
class Populations:
    """Populations with standard errors; all logarithms, so that errors are relative.

    Attributes
    ----------
    log_ratio, log_back : float
        ln Z_b/p_A and ln p_B/p_A from both sets together.
    block_error, back_error : float
        Their errors from blocks of time.
    of_sets, errors_of_sets : tuple of float
        ln Z_b/p_A from the windows of each set alone.
    steps, errors_of_steps : ndarray, shape (2, n_windows - 1)
        Differences of free energy from window to window, from A to B, of each set, kT.
    s, profile, profile_errors : ndarray, shape (n_bins,), (2, n_bins) and (2, n_bins)
        Free energy along the coordinate by each set, kT, where both have been; zero: all of A.
    shift : float
        What was added to ln Z_b/p_A for the finite steps of walkers in windows.
    """

    log_ratio: float
    block_error: float
    log_back: float
    back_error: float
    of_sets: tuple[float, float]
    errors_of_sets: tuple[float, float]
    steps: np.ndarray
    errors_of_steps: np.ndarray
    s: np.ndarray
    profile: np.ndarray
    profile_errors: np.ndarray
    shift: float = 0.0

    def shifted(self, shift: float) -> Populations:
        """With so much added to ln Z_b/p_A."""
        sets = tuple(value + shift for value in self.of_sets)
        return replace(self, log_ratio=self.log_ratio + shift, of_sets=sets, shift=shift)

    @property
    def difference(self) -> float:
        """By how much the sets disagree about ln Z_b/p_A."""
        return self.of_sets[1] - self.of_sets[0]

    @property
    def relative_error(self) -> float:
        """Of Z_b/p_A: that from blocks of all or of each set, or half of the difference of the sets, whichever is largest.

        A run stops where its error seems small, which is sooner where it seems smaller than it is.
        """
        return max(self.block_error, 0.5 * float(np.hypot(*self.errors_of_sets)), 0.5 * abs(self.difference))

    def parted(self, matters: float) -> bool:
        """Whether the sets disagree by more than their errors say, and by more than what matters."""
        apart, error = abs(self.difference), float(np.hypot(*self.errors_of_sets))
        return apart > max(_PARTED * error, matters) or apart > _FAR_APART

    def place_of_difference(self, n_windows: int) -> int:
        """Between which of the first windows (this one and the next) the sets disagree most."""
        return int(np.argmax(np.abs(self.steps[1] - self.steps[0])[: n_windows - 1]))


def populations(found: FreeEnergy, order: Sequence[int], top: Top, bias: Window, kt: float) -> Populations:
    """What windows say.

    Parameters
    ----------
    found : FreeEnergy
    order : sequence of int
        Those that lead from A to B.
    top : Top
        Says how likely frames between the states are to have come from A: in reversible dynamics, to go there.
    bias : Window
        b is exp(-energy/kT) of this one between the states.
    kt : float
        kJ/mol.
    """
    sample, order = found.sample, list(order)
    from_a = 1.0 - top.committor(sample.s, sample.status)
    log_b = np.where(sample.status == NEITHER, -bias.energy(sample.s, found.period) / kt, -np.inf)
    edges = np.linspace(*np.quantile(sample.s, (0.0005, 0.9995)), _BINS + 1)
    bins = np.searchsorted(edges, sample.s) - 1

    def quantities(rows: np.ndarray, log_weights: np.ndarray, f: np.ndarray) -> np.ndarray:
        weights = np.exp(log_weights - log_weights.max())
        p_a, p_b = weights @ from_a[rows], weights @ (1.0 - from_a[rows])
        z_b = np.exp(log_b[rows]) @ weights
        inside = (bins[rows] >= 0) & (bins[rows] < _BINS)
        density = np.bincount(bins[rows][inside], weights[inside], _BINS) / (edges[1] - edges[0])
        with np.errstate(divide="ignore"):
            return np.concatenate([np.log([z_b / p_a, p_b / p_a]), np.diff(f[order]), -np.log(density / p_a)])

    value, error = found.estimate(quantities)
    each = [found.estimate(quantities, sample.side(side)) for side in (0, 1)]
    n_steps = len(order) - 1
    (sets, errors) = (np.array(column) for column in zip(*each, strict=True))
    both = np.isfinite(sets[:, 2 + n_steps :]).all(axis=0) & np.isfinite(errors[:, 2 + n_steps :]).all(axis=0)
    return Populations(
        float(value[0]),
        float(error[0]),
        float(value[1]),
        float(error[1]),
        tuple(sets[:, 0].tolist()),
        tuple(errors[:, 0].tolist()),
        sets[:, 2 : 2 + n_steps],
        errors[:, 2 : 2 + n_steps],
        (0.5 * (edges[1:] + edges[:-1]))[both],
        sets[:, 2 + n_steps :][:, both],
        errors[:, 2 + n_steps :][:, both],
    )
