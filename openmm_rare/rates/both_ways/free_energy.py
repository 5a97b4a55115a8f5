r"""What the rates of both ways say together: :math:`K = k_{AB}/k_{BA}` and :math:`\Delta G = -kT \ln K`.

As many paths go from A to B as back, :math:`k_{AB}\,p_A = k_{BA}\,p_B`, where p_A is the share of time with A the state visited
last. K is therefore p_B/p_A.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..estimate import RateEstimate

__all__ = ["Ratio", "both_ways", "of_populations"]

_PARTED = 3.0  # combined standard errors
_SIGMAS = 1.96


@dataclass(frozen=True)
class Ratio:
    """Time with B visited last over that with A.

    Attributes
    ----------
    value : float
    relative_error : float
        Standard error of its logarithm.
    """

    value: float
    relative_error: float

    @property
    def inverse(self) -> Ratio:
        """Of A over B."""
        return Ratio(1.0 / self.value, self.relative_error)

    def details(self, kt: float) -> dict[str, float]:
        """For ``result.json``: with the free energy of B, less that of A, kJ/mol."""
        return {
            "ratio": self.value,
            "ratio_stderr": self.value * self.relative_error,
            "delta_g_kj_mol": -kt * math.log(self.value),
            "delta_g_stderr": kt * self.relative_error,
        }


def both_ways(
    there: RateEstimate, back: RateEstimate, kt: float, folder: str, populations: Ratio | None = None
) -> RateEstimate:
    """The estimate from A to B with what the one from B to A adds: its rate, K and the free energy, and its warnings.

    Parameters
    ----------
    there, back : RateEstimate
        From A to B, where something arrived; from B to A.
    kt : float
        kJ/mol.
    folder : str
        Of the way back, seen from that of the other.
    populations : Ratio, optional
        Counted, where it was; both must agree.
    """
    names = ("rate_per_ps", "rate_stderr", "rate_ci95", "rate_below_per_ps", "complete", "reliable")
    found: dict[str, Any] = {"folder": folder, **{name: getattr(back, name) for name in names}}
    told = [f"From B to A: {sentence}" for sentence in back.warnings]
    if back.rate_below_per_ps is None:
        ratio = Ratio(there.rate_per_ps / back.rate_per_ps, math.hypot(there.relative_error, back.relative_error))
        found |= _named(ratio.details(kt))
        if populations is not None:
            found["populations"] = populations.details(kt)
            told += _parted(ratio, populations)
    return replace(
        there,
        reverse=found,
        warnings=(*there.warnings, *told),
        reliable=there.reliable and back.reliable and not told,
        complete=there.complete and back.complete,
    )


def of_populations(rate: float, back_error: float, ratio: Ratio, kt: float) -> dict[str, Any]:
    """What an estimate says of the way back where populations are what was computed: k_BA = k_AB p_A/p_B.

    Parameters
    ----------
    rate : float
        k_AB, 1/ps.
    back_error : float
        Relative error of k_BA.
    ratio : Ratio
    kt : float
        kJ/mol.
    """
    k = rate / ratio.value
    interval = tuple(float(k * math.exp(sign * _SIGMAS * back_error)) for sign in (-1.0, 1.0))
    found = {"folder": None, "rate_per_ps": k, "rate_stderr": k * back_error, "rate_ci95": interval, "rate_below_per_ps": None}
    return found | {"complete": True, "reliable": True} | _named(ratio.details(kt))


def _named(details: Mapping[str, float]) -> dict[str, float]:
    return {name.replace("ratio", "k_ratio"): value for name, value in details.items()}


def _parted(ratio: Ratio, populations: Ratio) -> list[str]:
    """A sentence, if rates and populations cannot both be right."""
    sigmas = abs(math.log(ratio.value / populations.value)) / math.hypot(ratio.relative_error, populations.relative_error)
    if sigmas <= _PARTED:
        return []
    return [
        f"k_AB/k_BA is {ratio.value:.3g}, but walkers spent {populations.value:.3g} times as long with B visited last as with "
        f"A: {sigmas:.1f} combined standard errors apart. One of the rates misses something slow, or a channel."
    ]
