"""Collective variables: cheap NumPy functions of the positions in which states are defined.

Variables are evaluated on every tested frame of every walker, so they work on whole batches of positions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import InputError
from ..trust.named_functions import Function, function_label
from ..trust.user_code import faults_in
from .box_variables import Angle, BoxVariable, CoordinationMoment, Dihedral, Distance
from .first_form import variables_from_first_form
from .frame_values import one_per_frame
from .group_coordination import Coordination
from .variable_base import Atom, CollectiveVariable, require_atoms

__all__ = [
    "Angle",
    "BoxVariable",
    "CollectiveVariable",
    "CollectiveVariables",
    "Coordinate",
    "Coordination",
    "CoordinationMoment",
    "Dihedral",
    "Distance",
    "FunctionVariable",
    "LinearCombination",
]

_SEPARATORS = ",="
"""Of names, and of names from units, in files."""
_FEW_ATOMS = 20
"""Of which a message can show the positions."""


def _require_batch(positions: np.ndarray) -> np.ndarray:
    positions = np.asarray(positions, dtype=np.float64)
    if positions.ndim != 3 or positions.shape[2] != 3:
        raise InputError(f"positions must have shape (n, n_atoms, 3), not {positions.shape}")
    return positions


@dataclass(frozen=True, eq=False)
class Coordinate(CollectiveVariable):
    """One Cartesian coordinate of one atom, in nm; ``axis`` 0, 1 or 2 is x, y or z.

    It is that of the positions as they are, which dynamics does not wrap into a periodic box.
    """

    atom: Atom
    axis: int

    unit = "nm"
    is_of_places = True

    def __post_init__(self) -> None:
        require_atoms((self.atom,), 1, self.name)
        if self.axis not in (0, 1, 2):
            raise InputError(f"variable {self.name!r}: axis must be 0, 1 or 2, not {self.axis}")

    def __call__(self, positions: np.ndarray) -> np.ndarray:
        return positions[:, self.atom, self.axis]


@dataclass(frozen=True, eq=False)
class LinearCombination(CollectiveVariable):
    """Sum of coefficients times coordinates, in nm; coefficients of shape (n_atoms, 3).

    Coordinates are those of the positions as they are, which dynamics does not wrap into a periodic box.
    """

    coefficients: np.ndarray

    unit = "nm"
    is_of_places = True

    def __post_init__(self) -> None:
        coefficients = np.array(self.coefficients, dtype=np.float64)
        if coefficients.ndim != 2 or coefficients.shape[1] != 3 or not np.isfinite(coefficients).all():
            raise InputError(f"variable {self.name!r}: coefficients must be finite numbers of shape (n_atoms, 3)")
        object.__setattr__(self, "coefficients", coefficients)

    def __call__(self, positions: np.ndarray) -> np.ndarray:
        return positions.reshape(len(positions), self.coefficients.size) @ self.coefficients.ravel()

    @property
    def named_atoms(self) -> tuple[int, ...]:
        """Those whose coefficients are not all zero."""
        return tuple(np.flatnonzero(self.coefficients.any(axis=1)).tolist())

    def require_fit(self, n_atoms: int) -> None:
        """Refuse a System with another number of atoms than there are rows of coefficients.

        Raises
        ------
        ValueError
        """
        if len(self.coefficients) != n_atoms:
            raise InputError(
                f"variable {self.name!r} has {len(self.coefficients)} rows of coefficients, the system {n_atoms} atoms"
            )


@dataclass(frozen=True, eq=False)
class FunctionVariable(CollectiveVariable):
    """Any module-level function from positions (n, n_atoms, 3) in nm to values (n,), or (n, 1) as mdtraj returns them.

    Each frame must get the value that it would get alone, and the positions must not be changed. In a periodic System they
    are as the dynamics has them, not wrapped: the function takes nearest images itself where it needs them, e.g. with
    :func:`openmm_rare.structure.nearest_image.nearest_image`.
    """

    function: Function

    type_name = "function"

    def __post_init__(self) -> None:
        function_label(self.function, f"variable {self.name!r}: function")

    def __call__(self, positions: np.ndarray) -> np.ndarray:
        name = f"variable {self.name!r}: {function_label(self.function, 'function')}"
        with faults_in(f"{name} fails for positions of shape {positions.shape}"):
            returned = self.function(positions)
        return one_per_frame(returned, len(positions), name)


class CollectiveVariables:
    """Several collective variables of the same positions, evaluated together.

    Coordination moments of equal radius and box share their pair distances.

    Parameters
    ----------
    variables : sequence of CollectiveVariable
        With different names.

    Raises
    ------
    ValueError
        If two variables share a name, or one is empty or holds what separates names in files.
    """

    def __init__(self, variables: Sequence[CollectiveVariable]) -> None:
        self.variables = tuple(variables)
        self.names = tuple(variable.name for variable in self.variables)
        repeated = {name for name in self.names if self.names.count(name) > 1}
        if repeated:
            raise InputError(f"variables must have different names; repeated: {sorted(repeated)}")
        for name in self.names:
            if not name.strip() or any(separator in name for separator in _SEPARATORS):
                raise InputError(f"variable {name!r}: a name must not be empty, nor hold a comma or =; give it another one")

    def __call__(self, positions: np.ndarray) -> np.ndarray:
        """Values, shape (n, n_variables), of positions of shape (n, n_atoms, 3) in nm.

        Raises
        ------
        ValueError
            If the positions have another shape, a variable has not one value for each frame, or a value is not finite (the
            message names variable and frame).
        """
        positions = _require_batch(positions)
        values = np.empty((len(self.variables), len(positions))).T  # regions look at one variable of all frames
        if len(positions) == 0:  # functions of the user's need not know what to do with nothing
            return values
        shared: dict[tuple[float, bytes], tuple[np.ndarray, np.ndarray]] = {}
        for column, variable in enumerate(self.variables):
            if isinstance(variable, CoordinationMoment):
                key = (variable.radius, b"" if variable.periodic_box is None else variable.periodic_box.tobytes())
                if key not in shared:
                    shared[key] = variable.mean_and_deviations(positions)
                values[:, column] = variable.of(*shared[key])
            else:
                values[:, column] = one_per_frame(variable(positions), len(positions), f"variable {variable.name!r}")
        if not np.isfinite(values).all():
            frame, column = np.argwhere(~np.isfinite(values))[0]
            raise InputError(
                f"variable {self.names[column]!r} is {values[frame, column]} in frame {frame}, at positions (nm) "
                f"{np.round(positions[frame], 4).tolist() if len(positions[frame]) <= _FEW_ATOMS else 'of many atoms'}; if the "
                "dynamics blew up, use a shorter timestep or a weaker bias"
            )
        return values

    @classmethod
    def from_description(cls, description: Mapping[str, Mapping[str, Any]]) -> "CollectiveVariables":
        """Inverse of :meth:`describe`; it also reads what the first versions wrote.

        Raises
        ------
        ValueError
            As :meth:`CollectiveVariable.from_description`.
        """
        described = variables_from_first_form(description)
        return cls([CollectiveVariable.from_description(name, each) for name, each in described.items()])

    def in_box(self, box: np.ndarray | None) -> "CollectiveVariables":
        """The same variables in a System with this box, shape (3, 3), nm; None: in one without periodic boundaries.

        Raises
        ------
        ValueError
            If a variable has another box.
        """
        held = [variable.in_box(box) for variable in self.variables]
        return self if all(new is old for new, old in zip(held, self.variables, strict=True)) else type(self)(held)

    def index(self, name: str) -> int:
        """Column of the variable of this name.

        Raises
        ------
        ValueError
            If there is none.
        """
        if name not in self.names:
            raise InputError(f"no collective variable named {name!r}; there are {list(self.names)}")
        return self.names.index(name)

    def describe(self) -> dict[str, dict[str, Any]]:
        """JSON-able parameters of every variable by its name, as a configuration has them."""
        return {variable.name: variable.describe() for variable in self.variables}
