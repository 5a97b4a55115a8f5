"""Functions of users count with their code: an edited one is not mistaken for what a run or a model began with."""

import importlib
import sys
from dataclasses import replace

import numpy as np
import pytest

from openmm_rare import systems
from openmm_rare.states import FunctionRegion, FunctionVariable, Range, States
from openmm_rare.systems.lj7 import build
from openmm_rare.trust.function_code import function_digest

SOURCE = '''
"""States of mine."""
import numpy as np
from beside_states import scale

EDGE = 0.5
TABLE = np.array([1.0, 2.0])


def half(x):
    return 0.5 * x


def reaction(positions):
    """Where it stands."""
    return scale(half(positions[:, 0, 0])) * TABLE[0]


def in_b(positions):
    return positions[:, 0, 0] > EDGE
'''
BESIDE = "def scale(x):\n    return 2.0 * x\n"
NAMES = ("my_states", "beside_states")


@pytest.fixture
def imported(tmp_path, monkeypatch):
    """imported(source, beside): the module with this text, as a new process would see it."""

    def load(source=SOURCE, beside=BESIDE):
        for name, text in zip(NAMES, (source, beside), strict=True):
            (tmp_path / f"{name}.py").write_text(text)
            sys.modules.pop(name, None)
        importlib.invalidate_caches()
        return importlib.import_module(NAMES[0])

    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield load
    for name in NAMES:
        sys.modules.pop(name, None)


def edited(old, new, text=SOURCE):
    assert old in text
    return text.replace(old, new)


def test_what_a_function_computes_is_its_code_and_that_beside_it(imported):
    before = function_digest(imported().reaction)
    for same in (
        edited("return 0.5 * x", "return 0.5 * x  # half of it"),
        edited('"""Where it stands."""', '"""Another word."""'),
        edited("EDGE = 0.5", "EDGE = 0.6"),  # of the other function
    ):
        assert function_digest(imported(same).reaction) == before
    for other in (edited("0.5 * x", "0.4 * x"), edited("[1.0, 2.0]", "[1.5, 2.0]"), edited("[:, 0, 0])) *", "[:, 0, 1])) *")):
        assert function_digest(imported(other).reaction) != before
    assert function_digest(imported(beside=edited("2.0", "3.0", BESIDE)).reaction) != before
    region = function_digest(imported().in_b)
    assert function_digest(imported(edited("EDGE = 0.5", "EDGE = 0.6")).in_b) != region


def test_a_function_without_source_counts_with_its_bytecode():
    digests = []
    for body in ("x + 1", "x + 1", "x + 2"):
        scope = {"__name__": NAMES[0]}
        sys.modules[NAMES[0]] = type(sys)(NAMES[0])
        exec(f"def f(x):\n    return {body}", scope)
        digests.append(function_digest(scope["f"]))
    del sys.modules[NAMES[0]]
    assert digests[0] == digests[1] != digests[2]


def test_fingerprints_of_systems_see_edited_functions(imported):
    def fingerprint(source=SOURCE):
        module, problem = imported(source), systems.build("double_well_1d")
        variable = FunctionVariable("s", module.reaction)
        states = States(variable, Range({"s": ("-inf", -0.3)}), FunctionRegion(module.in_b))
        return replace(problem, states=states).fingerprint()

    before = fingerprint()
    assert fingerprint(edited("0.5 * x", "0.5 * x  #")) == before
    assert len({before, fingerprint(edited("0.5 * x", "0.4 * x")), fingerprint(edited("EDGE = 0.5", "EDGE = 0.6"))}) == 3


def test_functions_of_this_package_count_with_its_version():
    problem = build()
    assert all(function_digest(each) == "" for each in problem.states.functions().values())
    assert function_digest(np.linalg.norm) != ""
