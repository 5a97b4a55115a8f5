"""Whether hot walkers left A from places that matter, and that the flux run never visited."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial import cKDTree

from ..descriptors.by_hand import feature_columns
from ..states.region_text import values_text
from ..statistics import effective_sample_size
from ..units import KB

if TYPE_CHECKING:
    from ..committor.model import CommittorModel
    from ..problem import RareEventSystem
    from .dispersal import Dispersal
    from .pool import Pool

__all__ = ["unvisited_exits"]

_SHARE = 0.3  # of the rate, by the model's importance, that unvisited exits must seem to carry
_KNOWN = 30  # effective hot exits, from which that is estimated
_SEVERAL = 5.0  # effective unvisited ones
_FAR = 3.0  # times the distance to the nearest neighbor that one in a hundred exits of the flux run has
_APART = 0.5  # in standard deviations of an input over training, at least: a hot step is longer than a cold one
_HOTTEST = 2.0  # times the wanted temperature
_MOST = 3000  # exits of the flux run that are looked at


def unvisited_exits(problem: RareEventSystem, model: CommittorModel, dispersal: Dispersal, pool: Pool) -> str | None:
    """A sentence, if exits of hot walkers that are like none of the flux run seem to carry a good part of the rate.

    Hot exits are weighted with the ratio of the Boltzmann factors of the two temperatures, and with the model's importance at
    the wanted one. Only where enough of them keep a weight is anything said: hot exits reach further, which alone is no fault.

    Parameters
    ----------
    problem : RareEventSystem
    model : CommittorModel
        At the wanted temperature.
    dispersal : Dispersal
    pool : Pool
    """
    if len(pool.exits) < 2:
        return None
    cold = _places(model, pool.exits.positions[:: -(-len(pool.exits) // _MOST)])
    tree = cKDTree(cold)
    near = max(_FAR * float(np.quantile(tree.query(cold, k=2, p=np.inf)[0][:, 1], 0.99)), _APART)
    temperatures = np.unique(dispersal.exit_temperature)
    for temperature in temperatures[temperatures <= _HOTTEST * problem.temperature]:
        rows = dispersal.exit_temperature == temperature
        exits, energy = dispersal.exits.positions[rows], dispersal.exit_energy[rows]
        exponent = energy * (1.0 / (KB * temperature) - 1.0 / problem.kt)
        weight = np.exp(exponent - exponent.max())
        if effective_sample_size(weight) < _KNOWN:
            continue
        carried = weight * np.exp(model.log_importance(exits))
        new = tree.query(_places(model, exits), p=np.inf)[0] > near
        share = float(carried[new].sum() / carried.sum())
        if share > _SHARE and effective_sample_size(carried[new]) >= _SEVERAL:
            heaviest = exits[new][int(carried[new].argmax())][None]
            place = values_text(problem.states.variables, problem.states.variables(heaviest.astype(np.float64))[0])
            return (
                f"Walkers at {temperature:.0f} K leave A from places where the flux run never did, such as {place}, and by the "
                f"model's importance {100 * share:.0f} % of the rate may come from there: give a structure in that part of A "
                "(more_starts), or run the flux longer by lowering the target error."
            )
    return None


def _places(model: CommittorModel, positions: np.ndarray) -> np.ndarray:
    """Inputs of the model, each over its spread, shape (n, n_inputs)."""
    columns = feature_columns(model.descriptor, positions).T
    return (columns - model.feature_mean.numpy()) / model.feature_scale.numpy()
