"""Parts of A that do not exchange: what it means for the rate, in sentences and numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ..states.states import States
from ..statistics import ClusteredRate
from .agreement import Agreement, Parting, Quantity, two_parts
from .run import FLUX, WEIGHTED_FLUX, FluxRun

__all__ = ["doubts_about_a", "doubts_about_parts", "mixing_of", "note_on_parts"]

_SIGNIFICANT = 1.5  # standard errors between the rates of two parts: with wrong populations, about as many of the whole rate
_UNKNOWN = 0.5  # relative error of a part's rate, above which it is as good as unknown
_LEAST_WEIGHTED = 50  # effective walkers


def mixing_of(flux: FluxRun) -> dict | None:
    """What ``result.json`` says about the agreement of flux walkers."""
    if flux.agreement is None:
        return None
    shown = [FLUX, WEIGHTED_FLUX, *(variable.name for variable in flux.problem.states.variables.variables)]
    found = flux.agreement.to_dict(shown)
    if flux.weighted is not None:
        start = flux.weighted
        name, r_hat = max(start.r_hat.items(), key=lambda item: item[1])
        found["weighted"] = {
            "from_k": start.temperature,
            "ess": start.ess,
            "walkers": len(start.frames),
            "r_hat_hot": {name: float(r_hat)},
        }
    return found


def note_on_parts(flux: FluxRun) -> str | None:
    """What should be known of an A whose walkers are weighted."""
    if flux.weighted is None:
        return None
    parts = two_parts(flux.agreement, flux.found, flux.problem.states)
    where = "" if parts is None else f", such as those near {parts.name} = {parts.values[0]} and near {parts.values[1]}"
    return (
        f"A has parts that hardly exchange{where}: its walkers are weighted, annealed from {flux.weighted.temperature:.0f} K, "
        f"and worth {flux.weighted.ess:.0f} independent ones."
    )


def doubts_about_a(flux: FluxRun, rate: ClusteredRate, target_error: float) -> list[str]:
    """Sentences for parts of A whose populations are not known well enough, where that matters for the rate."""
    if flux.agreement is None or flux.agreement.agree:
        return []
    if flux.weighted is not None:
        return [*_few_weighted(flux.weighted.ess), *([_STUCK] if flux.stuck else [])]
    why = f" ({flux.failure[0].lower() + flux.failure[1:]})" if flux.failure else ""
    return doubts_about_parts(
        flux.agreement,
        flux.found,
        flux.problem.states,
        lambda members: _rate_of(rate.part(members)),
        rate.value,
        target_error,
        f"{why}. {_PARTS}: equilibrate longer (flux_steps), {_CURE}",
    )


def doubts_about_parts(
    agreement: Agreement,
    found: Sequence[Quantity],
    states: States,
    rate_of: Callable[[np.ndarray], tuple[float, float]],
    whole: float,
    target_error: float,
    advice: str,
) -> list[str]:
    """A sentence on parts of A between which walkers do not move, if the rates out of them differ or may.

    Parameters
    ----------
    agreement : Agreement
        Of walkers that do not agree.
    found : sequence of Quantity
        What they were compared by.
    states : States
    rate_of : callable
        Rate out of the walkers of a mask, shape (n_walkers,), and its standard error, infinite if it is not known.
    whole : float
        The rate of all.
    target_error : float
        Relative difference that does not matter.
    advice : str
        How the sentence ends.
    """
    parts = two_parts(agreement, found, states)
    if parts is None:
        name, r_hat = agreement.worst
        return [f"Walkers of different starts in A do not agree: R-hat of the {name} is {r_hat:.2f}{advice}"]
    rates = [rate_of(members) for members in (~parts.here, parts.here)]
    return [_sentence(agreement, parts, rates, advice)] if _matters(rates, whole, target_error) else []


_PARTS = "A seems to have parts that do not exchange, whose populations are not known"
_CURE = "make A smaller so that it holds one of them, or compute the rate from each part as a state of its own."


_STUCK = (
    "The error could not be made as small as asked for: the parts of A need more weighted walkers, and no more could be "
    "annealed. Raise flux_walkers, or make A smaller."
)


def _few_weighted(ess: float) -> list[str]:
    if ess >= _LEAST_WEIGHTED:
        return []
    return [
        f"The parts of A do not exchange, and the walkers that say how much each counts are worth {ess:.0f} independent ones "
        f"only ({_LEAST_WEIGHTED} at least): raise flux_walkers, or make A smaller."
    ]


def _rate_of(part: ClusteredRate) -> tuple[float, float]:
    """Rate and standard error of a part; an unknown error where hardly any root began there."""
    if part.exits.sum() == 0.0:
        return 0.0, 0.0
    if len(part.root_value) < 2 or len(part.time) < 2 or not part.root_value[:, 0].any():
        return 0.0, float("inf")
    return part.value, part.value * float(np.hypot(*part.errors()))


def _matters(rates: list[tuple[float, float]], whole: float, target_error: float) -> bool:
    """Whether the rates of two parts differ, or may, by so much that their populations count."""
    (one, error), (other, its_error) = rates
    both = float(np.hypot(error, its_error))
    if not both < _UNKNOWN * whole:
        return True
    return abs(one - other) > max(_SIGNIFICANT * both, target_error * whole)


def _sentence(agreement: Agreement, parts: Parting, rates: list[tuple[float, float]], advice: str) -> str:
    share = 100.0 * float(parts.here.mean())
    said = [f"{value:.2g}" if np.isfinite(error) else "unknown" for value, error in rates]
    r_hat = max(agreement.r_hat[parts.name], agreement.between_walkers(parts.name))
    return (
        f"Walkers in A near {parts.name} = {parts.values[0]} and near {parts.values[1]} stay apart (R-hat {r_hat:.2f}), and "
        f"the rates out of the two differ: {said[0]} and {said[1]} 1/ps. How often each is populated is not known; it was "
        f"taken as {100 - share:.0f} and {share:.0f} %{advice}"
    )
