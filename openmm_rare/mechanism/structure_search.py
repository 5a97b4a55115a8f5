"""Structures of formulas from genetic programming with Operon (extra ``symbolic``)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..errors import HOW_TO_INSTALL, InputError, MissingPackageError
from .expression import FUNCTIONS, Expression

__all__ = ["MISSING", "SYMBOLS", "is_installed", "search_structures"]

MISSING = f"symbolic regression needs the package pyoperon: {HOW_TO_INSTALL}, or leave formulas out (--formula-inputs 0)"
SYMBOLS: tuple[str, ...] = tuple(FUNCTIONS)
"""Functions that may be asked for."""

_POPULATION, _SELECTED = 500, 1000


def is_installed() -> bool:
    """Whether structures can be searched for here."""
    try:
        import pyoperon.sklearn  # noqa: F401
    except ImportError:
        return False
    return True


def search_structures(
    inputs: np.ndarray,
    target: np.ndarray,
    weights: np.ndarray,
    seed: int,
    functions: Sequence[str] = ("exp", "log"),
    longest: int = 20,
    generations: int = 50,
) -> list[Expression]:
    """Formulas that approach a target, from the simplest to the best: the front of error against length.

    Parameters
    ----------
    inputs : ndarray, shape (n, n_inputs)
    target : ndarray, shape (n,)
    weights : ndarray, shape (n,)
        How much each point counts; Operon knows no weights, so that points are drawn by them.
    seed : int
    functions : sequence of str
        Of :data:`SYMBOLS`.
    longest : int
        Nodes of the longest formula.
    generations : int

    Raises
    ------
    ImportError
        If Operon is missing; the message says what to install.
    ValueError
        For an unknown function.
    """
    unknown = [name for name in functions if name not in SYMBOLS]
    if unknown:
        raise InputError(f"functions {unknown} are unknown; choose from {', '.join(SYMBOLS)}")
    try:
        from pyoperon.sklearn import SymbolicRegressor
    except ImportError as error:
        raise MissingPackageError(MISSING) from error
    rng = np.random.default_rng(seed)
    rows = rng.choice(len(inputs), _SELECTED, p=weights / weights.sum())
    regressor = SymbolicRegressor(
        allowed_symbols=",".join(["add", "sub", "mul", "div", "constant", "variable", *functions]),
        objectives=["r2", "length"],
        max_length=int(longest),
        population_size=_POPULATION,
        generations=int(generations),
        optimizer_iterations=5,
        n_threads=1,
        random_state=int(rng.integers(2**31)),
    )
    regressor.fit(inputs[rows], target[rows])
    columns = {number: int(name[1:]) - 1 for number, name in regressor.variables_.items()}
    found = []
    for member in regressor.pareto_front_:
        try:
            found.append(_expression(member["tree"].Nodes, columns))
        except (ValueError, ZeroDivisionError, OverflowError):  # a formula like 1/0 or e^1000
            continue
    return found


def _expression(nodes: Sequence, columns: dict[int, int]) -> Expression:
    """The formula of a tree in postfix order, in which the first operand of a node stands right before it."""
    stack: list[Expression] = []
    for node in nodes:
        kind = node.Type.name
        if kind == "Constant":
            stack.append(Expression.constant(node.Value))
        elif kind == "Variable":
            stack.append(Expression.variable(columns[node.HashValue], node.Value))
        else:
            operands = [stack.pop() for _ in range(node.Arity)]
            stack.append(_apply(kind, operands))
    if len(stack) != 1:
        raise InputError(f"{len(stack)} formulas in one tree")
    return stack[0]


def _apply(kind: str, operands: list[Expression]) -> Expression:
    first, *others = operands
    if kind in ("Add", "Sub", "Mul", "Div"):
        if not others:
            return {"Sub": -first, "Div": Expression.constant(1.0) / first}.get(kind, first)
        for other in others:
            first = {
                "Add": first.__add__,
                "Sub": first.__sub__,
                "Mul": first.__mul__,
                "Div": first.__truediv__,
            }[kind](other)
        return first
    return first.apply(kind.lower())
