"""Formulas of named inputs in a normal form: sums of products, with every number a coefficient that can be refined.

A sum is a tuple of pairs (product, coefficient), a product a tuple of pairs (factor, power), a factor an input ``("x", 3)``, a
function of a sum ``("exp", sum)``, or a sum in brackets ``("sum", sum)``. The first coefficient that belongs to an input in
such brackets is always 1, because the coefficient before the brackets says the same.

SymPy keeps no such form: in ``(x + 2)/(x + y**2)`` it has one number where three can be refined, and it does not join
``exp(x**2)*exp(-y - 1)``. Counting, refilling and leaving out terms would be ours as before, some 60 of these lines would go,
and ``python -X importtime -c "import sympy"`` takes half a second, as long as 500 gradients of a formula here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError

__all__ = ["FUNCTIONS", "Expression"]

Sum = tuple
_MOST_EXPONENT = 60.0

FUNCTIONS = {
    "exp": lambda u: torch.exp(torch.clamp(u, max=_MOST_EXPONENT)),
    "log": torch.log,
    "sin": torch.sin,
    "cos": torch.cos,
    "tanh": torch.tanh,
    "sqrt": torch.sqrt,
}
"""Functions that a formula may hold; the exponential stops growing at e^60, so that nothing overflows."""


@dataclass(frozen=True)
class Expression:
    """A formula.

    Attributes
    ----------
    terms : tuple
        See the head of this module.
    """

    terms: Sum

    @classmethod
    def constant(cls, value: float) -> Expression:
        """A number."""
        return cls(_clean([((), float(value))]))

    @classmethod
    def variable(cls, column: int, coefficient: float = 1.0) -> Expression:
        """An input times a number."""
        return cls(_clean([(((("x", int(column)), 1),), float(coefficient))]))

    def __add__(self, other: Expression) -> Expression:
        return Expression(_clean([*self.terms, *other.terms]))

    def __neg__(self) -> Expression:
        return Expression.constant(-1.0) * self

    def __sub__(self, other: Expression) -> Expression:
        return self + (-other)

    def __mul__(self, other: Expression) -> Expression:
        for one, many in ((self, other), (other, self)):
            if not one.terms:
                return one
            if len(one.terms) == 1 and not one.terms[0][0]:  # a number
                return Expression(tuple((product, value * one.terms[0][1]) for product, value in many.terms))
        (first, a), (second, b) = self._as_product(), other._as_product()
        return Expression(_clean([(first + second, a * b)]))

    def __truediv__(self, other: Expression) -> Expression:
        if not other.terms:
            raise ZeroDivisionError("division by a formula that is zero")
        product, value = other._as_product()
        inverse = Expression(_clean([(tuple((factor, -power) for factor, power in product), 1.0 / value)]))
        return self * inverse

    def apply(self, name: str) -> Expression:
        """A function of this formula."""
        terms = self.terms
        outside = 1.0
        if name == "exp":  # e^c is a coefficient
            outside = float(np.exp(sum(value for product, value in terms if not product)))
            terms = tuple(term for term in terms if term[0])
        if not any(product for product, _ in terms):
            value = FUNCTIONS[name](torch.tensor(sum(value for _, value in terms), dtype=torch.float64)).item()
            return Expression.constant(outside * value)
        return Expression(_clean([((((name, terms), 1),), outside)]))

    def _as_product(self) -> tuple[tuple, float]:
        """This formula as one product and its coefficient: a sum goes into brackets."""
        if len(self.terms) == 1:
            return self.terms[0]
        lead = self.terms[_lead(self.terms)][1]
        return (((("sum", tuple((product, value / lead) for product, value in self.terms)), 1),), lead)

    def constants(self) -> np.ndarray:
        """All coefficients that are free, in the order of :meth:`with_constants`."""
        return np.array([value for value in _free(self.terms, False)], dtype=np.float64)

    def with_constants(self, values: Sequence[float]) -> Expression:
        """The same structure with other coefficients."""
        return Expression(_refill(self.terms, iter(np.asarray(values, dtype=np.float64).tolist()), False))

    def structure(self) -> Any:
        """Something that two formulas share if they differ in their coefficients only."""
        return self.with_constants(np.ones(len(self.constants()))).terms

    def columns(self) -> list[int]:
        """Inputs that occur."""
        return sorted(set(_columns(self.terms)))

    def complexity(self) -> int:
        """Numbers, inputs, functions and operations in the formula as it is written."""
        return _size(self.terms)

    def simpler(self) -> list[Expression]:
        """The formulas that leave out one term anywhere."""
        return [Expression(_clean(terms)) for terms in _without_one(self.terms) if terms]

    def evaluate(self, inputs: Tensor, constants: Tensor | None = None) -> Tensor:
        """Values ``(n,)`` of inputs ``(n, n_inputs)``, differentiable in the constants."""
        numbers = iter(torch.as_tensor(self.constants()) if constants is None else constants)
        return _value(self.terms, inputs, numbers, False)

    def __call__(self, inputs: np.ndarray) -> np.ndarray:
        """Values ``(n,)`` of inputs ``(n, n_inputs)``."""
        with torch.no_grad():
            return self.evaluate(torch.as_tensor(np.asarray(inputs, dtype=np.float64))).numpy()

    def text(self, names: Sequence[str], digits: int = 3) -> str:
        """The formula as people write it."""
        return _sum_text(self.terms, names, digits)


def _clean(terms: Sequence[tuple[tuple, float]]) -> Sum:
    """Collect equal products, join powers and exponentials, order everything."""
    collected: dict[tuple, float] = {}
    for product, value in terms:
        ordered = _join(product)
        alone = len(ordered) == 1 and ordered[0][0][0] == "sum" and ordered[0][1] == 1  # needless brackets
        for each, factor in ordered[0][0][1] if alone else [(ordered, 1.0)]:
            collected[each] = collected.get(each, 0.0) + value * factor
    kept = [(product, value) for product, value in collected.items() if value != 0.0]
    if not all(np.isfinite(value) for _, value in kept):
        raise InputError("a formula has a coefficient that is not finite")
    return tuple(sorted(kept, key=lambda term: (not term[0], repr(_shape(term[0])))))


def _join(product: tuple) -> tuple:
    powers: dict[Any, int] = {}
    exponent = Expression(())
    for factor, power in product:
        if factor[0] == "exp":
            exponent = exponent + Expression.constant(power) * Expression(factor[1])
        else:
            powers[factor] = powers.get(factor, 0) + power
    joined = [(factor, power) for factor, power in powers.items() if power]
    if exponent.terms:
        joined.append((("exp", exponent.terms), 1))
    return tuple(sorted(joined, key=lambda pair: repr(_shape((pair,)))))


def _shape(product: tuple) -> tuple:
    """A product without its numbers, by which it is sorted."""
    return tuple(
        (name, content if name == "x" else tuple(_shape(inner) for inner, _ in content), power)
        for (name, content), power in product
    )


def _lead(terms: Sum) -> int:
    """Which term of a bracket has the coefficient 1."""
    return next((index for index, (product, _) in enumerate(terms) if product), 0)


def _free(terms: Sum, bracket: bool) -> Iterator[float]:
    for index, (product, value) in enumerate(terms):
        if not (bracket and index == _lead(terms)):
            yield value
        for (name, content), _ in product:
            if name != "x":
                yield from _free(content, name == "sum")


def _refill(terms: Sum, numbers: Iterator[float], bracket: bool) -> Sum:
    new = []
    for index, (product, value) in enumerate(terms):
        if not (bracket and index == _lead(terms)):
            value = next(numbers)
        factors = (
            ((name, content if name == "x" else _refill(content, numbers, name == "sum")), power)
            for (name, content), power in product
        )
        new.append((tuple(factors), value))
    return tuple(new)


def _columns(terms: Sum) -> Iterator[int]:
    for product, _ in terms:
        for (name, content), _ in product:
            yield from [content] if name == "x" else _columns(content)


def _size(terms: Sum, bracket: bool = False) -> int:
    total = max(len(terms) - 1, 0)
    for index, (product, _) in enumerate(terms):
        items = 0 if bracket and index == _lead(terms) else 1
        parts = items
        for (name, content), power in product:
            inner = 1 if name == "x" else _size(content, name == "sum") + (name != "sum")
            items, parts = items + 1, parts + inner + 2 * (abs(power) > 1)
        total += parts + max(items - 1, 0)
    return total or 1


def _without_one(terms: Sum) -> Iterator[list]:
    for index, (product, value) in enumerate(terms):
        rest = [*terms[:index], *terms[index + 1 :]]
        if rest:
            yield rest
        for place, ((name, content), power) in enumerate(product):
            others = product[:place] + product[place + 1 :]
            if name == "x" or len(content) < 2:
                yield [*rest, (others, value)]
                continue
            for smaller in _without_one(content):
                inner = Expression(_clean(smaller))
                if not inner.terms:
                    continue
                if name == "sum":
                    made = Expression(_clean([(others, value)])) * (inner if power > 0 else Expression.constant(1.0) / inner)
                else:
                    made = Expression(_clean([(others, value)])) * inner.apply(name)
                yield [*rest, *made.terms]


def _value(terms: Sum, inputs: Tensor, numbers: Iterator, bracket: bool) -> Tensor:
    total = torch.zeros(len(inputs), dtype=inputs.dtype)
    for index, (product, _) in enumerate(terms):
        part = torch.ones(len(inputs), dtype=inputs.dtype)
        if not (bracket and index == _lead(terms)):
            part = part * next(numbers)
        for (name, content), power in product:
            if name == "x":
                factor = inputs[:, content]
            else:
                inner = _value(content, inputs, numbers, name == "sum")
                factor = inner if name == "sum" else FUNCTIONS[name](inner)
            part = part * factor**power
        total = total + part
    return total


def _sum_text(terms: Sum, names: Sequence[str], digits: int) -> str:
    text = ""
    for product, value in terms:
        piece = _product_text(product, abs(value), names, digits)
        sign = "-" if value < 0.0 else "+"
        text += f" {sign} {piece}" if text else (f"-{piece}" if sign == "-" else piece)
    return text or "0"


def _product_text(product: tuple, value: float, names: Sequence[str], digits: int) -> str:
    brackets = [index for index, ((name, _), power) in enumerate(product) if name == "sum" and power == 1]
    if brackets:  # a number before the brackets goes into them
        (name, content), power = product[brackets[0]]
        inside = tuple((inner, value * each) for inner, each in content)
        product = (*product[: brackets[0]], ((name, inside), power), *product[brackets[0] + 1 :])
        value = 1.0
    over, under = ([pair for pair in product if (pair[1] > 0) == wanted] for wanted in (True, False))
    pieces = [_factor_text(factor, power, names, digits) for factor, power in over]
    number = f"{value:.{digits}g}"
    if number != "1" or not pieces:
        pieces.insert(0, number)
    below = [_factor_text(factor, -power, names, digits) for factor, power in under]
    text = "*".join(pieces)
    return text + "".join(f"/{piece}" for piece in below)


def _factor_text(factor: tuple, power: int, names: Sequence[str], digits: int) -> str:
    name, content = factor
    if name == "x":
        text = names[content] if names[content].isidentifier() else f"[{names[content]}]"
    else:
        text = f"{'' if name == 'sum' else name}({_sum_text(content, names, digits)})"
    return text if power == 1 else f"{text}^{power}"
