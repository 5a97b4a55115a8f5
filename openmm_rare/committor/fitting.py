"""Whether a committor model belongs to a problem: to its System, its states, and how often these are tested."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import InputError
from .base import Committor
from .load import load_committor

if TYPE_CHECKING:
    from pathlib import Path

    from ..problem import RareEventSystem

__all__ = ["as_tested_for", "labelled", "require_fitting"]


def as_tested_for(problem: RareEventSystem, model: Committor) -> RareEventSystem:
    """The problem with its states tested as often as a model has it; as it is for models of versions that did not say.

    For those who use a model beside the paths or shots that it was made from, whose frames decide.
    """
    return problem if model.check_interval is None else problem.with_check_interval(model.check_interval)


def require_fitting(model: Committor, problem: RareEventSystem, name: str | Path = "the model") -> None:
    """Refuse a model that was made for another problem.

    Parameters
    ----------
    model : Committor
    problem : RareEventSystem
        With the check interval of the run: in path sampling that is the number of steps between two frames.
    name : str or path
        Of the model, for the message.

    Raises
    ------
    ValueError
        If System, states or dynamics are others, or only the interval at which the states are tested: that makes them others,
        too, and the message says both intervals and what to set.
    """
    fingerprint = problem.fingerprint()
    if model.fingerprint == fingerprint:
        return
    if model.fingerprint == as_tested_for(problem, model).fingerprint():
        theirs, own = model.check_interval, problem.check_interval
        raise InputError(
            f"{name} knows A and B as tested {_every(theirs)}, but here they are tested {_every(own)}, which makes them "
            f"others: for a rate set check_interval = {theirs} in [system], as config.toml of the run that made the model has "
            f"it; for paths set steps_per_frame = {theirs}; or train a new model"
        )
    raise InputError(
        f"{name} was trained for another system, other states or other dynamics{problem.states.may_be_edited} "
        f"(fingerprint {model.fingerprint[:12]}, {problem.name} has {fingerprint[:12]}); "
        "train a new one, or rebuild the system it belongs to"
    )


def _every(steps: int) -> str:
    return "every step" if steps == 1 else f"every {steps} steps"


def labelled(model: Committor, problem: RareEventSystem) -> Committor:
    """The model; of one that does not know its check interval a copy that is of this problem from now on."""
    if model.check_interval is not None:
        return model
    made = load_committor(model.to_bytes())
    for each in getattr(made, "members", [made]):
        each.fingerprint, each.check_interval = problem.fingerprint(), problem.check_interval
    return made
