"""Configurations in another coding, and functions and modules of the user's that fail: one line that says where."""

import re

import numpy as np
import pytest
from click.testing import CliRunner

import chain4
from openmm_rare import Coordinate, Dihedral, Range, RareEventSystem, States
from openmm_rare.cli.main import main
from openmm_rare.config.run import build_system, load_config

PHI, X = Dihedral("phi", (0, 1, 2, 3)), Coordinate("x", 0, 0)


@pytest.mark.parametrize("coding", ["utf-8-sig", "utf-8"])
def test_a_byte_order_mark_is_no_part_of_the_configuration(tmp_path, coding):
    path = chain4.write(tmp_path)
    path.write_bytes(path.read_text().replace("\n", "\r\n").encode(coding))
    assert build_system(load_config(path)).name == "chain"


@pytest.mark.parametrize("coding", ["utf-16", "latin-1"])
def test_other_codings_are_named(tmp_path, coding):
    path = chain4.write(tmp_path, name='"chaîne"')
    path.write_bytes(path.read_text(encoding="utf8").encode(coding))
    with pytest.raises(ValueError, match="config.toml: this is not text in UTF-8 .*: save it as UTF-8"):
        load_config(path)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (
            "import numpyy",
            r"system.builder = '.*:build': case_\w+ cannot be imported: ModuleNotFoundError: .*numpyy.*line 1",
        ),
        ("def build(:", r"cannot be imported: SyntaxError: .*line 1"),
        ("raise OSError('no data')", r"cannot be imported: OSError: no data \(.*case_\w+.py, line 1\)"),
        ("import sys\nsys.exit(0)", r"cannot be imported: SystemExit: 0 \(.*case_\w+.py, line 2\)"),
        ("def build():\n    return {}['a']", r"system.builder = '.*:build' fails: KeyError: 'a' \(.*case_\w+.py, line 2\)"),
        ("def build(length, *, depth=1):\n    pass", r"\[system.parameters\] lacks length, which case_\w+:build needs"),
        ("def build():\n    return 1, 2", r"must return .*, not 2 values"),
    ],
)
def test_code_that_fails_is_one_line_with_its_place(tmp_path, code, message):
    result = CliRunner().invoke(main, ["path", str(chain4.write(tmp_path, code)), "--out", str(tmp_path / "p.npz")])
    assert result.exit_code == 2 and len(result.output.splitlines()) == 1 and re.search(message, result.output)


def test_builders_may_have_arguments_with_defaults(tmp_path):
    code = chain4.BUILDER.replace("def build():", "def build(*given, depth=1, **more):")
    assert build_system(load_config(chain4.write(tmp_path, code))).system.getNumParticles() == 4


def test_a_range_of_a_single_angle_is_refused():
    with pytest.raises(ValueError, match="bounds of the periodic variable 'phi' hold a single value"):
        States([PHI, X], Range({"x": (0, 1)}), Range({"phi": (1.0, 1.0)}))


def test_positions_that_are_not_finite_name_the_atom():
    start = chain4.positions()
    start[2, 1] = np.nan
    with pytest.raises(ValueError, match=r"positions must be finite numbers \(nm\), but those of atom 2 are \["):
        RareEventSystem.from_openmm(
            chain4.system(), start, Range({"phi": chain4.TRANS}), Range({"phi": chain4.GAUCHE}), [PHI], 300, 5, 0.001
        )
