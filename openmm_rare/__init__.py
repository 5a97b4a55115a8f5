"""Rate constants of rare events in OpenMM from a learned importance function, with error bars to trust.

The public names are loaded on first use, so that ``import openmm_rare`` is quick and needs no compiler and no GPU.
"""

from importlib import import_module

__version__ = "0.1.0"

_HOME = {
    "BruteForceRate": "brute_force",
    "select_atoms": "atom_selection",
    "CommittorModel": "committor",
    "RateEstimate": "estimate",
    "BiasedOverdampedLangevinIntegrator": "integrators",
    "OverdampedLangevinIntegrator": "integrators",
    "ImportanceSamplingRate": "rates",
    "Settings": "settings",
    "Angle": "states",
    "Channels": "states",
    "CollectiveVariables": "states",
    "Coordinate": "states",
    "CoordinationMoment": "states",
    "Dihedral": "states",
    "Disc": "states",
    "Distance": "states",
    "FunctionRegion": "states",
    "FunctionVariable": "states",
    "LabelRule": "states",
    "LinearCombination": "states",
    "Range": "states",
    "States": "states",
    "RareEventSystem": "systems.base",
    "Silent": "tasks",
    "TerminalProgress": "progress",
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
