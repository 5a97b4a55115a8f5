"""Rate constants of rare events in OpenMM from a learned importance function, with error bars to trust.

The public names are loaded on first use, so that ``import openmm_rare`` is quick and needs no compiler and no GPU.
"""

from importlib import import_module

__version__ = "0.1.0"

_HOME = {
    "BruteForceRate": "rates.brute_force",
    "select_atoms": "structure.atom_selection",
    "CommittorModel": "committor.model",
    "RateEstimate": "rates.estimate",
    "BAOABLangevinIntegrator": "dynamics.langevin",
    "BiasedOverdampedLangevinIntegrator": "dynamics.overdamped",
    "OverdampedLangevinIntegrator": "dynamics.overdamped",
    "ImportanceSamplingRate": "rates.importance",
    "Settings": "settings.rates",
    "Angle": "states.states",
    "Channels": "states.states",
    "CollectiveVariables": "states.states",
    "Coordinate": "states.states",
    "CoordinationMoment": "states.states",
    "Dihedral": "states.states",
    "Disc": "states.states",
    "Distance": "states.states",
    "FunctionRegion": "states.states",
    "FunctionVariable": "states.states",
    "LabelRule": "states.states",
    "LinearCombination": "states.states",
    "Range": "states.states",
    "States": "states.states",
    "RareEventSystem": "problem",
    "Silent": "io.tasks",
    "TerminalProgress": "io.progress",
}

__all__ = ["__version__", *_HOME]


def __getattr__(name: str) -> object:
    """Import a public name from the module that defines it."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)


def __dir__() -> list[str]:
    """Names for completion."""
    return sorted({*globals(), *_HOME})
