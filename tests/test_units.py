"""Quantities and floats become md-unit floats, once, with messages that say what to do."""

import math

import numpy as np
import pytest
from openmm import unit

from openmm_rare.units import KB, in_md_units, parse_quantity


def test_boltzmann_constant_is_openmms():
    in_openmm = unit.MOLAR_GAS_CONSTANT_R.value_in_unit(unit.kilojoule_per_mole / unit.kelvin)
    assert KB == pytest.approx(in_openmm, rel=1e-12)


@pytest.mark.parametrize(
    ("value", "expected_unit", "expected"),
    [
        (2 * unit.femtosecond, unit.picosecond, 0.002),
        (0.002, unit.picosecond, 0.002),
        (300, unit.kelvin, 300.0),
        (np.float32(0.5), unit.nanometer, 0.5),
        (np.float64(0.5) * unit.angstrom, unit.nanometer, 0.05),
        (1 / unit.picosecond, unit.picosecond**-1, 1.0),
        (1 * unit.kilocalorie_per_mole, unit.kilojoule_per_mole, 4.184),
        (-1.5, unit.kilojoule_per_mole, -1.5),
    ],
)
def test_in_md_units_converts(value, expected_unit, expected):
    result = in_md_units(value, expected_unit, "x")
    assert type(result) is float
    assert result == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    "value",
    [1 * unit.nanometer, math.nan, math.inf, math.inf * unit.picosecond, "2 fs", None, True, [1.0], [1.0] * unit.picosecond],
)
def test_in_md_units_refuses_and_names_argument_and_unit(value):
    with pytest.raises(ValueError, match=r"timestep = .*expected.*picosecond"):
        in_md_units(value, unit.picosecond, "timestep")


@pytest.mark.parametrize(
    ("text", "expected_unit", "expected"),
    [
        ("600 K", unit.kelvin, 600.0),
        ("2 fs", unit.picosecond, 0.002),
        ("0.1nm", unit.nanometer, 0.1),
        (" 1.5e-3  ps ", unit.picosecond, 0.0015),
        ("1 A", unit.nanometer, 0.1),
        ("2.5 1/ps", unit.picosecond**-1, 2.5),
        ("1 kcal/mol", unit.kilojoule_per_mole, 4.184),
        ("0.3284 eV", unit.kilojoule_per_mole, 31.685783),
        ("-180 deg", unit.radian, -math.pi),
        ("600", unit.kelvin, 600.0),
        (600, unit.kelvin, 600.0),
        (600.5, unit.kelvin, 600.5),
    ],
)
def test_parse_quantity_converts(text, expected_unit, expected):
    assert parse_quantity(text, expected_unit, "x") == pytest.approx(expected, rel=1e-7)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("600 nm", "another dimension"),
        ("600 parsec", "unknown unit"),
        ("600 k", "unknown unit"),
        ("warm", "not a number"),
        ("", "not a number"),
        ("nan K", "not a number"),
        ("1e999 K", "not finite"),
        ("6 00 K", "unknown unit"),
        ("__import__('os')", "not a number"),
    ],
)
def test_parse_quantity_refuses_and_says_what_is_allowed(text, reason):
    with pytest.raises(ValueError, match=f"temperature = .*{reason}") as error:
        parse_quantity(text, unit.kelvin, "temperature")
    assert "K" in str(error.value) and "kelvin" in str(error.value)
    if reason != "not finite":
        assert '"2 K"' in str(error.value)


def test_parse_quantity_refuses_what_is_not_a_number():
    for bad in (None, True, [300], math.nan):
        with pytest.raises(ValueError, match="temperature"):
            parse_quantity(bad, unit.kelvin, "temperature")
