"""How walkers are biased."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import InputError
from .force import require_known
from .importance import ImportanceFunction

__all__ = ["Bias"]


@dataclass(frozen=True)
class Bias:
    """How walkers are biased: dynamics along the gradient of ln I.

    Attributes
    ----------
    importance : ImportanceFunction
        I, which the walkers climb.
    strength : float
        Factor on the bias, 0 to 1; with 0 the dynamics is unbiased.
    interval : int
        Steps for which a gradient of ln I is kept, at least 1; see :class:`openmm_rare.bias.python_force.PythonBias`.
    force : str
        What evaluates ln I: one of :data:`openmm_rare.bias.force.FORCES`, or "auto" for the fastest that fits.

    Raises
    ------
    ValueError
        For an unknown force, or a bias along an importance function that has no gradient.
    """

    importance: ImportanceFunction
    strength: float = 1.0
    interval: int = 1
    force: str = "auto"

    def __post_init__(self) -> None:
        require_known(self.force)
        if self.strength != 0.0 and not hasattr(self.importance, "log_importance_gradient"):
            raise InputError(
                f"importance is a {type(self.importance).__name__}, which has no log_importance_gradient; "
                "a torch module gets it as openmm_rare.bias.importance.TorchImportance(module)"
            )

    @property
    def in_python(self) -> bool:
        """Whether Python may evaluate ln I, as a backend without the plugin prefers."""
        return self.force in ("auto", "python")
