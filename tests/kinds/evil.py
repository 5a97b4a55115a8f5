"""Files that would run a program when they are read: one that makes a folder, the canary."""

from __future__ import annotations

import os
import pickle
from pathlib import Path


class Program:
    """What makes the canary as soon as it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.canary),)


def python_force(canary: Path, tag: str = "Force", kind: str = "PythonForce") -> str:
    """XML of a PythonForce that holds the program."""
    code = pickle.dumps(Program(canary)).hex()
    return (
        f'<{tag} type="{kind}" version="2" forceGroup="0" name="p" usesPeriodic="0" function="{code}">'
        f"<GlobalParameters/><Particles/></{tag}>"
    )
