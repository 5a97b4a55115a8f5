"""Short formulas for the committor's logit, judged by the likelihood of the shots ("Mechanism" in docs/theory.md)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import minimize

from ..errors import InputError
from ..learning.losses import binomial_loss
from .expression import Expression
from .structure_search import search_structures
from .table import Logit, ShotTable, shot_losses

__all__ = ["Formula", "FormulaFront", "find_formulas", "folds", "held_out_losses", "refine"]

_LARGEST_TARGET = 6.0  # logits beyond this are the network's extrapolation
_MOST_STRUCTURES = 12  # of the front that are followed up
_SMALL = 1e-3  # ridge, so that a coefficient that the shots do not determine stays where it is


@dataclass(frozen=True, eq=False)
class Formula:
    """A formula for the logit.

    Attributes
    ----------
    expression : Expression
        Of the inputs of the whole table.
    text : str
    complexity : int
    loss : float
        Per shot, on all shots.
    held_out, held_out_stderr : float
        Loss per shot on shots that its coefficients were not fitted to, and its standard error.
    gap, gap_stderr : float
        ``held_out`` minus the network's on the same shots.
    """

    expression: Expression
    text: str
    complexity: int
    loss: float
    held_out: float
    held_out_stderr: float
    gap: float
    gap_stderr: float

    def row(self) -> dict:
        """JSON-able."""
        names = ("text", "complexity", "loss", "held_out", "held_out_stderr", "gap", "gap_stderr")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True, eq=False)
class FormulaFront:
    """The best formula of every complexity, from the simplest on.

    Attributes
    ----------
    formulas : list of Formula
    chosen : int
        The one with the least ``held_out + penalty * complexity``.
    penalty : float
        Loss per shot that one more number, input or operation must save.
    network_held_out, network_held_out_stderr : float
        Loss per shot of networks trained without the shots that they are asked about.
    inputs : tuple of str
        What formulas could be made of.
    """

    formulas: list[Formula]
    chosen: int
    penalty: float
    network_held_out: float
    network_held_out_stderr: float
    inputs: tuple[str, ...]

    def summary(self) -> dict:
        """JSON-able."""
        names = ("inputs", "chosen", "penalty", "network_held_out", "network_held_out_stderr")
        return {**{name: getattr(self, name) for name in names}, "front": [each.row() for each in self.formulas]}


def refine(expression: Expression, table: ShotTable) -> tuple[Expression, float]:
    """The same structure with the most likely coefficients, and its loss per shot; ``inf`` where it is not finite."""
    inputs, n_a, n_b = (torch.as_tensor(each) for each in (table.inputs, table.n_a, table.n_b))
    start = expression.constants()

    def objective(values: np.ndarray) -> tuple[float, np.ndarray]:
        constants = torch.tensor(values, requires_grad=True)
        loss = binomial_loss(expression.evaluate(inputs, constants), n_a, n_b)
        loss = loss + _SMALL / table.n_shots * ((constants - torch.as_tensor(start)) ** 2).sum()
        if not torch.isfinite(loss):
            return 1e10, np.zeros_like(values)
        (gradient,) = torch.autograd.grad(loss, constants)
        return loss.item(), torch.nan_to_num(gradient).numpy()

    best = minimize(objective, start, jac=True, method="L-BFGS-B", options={"maxiter": 100})
    refined = expression.with_constants(best.x)
    loss = table.loss(refined(table.inputs))
    return (refined, loss) if np.isfinite(loss) else (expression, float("inf"))


def folds(n: int, k: int, rng: np.random.Generator) -> list[np.ndarray]:
    """The numbers below n in k random parts.

    Raises
    ------
    ValueError
        If there are not 2 to n parts.
    """
    if not 2 <= k <= n:
        raise InputError(f"k = {k} parts of {n} shooting points: take 2 to {n}")
    return np.array_split(rng.permutation(n), k)


def held_out_losses(fit: Callable[[np.ndarray], Logit], table: ShotTable, parts: Sequence[np.ndarray]) -> np.ndarray:
    """Loss of the shots from every point, by what was fitted without them; shape ``(n,)``.

    Parameters
    ----------
    fit : callable
        Rows to fit to -> logits as a function of the inputs.
    """
    losses = np.zeros(len(table))
    for part in parts:
        logit = fit(np.setdiff1d(np.arange(len(table)), part))
        losses[part] = shot_losses(logit(table.inputs[part]), table.n_a[part], table.n_b[part])
    return losses


def find_formulas(
    network: Logit,
    network_losses: np.ndarray,
    table: ShotTable,
    columns: Sequence[int],
    parts: Sequence[np.ndarray],
    seed: int,
    *,
    penalty: float = 1e-3,
    functions: Sequence[str] = ("exp", "log"),
    n_searches: int = 3,
    longest: int = 20,
    generations: int = 50,
    on_search: Callable[[], None] = lambda: None,
) -> FormulaFront:
    """Search for formulas of a few inputs.

    Structures come from genetic programming on the network's logit, where points count by p (1 - p) as in the likelihood
    near its maximum. Coefficients are then those of the largest likelihood of the shots, terms are dropped one by one, and
    what is best at its complexity is kept. A constant and a linear logit always take part.

    Parameters
    ----------
    network : callable
        The model's logit as a function of its inputs.
    network_losses : ndarray, shape (n,)
        Held-out losses of the network on these shots.
    table : ShotTable
        With all inputs.
    columns : sequence of int
        Inputs that may occur.
    parts : sequence of ndarray
        Folds for the held-out losses.
    seed : int
    penalty : float
        For the formula that is pointed out.
    functions, longest, generations
        See :func:`openmm_rare.mechanism.structure_search.search_structures`.
    n_searches : int
        Independent searches; 0 leaves only the constant and the linear logits.
    on_search : callable
        Called after each search.

    Raises
    ------
    ImportError
        If Operon is missing.
    """
    columns = list(columns)
    logit, weights = _targets(network, table)
    candidates = simple_formulas(columns)
    for child in np.random.SeedSequence(seed).spawn(n_searches):
        number = int(child.generate_state(1)[0]) % 2**31
        found = search_structures(table.inputs[:, columns], logit, weights, number, functions, longest, generations)
        candidates += [_renumbered(each, columns) for each in found]
        on_search()
    best = _best_fits(candidates, table)
    formulas = [_judged(expression, loss, table, parts, network_losses) for expression, loss in best]
    chosen = int(np.argmin([each.held_out + penalty * each.complexity for each in formulas]))
    return FormulaFront(formulas, chosen, penalty, *_per_shot(network_losses, table), tuple(table.names[c] for c in columns))


def _targets(network: Logit, table: ShotTable) -> tuple[np.ndarray, np.ndarray]:
    """The logits that structures are searched for, and how much each point counts, both ``(n,)``."""
    logit = np.clip(network(table.inputs), -_LARGEST_TARGET, _LARGEST_TARGET)
    return logit, (table.n_a + table.n_b) / (2.0 + 2.0 * np.cosh(logit))


def simple_formulas(columns: Sequence[int]) -> list[Expression]:
    """A constant, the linear logit of each input, and that of all."""
    one = Expression.constant(0.1)
    linear = [Expression.variable(column, 0.1) for column in columns]
    return [one, *(one + each for each in linear), sum(linear, one)]


def _renumbered(expression: Expression, columns: Sequence[int]) -> Expression:
    """A formula of columns of a part as one of the whole table."""

    def terms(old: tuple) -> tuple:
        return tuple(
            (tuple(((name, columns[each] if name == "x" else terms(each)), power) for (name, each), power in product), value)
            for product, value in old
        )

    return Expression(terms(expression.terms))


def _refined(
    candidates: Iterable[Expression], table: ShotTable, known: dict[object, tuple[Expression, float]]
) -> list[tuple[Expression, float]]:
    """Each structure once, with its best coefficients."""
    for each in candidates:
        key = each.structure()
        if key not in known and len(each.constants()):
            known[key] = refine(each, table)
    return list(known.values())


def _best_fits(candidates: Iterable[Expression], table: ShotTable) -> list[tuple[Expression, float]]:
    """The best expression of every complexity, and its loss: of the candidates, and of those without one of their terms."""
    front = _front(_refined(candidates, table, {}))
    known = {expression.structure(): (expression, loss) for expression, loss in front}
    shorter = [each for expression, _ in front for each in expression.simpler()]  # terms that the likelihood does not miss
    return _front(_refined(shorter, table, known))


def _front(found: Iterable[tuple[Expression, float]]) -> list[tuple[Expression, float]]:
    """What no simpler formula beats, from the simplest on."""
    best: list[tuple[Expression, float]] = []
    for expression, loss in sorted(found, key=lambda pair: (pair[0].complexity(), pair[1])):
        if np.isfinite(loss) and (not best or loss < best[-1][1] - 1e-6):
            if best and best[-1][0].complexity() == expression.complexity():
                best.pop()
            best.append((expression, loss))
    return best[:_MOST_STRUCTURES]


def _judged(
    expression: Expression, loss: float, table: ShotTable, parts: Sequence[np.ndarray], network_losses: np.ndarray
) -> Formula:
    losses = held_out_losses(lambda rows: refine(expression, table.take(rows))[0], table, parts)
    held_out, gap = _per_shot(losses, table), _per_shot(losses - network_losses, table)
    return Formula(expression, expression.text(table.names), expression.complexity(), loss, *held_out, *gap)


def _per_shot(losses: np.ndarray, table: ShotTable) -> tuple[float, float]:
    """Mean per shot of losses of points, and its standard error from the spread of the points."""
    shots = table.n_a + table.n_b
    mean = losses.sum() / shots.sum()
    return float(mean), float(np.sqrt(((losses - mean * shots) ** 2).sum()) / shots.sum())
