"""From windows and shots to an estimate, with the sentences that say when not to believe it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ...settings.barrier import BarrierSettings
from ..both_ways.free_energy import Ratio, of_populations
from ..estimate import RateEstimate
from ..facts import RunFacts
from ..summary import common_fields
from .crossing_rates import crossing_rates
from .populations import Populations
from .route import Route
from .shots import Shots
from .top import Top
from .window_sets import SIDES, WindowSets
from .windows import Window

if TYPE_CHECKING:
    from ...problem import RareEventSystem

__all__ = ["Findings", "barrier_estimate", "plan"]

_HEAVY = 0.7  # Pareto k
_LOW_YIELD = 0.02
_STIFF = 0.1  # kT: a correction for finite steps in windows, above which the first order is not enough


@dataclass(frozen=True)
class Findings:
    """All that a run knows at one moment.

    Attributes
    ----------
    problem : RareEventSystem
    route : Route
    sets : WindowSets
    bias : Window
        b is its Gaussian.
    top : Top
    populations : Populations
    shots : Shots
    """

    problem: RareEventSystem
    route: Route
    sets: WindowSets
    bias: Window
    top: Top
    populations: Populations
    shots: Shots

    @property
    def frame_ps(self) -> float:
        """Time between two frames."""
        return self.problem.timestep * self.problem.check_interval

    @property
    def per_point(self) -> float:
        """Z_b/(2 p_A dt), 1/ps."""
        return float(np.exp(self.populations.log_ratio)) / (2.0 * self.frame_ps)

    @property
    def rate(self) -> float:
        """k, 1/ps."""
        return self.per_point * self.shots.mean()[0]

    @property
    def errors(self) -> tuple[float, float]:
        """Relative errors of Z_b/p_A and of the mean over points."""
        return self.populations.relative_error, self.shots.relative_error()

    def no_path(self) -> str:
        """What to say if no point gave a transition path."""
        return (
            f"none of {len(self.shots.values)} shooting points near {self.route.text(self.bias.place)} gave a "
            f"transition path: motion along {self.route.coordinate.name} does not lead over the barrier; choose "
            "another coordinate, or the logit of a model"
        )


def plan(found: Findings, target: float, walker_steps: Mapping[str, int]) -> str:
    """What the wanted error takes from here, in a sentence: both parts are to have half of the variance."""
    parts = []
    for error, part, name in zip(found.errors, ("flux", "production"), ("windows", "points"), strict=True):
        parts.append(f"{max(1.0, 2.0 * (error / target) ** 2) * walker_steps[part]:.2g} steps in {name}")
    n_points = max(1.0, 2.0 * (found.errors[1] / target) ** 2) * len(found.shots.values)
    return (
        f"An error of {100 * target:.2g} % takes about {' and '.join(parts)} ({n_points:.0f} points); so far it is "
        f"{100 * float(np.hypot(*found.errors)):.2g} % after {sum(walker_steps.values()):.2g} steps."
    )


def barrier_estimate(facts: RunFacts, found: Findings, settings: BarrierSettings) -> RateEstimate:
    """The estimate of a finished run."""
    errors = found.errors
    total = float(np.hypot(*errors))
    ess, tail = found.shots.tail()
    warnings = _warnings(found, facts, tail)
    curve = crossing_rates(found.route, found.bias, found.shots, found.per_point, errors[0])
    if total > facts.target_error:
        facts = replace(facts, notes=(*facts.notes, plan(found, facts.target_error, facts.walker_steps)))
    return RateEstimate(
        **common_fields(facts, found.rate, found.rate * total, total),
        method="barrier",
        flux_per_ps=None,
        flux_stderr=None,
        p_ab=None,
        p_ab_stderr=None,
        ess=ess,
        pareto_k=tail,
        n_roots=len(found.shots.values),
        n_exits=0,
        strength=0.0,
        window_power=1.0,
        channels={"all": {"fraction": 1.0, "fraction_stderr": 0.0}},
        mean_weight=1.0,
        mean_weight_stderr=0.0,
        pool_relative_error=errors[0],
        roots_relative_error=errors[1],
        reliable=not warnings,
        warnings=tuple(warnings),
        barrier=_details(found, settings),
        curve=None if curve is None else curve.to_dict(),
        reverse=_way_back(found) if settings.reverse else None,
    )


def _way_back(found: Findings) -> dict[str, Any]:
    """k_BA, K and the free energy, from the population of B."""
    pops = found.populations
    error = float(np.hypot(pops.back_error, found.shots.relative_error()))
    return of_populations(found.rate, error, Ratio(float(np.exp(pops.log_back)), pops.back_error), found.problem.kt)


def _warnings(found: Findings, facts: RunFacts, tail: float) -> list[str]:
    """Plain sentences for everything that should shake the reader's trust."""
    pops, route, warnings = found.populations, found.route, []
    if pops.parted(facts.target_error):
        warnings.append(_sets_disagree(found))
    if tail > _HEAVY:
        warnings.append(
            f"A few paths carry most of the answer (Pareto k = {tail:.2f}, above 0.7): the error bar is too small. "
            "Take a narrower b (width in [barrier]), or a better coordinate."
        )
    if abs(pops.shift) > _STIFF:
        warnings.append(
            f"Windows are stiff for the time step: ln Z_b/p_A was corrected by {pops.shift:.2g}, to first order only. Take "
            "fewer windows, a smaller time step, or a coordinate whose steepness at the barrier is more like that in A."
        )
    share = float(found.shots.transition.mean())
    if share < _LOW_YIELD:
        warnings.append(
            f"Only {100 * share:.2g} % of the shooting points gave a transition path: {route.coordinate.name} says little "
            "about where paths go, and its free energy may hide a slow variable."
        )
    return warnings


def _sets_disagree(found: Findings) -> str:
    pops, sets = found.populations, found.sets
    order, where = sets.ordered, pops.place_of_difference(_up_to(found))
    low, high = (found.route.text(sets.windows[number].place) for number in order[where : where + 2])
    one, other = pops.errors_of_sets
    step = float(pops.steps[1, where] - pops.steps[0, where])
    return (
        "Windows that were entered from A and from B disagree about the population of the barrier "
        f"by {abs(pops.difference):.2g} kT (their errors: {one:.2g} and {other:.2g} kT), "
        f"most between {low} and {high} (by {abs(step):.2g} kT): something slow beside {found.route.coordinate.name} keeps "
        "what it was on the way. Run longer (a smaller target error, more equilibration in [barrier]), or choose a coordinate "
        "that sees it; half of the difference is in the error bar."
    )


def _up_to(found: Findings) -> int:
    """Number of windows from A to the first beyond the top: what Z_b/p_A hangs on."""
    sign, place = found.route.sign, found.bias.place
    return 1 + sum(sign * found.sets.windows[number].place < sign * place for number in found.sets.ordered)


def _details(found: Findings, settings: BarrierSettings) -> dict[str, Any]:
    """What ``result.json`` says about windows and shots."""
    pops, sets, shots = found.populations, found.sets, found.shots
    order = sets.ordered
    overlap = sets.free_energy().overlap()[np.ix_(order, order)]
    paths = shots.transition
    details: dict[str, Any] = {
        "along": found.route.coordinate.name,
        "unit": found.route.coordinate.unit,
        "z_b_over_p_a": float(np.exp(pops.log_ratio)),
        "z_b_over_p_a_relative_error": pops.relative_error,
        "block_relative_error": pops.block_error,
        "of_sets": {side: float(np.exp(value)) for side, value in zip(SIDES, pops.of_sets, strict=True)},
        "relative_errors_of_sets": dict(zip(SIDES, pops.errors_of_sets, strict=True)),
        "sets_differ_kt": pops.difference,
        "corrected_for_stiff_windows_kt": pops.shift,
        "place": found.bias.place,
        "width": float(np.sqrt(found.problem.kt / found.bias.stiffness)),
        "windows": [sets.windows[number].place for number in order],
        "least_overlap": float((np.minimum(overlap, overlap.T) - 2.0 * np.eye(len(order))).max(axis=1).min()),
        "overlap": overlap.round(4).tolist(),
        "frames_per_walker": sets.n_frames,
        "points": len(paths),
        "transition_paths": int(paths.sum()),
        "path_ps": float(np.average(shots.column("length")[paths] + 1, weights=shots.values[paths])) * found.frame_ps,
        "profile": {
            "s": pops.s.tolist(),
            **{f"from_{side}": row.tolist() for side, row in zip(SIDES, pops.profile, strict=True)},
            **{f"error_{side}": row.tolist() for side, row in zip(SIDES, pops.profile_errors, strict=True)},
        },
        "log_weights": np.log(shots.values[paths]).round(4).tolist(),
    }
    if settings.reverse:
        back = found.rate * float(np.exp(-pops.log_back))
        details |= {
            "rate_back_per_ps": back,
            "rate_back_stderr": back * float(np.hypot(pops.back_error, shots.relative_error())),
            "p_b_over_p_a": float(np.exp(pops.log_back)),
            "delta_g_kj_mol": -found.problem.kt * pops.log_back,
            "delta_g_stderr": found.problem.kt * pops.back_error,
        }
    return details
