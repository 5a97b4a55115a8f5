"""What an analysis of the mechanism is to do, and how thoroughly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from ..errors import InputError
from ..learning.gated_fit import FitOptions

__all__ = ["AnalysisOptions"]


@dataclass(frozen=True)
class AnalysisOptions:
    """What to do and how thoroughly.

    Attributes
    ----------
    seed : int
    method : str
        Of :func:`~openmm_rare.mechanism.relevance.input_relevance`.
    groups : mapping from name to columns, optional
        Inputs that are randomized together.
    formula_inputs : int
        Most inputs for formulas, the most relevant ones; 0: no formulas.
    functions : tuple of str
        That formulas may hold.
    penalty : float
        Loss per shot that one more number, input or operation in a formula must save.
    n_searches : int
        Independent searches for structures.
    n_folds : int
        Of the cross-validation.
    gate_strengths, weight_decays : tuple of float
        How strongly inputs are weeded out, and weights held down, when the committor is fitted anew; see
        :class:`~openmm_rare.learning.gated_fit.FitOptions`. Those that predict left-out shots best are taken.
    refit : bool
        Analyze the committor that is fitted anew, one member for each fold. Otherwise that of the run, which knows all
        shots: what it says about them is too good.
    configurations, fresh_shots : int
        How many configurations are shot from afresh, and how often each; 0: no calibration.
    state_width : float
        Transition states are configurations of paths with a logit below this.
    platform : str
        OpenMM platform of the fresh shots.
    workers : int
        Processes for the fresh shots of a large system.
    """

    seed: int = 1
    method: str = "noise"
    groups: Mapping[str, Sequence[int]] | None = None
    formula_inputs: int = 3
    functions: tuple[str, ...] = ("exp", "log")
    penalty: float = 1e-3
    n_searches: int = 3
    n_folds: int = 5
    gate_strengths: tuple[float, ...] = (0.3, 0.6, 1.2)
    weight_decays: tuple[float, ...] = (0.3, 1.0)
    refit: bool = True
    configurations: int = 50
    fresh_shots: int = 40
    state_width: float = 0.5
    platform: str = "Reference"
    workers: int = 1

    def __post_init__(self) -> None:
        for name, least in (("configurations", 0), ("fresh_shots", 0), ("formula_inputs", 0), ("n_folds", 2), ("workers", 1)):
            if getattr(self, name) < least:
                raise InputError(f"{name} = {getattr(self, name)} must be at least {least}")
        if self.configurations and self.fresh_shots < 2:
            raise InputError(f"fresh_shots = {self.fresh_shots} must be at least 2 from each configuration")
        if not self.state_width > 0.0:
            raise InputError(f"state_width = {self.state_width} must be positive: a logit")
        if self.penalty < 0.0:
            raise InputError(f"penalty = {self.penalty} must not be negative")

    def fits(self) -> list[FitOptions]:
        """Every pair of a gate strength and a weight decay."""
        return [FitOptions(*each) for each in product(self.gate_strengths, self.weight_decays)]
