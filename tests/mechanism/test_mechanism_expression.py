"""Formulas: algebra, constants, text."""

import numpy as np
import pytest
import torch

from openmm_rare.mechanism.expression import Expression

X, Y = Expression.variable(0), Expression.variable(1)
NAMES = ("x", "cos psi")
INPUTS = np.random.default_rng(0).uniform(0.2, 1.5, (20, 2))
x, y = INPUTS.T


def number(value):
    return Expression.constant(value)


CASES = {
    "paper": (
        (number(3.32) * X + number(1.24) * Y) * (number(2.92) * X * Y).apply("exp"),
        (3.32 * x + 1.24 * y) * np.exp(2.92 * x * y),
    ),
    "quotient": ((X + number(2)) / (Y * Y + X), (x + 2) / (y**2 + x)),
    "exponentials join": ((X * X).apply("exp") / (number(1) + Y).apply("exp"), np.exp(x**2 - 1 - y)),
    "logarithm": (number(2) * X.apply("log") - Y, 2 * np.log(x) - y),
    "like terms": (X + X - number(3) * X + number(1), 1 - x),
    "nested": (((X - Y) * (X + Y)).apply("tanh") + (X + number(1)).apply("sqrt"), np.tanh((x - y) * (x + y)) + np.sqrt(x + 1)),
    "cancels": (X * Y / X - Y + number(4), 4 + 0 * x),
}


@pytest.mark.parametrize("made, expected", CASES.values(), ids=CASES)
def test_values(made, expected):
    np.testing.assert_allclose(made(INPUTS), expected, rtol=1e-12, atol=1e-12)
    again = made.with_constants(made.constants())
    assert again == made and again.structure() == made.structure()


@pytest.mark.parametrize("made, expected", CASES.values(), ids=CASES)
def test_gradient_with_respect_to_the_constants(made, expected):
    constants = torch.tensor(made.constants(), requires_grad=True)
    assert torch.autograd.gradcheck(lambda c: made.evaluate(torch.tensor(INPUTS), c), constants)


def test_text_and_complexity():
    paper = CASES["paper"][0]
    assert paper.text(NAMES) == "exp(2.92*x*[cos psi])*(3.32*x + 1.24*[cos psi])"
    assert paper.complexity() == 14 and len(paper.constants()) == 3 and paper.columns() == [0, 1]
    assert number(2).complexity() == 1 and (number(2) * X).complexity() == 3 and (number(2) * X + number(1)).complexity() == 5
    assert (X * X - number(0.5)).text(NAMES) == "x^2 - 0.5"
    assert (number(1) / X).text(NAMES) == "1/x"
    assert Expression(()).text(NAMES) == "0"
    bracket = (X + Y) * X / X + number(1)
    assert bracket.text(NAMES) == "x + [cos psi] + 1" and bracket == X + Y + number(1)


def test_a_formula_that_leaves_something_out():
    texts = {each.text(NAMES) for each in (number(3) * X + number(2) * Y).simpler()}
    assert texts == {"3*x", "2*[cos psi]", "2*[cos psi] + 3", "3*x + 2"}
    assert all(each.complexity() < CASES["paper"][0].complexity() for each in CASES["paper"][0].simpler())


def test_equal_structures_with_other_constants():
    other = (number(1.0) * X + number(7.0) * Y) * (number(-1.0) * X * Y).apply("exp")
    assert other.structure() == CASES["paper"][0].structure()
    assert (X + Y).structure() != (X * Y).structure()


def test_nothing_overflows_and_nothing_is_divided_by_zero():
    assert np.isfinite((number(1e4) * X).apply("exp")(INPUTS)).all()
    with pytest.raises(ZeroDivisionError):
        X / (Y - Y)
    with pytest.raises(ValueError, match="coefficient that is not finite"):
        number(np.inf) + X
