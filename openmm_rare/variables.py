"""Collective variables: cheap NumPy functions of the positions in which states are defined.

Variables are evaluated on every tested frame of every walker, so they work on whole batches of positions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from .coordination import mean_and_deviations
from .errors import InputError
from .named_functions import Function, function_label, function_of_label
from .nearest_image import box_vectors, nearest_image


def _require_atoms(atoms: Sequence[int], count: int, name: str) -> None:
    if len(atoms) != count or len(set(atoms)) != count or min(atoms) < 0:
        raise InputError(f"variable {name!r}: atoms must be {count} different indices >= 0, not {tuple(atoms)}")


def _require_batch(positions: np.ndarray) -> np.ndarray:
    positions = np.asarray(positions, dtype=np.float64)
    if positions.ndim != 3 or positions.shape[2] != 3:
        raise InputError(f"positions must have shape (n, n_atoms, 3), not {positions.shape}")
    return positions


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Cross products, shape (n, 3), for a single pair several times as fast as ``numpy.cross``."""
    (a_x, a_y, a_z), (b_x, b_y, b_z) = a.T, b.T
    return np.array((a_y * b_z - a_z * b_y, a_z * b_x - a_x * b_z, a_x * b_y - a_y * b_x)).T


@dataclass(frozen=True, eq=False)
class CollectiveVariable:
    """One scalar function of the positions.

    Parameters
    ----------
    name : str
        Name under which regions refer to it.

    Attributes
    ----------
    period : float or None
        Period of a periodic variable (the unit of the variable).
    """

    name: str
    period: float | None = field(default=None, init=False, repr=False)

    def __call__(self, positions: np.ndarray) -> np.ndarray:
        """Values, shape (n,), of positions of shape (n, n_atoms, 3) in nm."""
        raise NotImplementedError

    def describe(self) -> dict[str, Any]:
        """JSON-able parameters, the same in every process."""
        parameters = {f.name: getattr(self, f.name) for f in fields(self) if f.init}
        plain = {key: value.tolist() if isinstance(value, np.ndarray) else value for key, value in parameters.items()}
        return {"kind": type(self).__name__, **{key: value for key, value in plain.items() if value is not None}}


@dataclass(frozen=True, eq=False)
class Coordinate(CollectiveVariable):
    """One Cartesian coordinate of one atom, in nm; ``axis`` 0, 1 or 2 is x, y or z."""

    atom: int
    axis: int

    def __post_init__(self) -> None:
        _require_atoms((self.atom,), 1, self.name)
        if self.axis not in (0, 1, 2):
            raise InputError(f"variable {self.name!r}: axis must be 0, 1 or 2, not {self.axis}")

    def __call__(self, positions: np.ndarray) -> np.ndarray:
        return positions[:, self.atom, self.axis]


@dataclass(frozen=True, eq=False)
class BoxVariable(CollectiveVariable):
    """One that is made of vectors between atoms.

    Parameters
    ----------
    box : array_like of shape (3,) or (3, 3), or Quantity, optional (keyword)
        Edges or vectors of a periodic box, nm, whose nearest images count. It is fixed: for dynamics at constant volume.
        Without one the vectors are taken as they are, which is right for atoms of one molecule, which OpenMM keeps whole.
    """

    box: Any = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        if self.box is not None:
            object.__setattr__(self, "box", box_vectors(self.box, f"variable {self.name!r}: box"))

    def _between(self, positions: np.ndarray, i: int, j: int) -> np.ndarray:
        """Vectors from atom i to atom j, shape (n, 3)."""
        return nearest_image(positions[:, j] - positions[:, i], self.box)


@dataclass(frozen=True, eq=False)
class Distance(BoxVariable):
    """Distance between two atoms, in nm, to the nearest image in a ``box`` if one is given."""

    atoms: tuple[int, int]

    def __post_init__(self) -> None:
        super().__post_init__()
        _require_atoms(self.atoms, 2, self.name)

    def __call__(self, positions: np.ndarray) -> np.ndarray:
        return np.linalg.norm(self._between(positions, *self.atoms), axis=1)


@dataclass(frozen=True, eq=False)
class Angle(BoxVariable):
    """Angle at the second of three atoms, in radians, 0 to pi; ``box`` as for a distance."""

    atoms: tuple[int, int, int]

    def __post_init__(self) -> None:
        super().__post_init__()
        _require_atoms(self.atoms, 3, self.name)

    def __call__(self, positions: np.ndarray) -> np.ndarray:
        i, j, k = self.atoms
        a, b = self._between(positions, j, i), self._between(positions, j, k)
        # arctan2 keeps its precision at 0 and pi, where arccos of the normalized product loses it.
        return np.arctan2(np.linalg.norm(_cross(a, b), axis=1), np.sum(a * b, axis=1))


@dataclass(frozen=True, eq=False)
class Dihedral(BoxVariable):
    """Dihedral angle of four atoms, in radians, -pi to pi, periodic; IUPAC sign (0 is cis); ``box`` as for a distance."""

    atoms: tuple[int, int, int, int]

    def __post_init__(self) -> None:
        super().__post_init__()
        _require_atoms(self.atoms, 4, self.name)
        object.__setattr__(self, "period", 2 * np.pi)

    def __call__(self, positions: np.ndarray) -> np.ndarray:
        i, j, k, m = self.atoms
        b1, b2, b3 = (self._between(positions, p, q) for p, q in ((i, j), (j, k), (k, m)))
        n1, n2 = _cross(b1, b2), _cross(b2, b3)
        y = np.linalg.norm(b2, axis=1) * np.sum(b1 * n2, axis=1)
        return np.arctan2(y, np.sum(n1 * n2, axis=1))


@dataclass(frozen=True, eq=False)
class CoordinationMoment(BoxVariable):
    """Mean (order 1) or central moment (order 2 or 3) of the coordination numbers of all atoms, dimensionless.

    See :func:`openmm_rare.coordination.coordination_numbers`; moments are divided by the number of atoms. ``box`` as for a
    distance.
    """

    order: int
    radius: float

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.order not in (1, 2, 3):
            raise InputError(f"variable {self.name!r}: order must be 1, 2 or 3, not {self.order}")
        if not self.radius > 0:
            raise InputError(f"variable {self.name!r}: radius must be a positive length in nm, not {self.radius}")

    def __call__(self, positions: np.ndarray) -> np.ndarray:
        return self.of(*self.mean_and_deviations(positions))

    def mean_and_deviations(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """:func:`openmm_rare.coordination.mean_and_deviations` with the radius and the box of this variable."""
        return mean_and_deviations(positions, self.radius, self.box)

    def of(self, mean: np.ndarray, deviations: np.ndarray) -> np.ndarray:
        """Values, shape (n,), from :func:`openmm_rare.coordination.mean_and_deviations`."""
        if self.order == 1:
            return mean
        power = deviations * deviations
        if self.order == 3:
            power *= deviations
        return power.sum(axis=0) / len(power)


@dataclass(frozen=True, eq=False)
class LinearCombination(CollectiveVariable):
    """Sum of coefficients times coordinates, in nm; coefficients of shape (n_atoms, 3)."""

    coefficients: np.ndarray

    def __post_init__(self) -> None:
        coefficients = np.array(self.coefficients, dtype=np.float64)
        if coefficients.ndim != 2 or coefficients.shape[1] != 3 or not np.isfinite(coefficients).all():
            raise InputError(f"variable {self.name!r}: coefficients must be finite numbers of shape (n_atoms, 3)")
        object.__setattr__(self, "coefficients", coefficients)

    def __call__(self, positions: np.ndarray) -> np.ndarray:
        return positions.reshape(len(positions), self.coefficients.size) @ self.coefficients.ravel()


@dataclass(frozen=True, eq=False)
class FunctionVariable(CollectiveVariable):
    """Any module-level function from positions (n, n_atoms, 3) in nm to values (n,)."""

    function: Function

    def __post_init__(self) -> None:
        function_label(self.function, f"variable {self.name!r}: function")

    def __call__(self, positions: np.ndarray) -> np.ndarray:
        return self.function(positions)

    def describe(self) -> dict[str, Any]:
        """As :meth:`CollectiveVariable.describe`, with the function by its name."""
        return {"kind": "FunctionVariable", "name": self.name, "function": function_label(self.function, "function")}


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
        If two variables share a name.
    """

    def __init__(self, variables: Sequence[CollectiveVariable]) -> None:
        self.variables = tuple(variables)
        self.names = tuple(variable.name for variable in self.variables)
        repeated = {name for name in self.names if self.names.count(name) > 1}
        if repeated:
            raise InputError(f"variables must have different names; repeated: {sorted(repeated)}")

    def __call__(self, positions: np.ndarray) -> np.ndarray:
        """Values, shape (n, n_variables), of positions of shape (n, n_atoms, 3) in nm.

        Raises
        ------
        ValueError
            If the positions have another shape or a value is not finite (the message names variable and frame).
        """
        positions = _require_batch(positions)
        values = np.empty((len(self.variables), len(positions))).T  # regions look at one variable of all frames
        shared: dict[tuple[float, bytes], tuple[np.ndarray, np.ndarray]] = {}
        for column, variable in enumerate(self.variables):
            if isinstance(variable, CoordinationMoment):
                key = (variable.radius, b"" if variable.box is None else variable.box.tobytes())
                if key not in shared:
                    shared[key] = variable.mean_and_deviations(positions)
                values[:, column] = variable.of(*shared[key])
            else:
                values[:, column] = variable(positions)
        if not np.isfinite(values).all():
            frame, column = np.argwhere(~np.isfinite(values))[0]
            raise InputError(
                f"variable {self.names[column]!r} is {values[frame, column]} in frame {frame}, at positions (nm) "
                f"{positions[frame].tolist()}; if the dynamics blew up, use a shorter timestep or a weaker bias"
            )
        return values

    @classmethod
    def from_description(cls, description: Sequence[Mapping[str, Any]]) -> "CollectiveVariables":
        """Inverse of :meth:`describe`.

        Raises
        ------
        ValueError
            For a kind that does not exist, or a function that cannot be imported.
        """
        return cls([_variable_from(each) for each in description])

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

    def describe(self) -> list[dict[str, Any]]:
        """JSON-able parameters of every variable."""
        return [variable.describe() for variable in self.variables]


def _variable_from(description: Mapping[str, Any]) -> CollectiveVariable:
    """Inverse of :meth:`CollectiveVariable.describe`."""
    parameters = {key: tuple(value) if key == "atoms" else value for key, value in description.items() if key != "kind"}
    kinds = (Coordinate, Distance, Angle, Dihedral, CoordinationMoment, LinearCombination, FunctionVariable)
    known = {kind.__name__: kind for kind in kinds}
    if description["kind"] not in known:
        raise InputError(
            f"collective variables of the kind {description['kind']!r} cannot be read back; use {', '.join(known)}"
        )
    if "function" in parameters:
        parameters["function"] = function_of_label(parameters["function"])
    return known[description["kind"]](**parameters)
