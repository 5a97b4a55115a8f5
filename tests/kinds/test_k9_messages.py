"""Messages in the units and words of the user, with file and section; what is meant is taken or refused by name."""

import click
import numpy as np
import openmm
import pytest
from click.testing import CliRunner
from openmm import unit as u

import chain4
from openmm_rare import (
    Angle,
    Coordinate,
    CoordinationMoment,
    Dihedral,
    Disc,
    Distance,
    FunctionRegion,
    FunctionVariable,
    LabelRule,
    Range,
    RareEventSystem,
    States,
)
from openmm_rare.cli.main import main
from openmm_rare.config.run import build_system, load_config, parse_config
from openmm_rare.mechanism.options import AnalysisOptions
from openmm_rare.settings.paths import PathSettings
from openmm_rare.states.disjoint import require_something_between
from openmm_rare.states.region_text import region_text, values_text
from openmm_rare.states.states import Channels, CollectiveVariables
from openmm_rare.states.variables import LinearCombination
from openmm_rare.units import parse_quantity

PHI, PSI, R, X = Dihedral("phi", (0, 1, 2, 3)), Dihedral("psi", (1, 2, 3, 0)), Distance("r", (0, 3)), Coordinate("x", 0, 0)
BEND = Angle("bend", (0, 1, 2))
INF = float("inf")


def far_in_x(positions):
    return positions[:, 0, 0]


def anywhere(positions):
    return np.ones(len(positions), dtype=bool)


F = FunctionVariable("f", far_in_x)


def states(a, b, variables=(PHI, PSI, R, X, BEND, F)):
    return States(list(variables), a, b)


def problem(a, b, variables=(PHI,), **options):
    given = {"temperature": 300, "friction": 5, "timestep": 0.001, "inertial": True, **options}
    return RareEventSystem.from_openmm(chain4.system(), chain4.positions(), a, b, variables, **given)


# --- quantities


def test_regions_take_quantities():
    """Case 10."""
    trans = Range({"phi": (150 * u.degrees, -150 * u.degrees)})
    np.testing.assert_allclose(trans.bounds["phi"], chain4.TRANS)
    np.testing.assert_allclose(Range({"phi": [150, 210] * u.degrees}).bounds["phi"], np.radians([150, 210]))
    assert Range({"r": (3.5 * u.angstrom, INF)}).bounds["r"] == (pytest.approx(0.35), INF)
    disc = Disc({"phi": 60 * u.degrees, "psi": 1.0 * u.radians}, 20 * u.degrees)
    assert disc.center == pytest.approx({"phi": np.pi / 3, "psi": 1.0}) and disc.radius == pytest.approx(np.pi / 9)
    assert Disc({"x": 1 * u.angstrom}, 0.5 * u.angstrom).radius == pytest.approx(0.05)
    made = problem(trans, Range({"phi": chain4.GAUCHE}))
    assert made.states.describe()["states"]["a"] == trans.describe()
    assert Range(trans.describe()["range"]).bounds == trans.bounds  # what is stored has no units


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: Range({"phi": (1 * u.picosecond, 2 * u.picosecond)}),
            "bounds of 'phi' = 1 ps must be a number, or a quantity",
        ),
        (lambda: Range({"phi": ("a", "b")}), "bounds of 'phi' = 'a' must be a number"),
        (lambda: Range({"phi": 1.0}), "bounds of 'phi' = 1.0 must be 2 numbers"),
        (lambda: Range({"phi": 1.0 * u.degree}), "bounds of 'phi' = .*must be 2 numbers"),
        (lambda: Range({"phi": (1, 2, 3)}), "must be 2 numbers"),
        (lambda: Range([("phi", (0, 1))]), "bounds must be a dict such as"),
        (lambda: Disc({"x": 1 * u.kelvin}, 1), "center of 'x' = 1 K must be"),
        (lambda: Disc({"x": 0.0}, None), "radius = None must be a number"),
        (lambda: Disc(0.0, 1.0), "center must be a dict such as"),
        (lambda: states(Range({"phi": (0 * u.nanometer, 1 * u.nanometer)}), Range({"x": (0, 1)})), "an angle, but a length"),
        (lambda: states(Range({"r": (0.1, 30 * u.degrees)}), Range({"x": (0, 1)})), "state A: 'r' is a length, but an angle"),
        (lambda: states(Range({"x": (0, 1)}), Disc({"r": 30 * u.degrees}, 1)), "state B: 'r' is a length, but an angle"),
        (lambda: states(Range({"x": (0, 1)}), Disc({"r": 3.0}, 1 * u.degrees)), "state B: 'r' is a length, but an angle"),
    ],
)
def test_quantities_that_do_not_fit_are_refused_by_name(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_function_takes_any_quantity_and_a_number_none_of_length():
    states(Range({"f": (0 * u.nanometer, 1 * u.nanometer)}), Range({"x": (2, 3)}))
    mu = CoordinationMoment("mu", 2, 0.3)
    with pytest.raises(ValueError, match="'mu' is a plain number, but a length is given"):
        states(Range({"mu": (0 * u.nanometer, 1)}), Range({"x": (2, 3)}), [mu, X])


# --- degrees and radians


@pytest.mark.parametrize(
    ("region", "hint"),
    [
        (Range({"phi": (150, 210)}), r'"150 deg", "210 deg"'),
        (Range({"phi": (-90 * u.degrees, 90)}), r'"-90 deg", "90 deg"'),
        (Range({"phi": (150, -150)}), r'"150 deg", "-150 deg"'),
        (Range({"phi": (-90, 90)}), r'"-90 deg", "90 deg"'),
        (Range({"phi": (0, 60)}), r'"0 deg", "60 deg"'),
        (Range({"bend": (100, 120)}), r'"100 deg", "120 deg"'),
        (Disc({"phi": 60, "psi": 1.0}, 0.2), '"60 deg"'),
    ],
)
def test_degrees_without_a_unit_are_suspected(region, hint):
    """Case 10."""
    with pytest.raises(ValueError, match=f"state B: .*an angle in radians.*did you mean degrees.*{hint}"):
        states(Range({"x": (0, 1)}), region)
    names = Channels(("all", "up"), [LabelRule(region, "up")])
    with pytest.raises(
        ValueError, match="'phi' is an angle, and 400 deg goes beyond a turn: write it between -180 and 180 deg"
    ):
        Disc({"phi": 400 * u.degrees}, 0.5).check(CollectiveVariables([PHI]))
    with pytest.raises(ValueError, match="rule 0 of the channels: .*did you mean degrees"):
        States([PHI, PSI, X, BEND], Range({"x": (0, 1)}), Range({"x": (2, 3)}), names)


@pytest.mark.parametrize(
    "region",
    [
        Range({"phi": (4.8, 7.8)}),  # through 2 pi
        Range({"phi": (-np.pi, np.pi)}),
        Range({"phi": (0.0, 2 * np.pi)}),
        Range({"phi": (np.pi, -np.pi)}),
        Range({"bend": (1.5, INF)}),
        Range({"bend": (-INF, 2.0)}),
        Range({"bend": (-0.1, 3.5)}),
        Range({"r": (-1.0, 0.3)}),
        Range({"r": (0.3, 200.0)}),
        Disc({"phi": -3.0, "psi": 3.0}, 3.0),
        Disc({"phi": 1.0, "x": 0.0}, 30.0),
    ],
)
def test_what_is_possible_is_taken(region):
    assert states(FunctionRegion(anywhere), region).b is region


@pytest.mark.parametrize(
    ("region", "message"),
    [
        (Range({"r": (-2.0, -1.0)}), "no frame can lie in r from -2 nm to -1 nm: 'r' is at least 0 nm"),
        (Range({"bend": (4.0, 5.0)}), "no frame can lie in bend from 229.183 deg to .*at least 0 deg and at most 180 deg"),
        (Disc({"phi": 1.0}, 30.0), "a disc of radius 1718.87 deg holds every value of phi"),
        (Disc({"phi": 1.0, "psi": 1.0}, 5.0), "a disc .* holds every value of phi, psi"),
    ],
)
def test_what_is_impossible_is_refused(region, message):
    with pytest.raises(ValueError, match=f"state B: {message}"):
        states(Range({"x": (0, 1)}), region)


# --- overlaps and borders


def test_overlaps_are_told_in_degrees_with_what_a_reversed_range_covers():
    a, b = Range({"phi": (160 * u.degrees, -160 * u.degrees)}), Range({"phi": (90 * u.degrees, 80 * u.degrees)})
    with pytest.raises(
        ValueError, match="A and B overlap: A is phi from 160 deg to -160 deg, B is phi from 90 deg to 80"
    ) as caught:
        states(a, b)
    assert "phi from 90 deg to 80 deg covers 350 of 360" in str(caught.value) and "[" not in str(caught.value)
    with pytest.raises(ValueError, match="A and B overlap: A is x from 0 nm to 1 nm, B is x >= 0.5 nm; make") as caught:
        states(Range({"x": (0, 1)}), Range({"x": (0.5, INF)}))
    assert "covers" not in str(caught.value)


@pytest.mark.parametrize(
    ("disc", "box", "overlap"),
    [
        (Disc({"x": 0.0, "r": 0.0}, 0.5), Range({"r": (0.0, 1.0), "x": (0.4, 1.0)}), True),
        (Disc({"x": 0.0, "r": 2.0}, 0.5), Range({"r": (0.0, 1.6), "x": (0.4, 1.0)}), False),  # beyond the corner
        (Disc({"phi": 3.0}, 0.3), Range({"phi": (-3.1, -2.0)}), True),
        (Disc({"phi": 3.0}, 0.1), Range({"phi": (-3.1, -2.0)}), False),
        (Disc({"phi": 0.0}, 0.1), Range({"phi": (3.0, 0.5)}), True),
        (Disc({"x": 0.0}, 0.5), Range({"r": (0.0, 1.0)}), False),  # other variables: only frames can tell
    ],
)
def test_a_disc_and_a_range_are_compared(disc, box, overlap):
    for a, b in ((disc, box), (box, disc)):
        if overlap:
            with pytest.raises(ValueError, match="states A and B overlap: .*a disc of radius"):
                states(a, b)
        else:
            states(a, b)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ({"phi": (np.pi / 2, -np.pi / 2)}, {"phi": (-np.pi / 2, np.pi / 2)}),
        ({"x": (-INF, 0.0)}, {"x": (0.0, INF)}),
        ({"r": (0.0, 0.3)}, {"r": (0.3, 0.8)}),  # every way from one to the other crosses the border
        ({"r": (0.0, 0.3), "phi": (-np.pi, np.pi)}, {"r": (0.3, 0.8)}),  # phi says nothing
    ],
)
def test_states_without_a_gap_are_refused(a, b):
    """Case 24."""
    variables = CollectiveVariables([PHI, R, X])
    for one, other in ((a, b), (b, a)):
        with pytest.raises(ValueError, match="A and B share a border, and leave no frames between them: A is .*leave a gap"):
            assert require_something_between(variables, Range(one), Range(other)) is None  # raises otherwise


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ({"phi": (1.6, -1.6)}, {"phi": (-1.5, 1.5)}),
        ({"phi": (1.6, -1.6)}, {"phi": (-1.6, 1.5)}),  # there is a way around the border
        ({"x": (0.0, 0.3), "r": (0.0, 1.0)}, {"x": (0.3, 0.6), "r": (0.0, 1.0)}),  # here, too
        ({"x": (-INF, 0.0)}, {"x": (0.01, INF)}),
        ({"x": (-INF, 0.0)}, {"x": (5.0, 6.0)}),
        ({"x": (0.0, 0.3)}, {"r": (0.3, 0.6)}),
    ],
)
def test_states_with_something_between_are_taken(a, b):
    variables = CollectiveVariables([PHI, R, X])
    for one, other in ((a, b), (b, a)):
        require_something_between(variables, Range(one), Range(other))


def test_a_system_with_touching_states_is_refused_before_anything_runs():
    with pytest.raises(ValueError, match="A is phi from 90 deg to -90 deg, B is phi from -90 deg to 90 deg"):
        problem(Range({"phi": (np.pi / 2, -np.pi / 2)}), Range({"phi": (-np.pi / 2, np.pi / 2)}))


# --- what regions and values are called


def test_values_and_regions_in_words():
    variables = CollectiveVariables([PHI, R, X, F, LinearCombination("sum", np.ones((4, 3)))])
    assert values_text(variables, [np.pi, 0.25, -1.0, 2.0, 3.0]) == "phi = 180 deg, r = 0.25 nm, x = -1 nm, f = 2, sum = 3 nm"
    assert region_text(Range({"phi": (0, 1), "r": (-INF, 0.3)}), variables) == "phi from 0 deg to 57.2958 deg and r <= 0.3 nm"
    assert region_text(Range({"r": (0.3, INF), "x": (-INF, INF)}), variables) == "r >= 0.3 nm and any x"
    assert region_text(Disc({"phi": 0.0}, np.pi / 6), variables) == "a disc of radius 30 deg around phi = 0 deg"
    assert region_text(FunctionRegion(anywhere), variables).startswith("the function ")


def test_a_structure_outside_a_is_told_in_the_same_words():
    message = "must lie in A, but are in neither state: phi = 180 deg; A is phi from 57.2958 deg to 114.592 deg"
    with pytest.raises(ValueError, match=message):
        problem(Range({"phi": (1.0, 2.0)}), Range({"phi": (-1.0, 0.5)}))


def test_a_frame_in_both_states_is_told_in_the_same_words():
    both = States([PHI], FunctionRegion(anywhere), Range({"phi": (3.0, -3.0)}))
    with pytest.raises(ValueError, match="frame 0 lies in both A and B at phi = 180 deg; define"):
        both.classify(chain4.positions()[None])


# --- arguments of the wrong kind


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: problem({"phi": (2.6, -2.6)}, Range({"phi": (0, 1)})), "state A must be a region such as Range"),
        (lambda: problem(Range({"phi": (2.6, -2.6)}), None), "state B must be a region such as Range"),
        (lambda: problem(Range({"phi": (2.6, -2.6)}), Range({"phi": (0, 1)}), ["phi"]), "variables must be a list such as"),
        (lambda: problem(Range({"phi": (2.6, -2.6)}), Range({"phi": (0, 1)}), "phi"), "variables must be a list such as"),
        (lambda: chain4.problem(check_interval=2.5), "check_interval = 2.5 must be a whole number of steps"),
        (lambda: chain4.problem(check_interval=np.int64(0)), "check_interval = 0 must be a whole number"),
        (lambda: chain4.problem(check_interval=True), "check_interval = True must be a whole number"),
        (lambda: chain4.problem(chain4.topology()), "system must be an openmm.System, not openmm.app.topology.Topology"),
    ],
)
def test_arguments_of_the_wrong_kind_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_what_is_meant_is_taken():
    a, b = Range({"phi": chain4.TRANS}), Range({"phi": chain4.GAUCHE})
    assert problem(a, b, PHI).fingerprint() == problem(a, b, [PHI]).fingerprint() == problem(a, b, (PHI,)).fingerprint()
    made = chain4.problem(check_interval=np.int64(2))
    assert made.check_interval == 2 and type(made.check_interval) is int
    assert made.fingerprint() == chain4.problem(check_interval=2).fingerprint()


def test_positions_of_other_kinds():
    def made(positions):
        arguments = (Range({"phi": chain4.TRANS}), Range({"phi": chain4.GAUCHE}), [PHI], 300, 5, 0.001)
        return RareEventSystem.from_openmm(chain4.system(), positions, *arguments).positions

    x = chain4.positions()
    for given in (
        [openmm.Vec3(*row) for row in x],
        [openmm.Vec3(*row) * u.nanometer for row in x],
        [openmm.Vec3(*row) for row in x] * u.nanometer,
        10 * x * u.angstrom,
        x.tolist(),
    ):
        np.testing.assert_allclose(made(given), x, atol=1e-12)
    for given, message in ((x * u.picosecond, "positions must be lengths"), ("a", "positions must be lengths")):
        with pytest.raises(ValueError, match=message):
            made(given)


def test_an_atom_that_is_not_there_is_named():
    with pytest.raises(ValueError, match="names an atom that does not exist: the system has 4 atoms, numbered from 0"):
        problem(Range({"phi": (2.6, -2.6)}), Range({"phi": (0, 1)}), [Dihedral("phi", (0, 1, 2, 9))])


# --- configurations


def replaced(folder, old, new):
    config = chain4.write(folder)
    text = config.read_text()
    assert old in text
    config.write_text(text.replace(old, new))
    return config


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('["150 deg", "-150 deg"]', "[150, 210]", r'\[states.a\]: \'phi\' is an angle in radians.*\["150 deg", "210 deg"\]'),
        ('["-90 deg", "90 deg"]', "[-90, 90]", r"\[states.b\]: 'phi' is an angle in radians"),
        (
            '["-90 deg", "90 deg"]',
            '["170 deg", "90 deg"]',
            r"\[states.a\] and \[states.b\]: states A and B overlap: A is phi from",
        ),
        ('["-90 deg", "90 deg"]', '["-150 deg", "150 deg"]', "A and B share a border"),
        ('range = { phi = ["-90 deg", "90 deg"] }', "range = {}", r"\[states.b\]: bounds must give .* at least one variable"),
        (
            '["150 deg", "-150 deg"]',
            '["10 deg", "20 deg"]',
            "in neither state: phi = 180 deg; A is phi from 10 deg to 20 deg|over",
        ),
    ],
)
def test_mistakes_in_states_name_file_and_section(tmp_path, old, new, message):
    config = replaced(tmp_path, old, new)
    with pytest.raises(ValueError, match=f"^{config}: .*{message}"):
        build_system(load_config(config))
    text = config.read_text()
    with pytest.raises(ValueError, match=message):  # without a file
        build_system(parse_config(text, tmp_path))


@pytest.mark.parametrize(
    ("word", "meant"),
    [("torsion", "dihedral"), ("bond", "distance"), ("Torsion", "dihedral"), ("x", "coordinate"), ("dihedrel", "dihedral")],
)
def test_words_of_other_programs_are_understood(tmp_path, word, meant):
    with pytest.raises(ValueError, match=f"variables.phi.type = '{word}' must be one of .*did you mean '{meant}'"):
        load_config(replaced(tmp_path, '"dihedral"', f'"{word}"'))


def test_a_builder_beside_files_is_named(tmp_path):
    for extra in ('pdb = "a.pdb"', 'xml = "a.xml"', 'xml = "a.xml"\npdb = "a.pdb"'):
        config = replaced(tmp_path, 'name = "chain"', f'name = "chain"\n{extra}')
        with pytest.raises(ValueError, match=r"\[system\] has both builder and (xml|pdb).*remove (xml|pdb)"):
            load_config(config)


@pytest.mark.parametrize(
    ("text", "unit", "value"),
    [
        ("5 femtoseconds", u.picosecond, 0.005),
        ("2 picosecond", u.picosecond, 2.0),
        ("-90°", u.radian, -np.pi / 2),
        ("\u221290 degrees", u.radian, -np.pi / 2),
        ("90 Degree", u.radian, np.pi / 2),
        ("3 Å", u.nanometer, 0.3),
        ("3 angstroms", u.nanometer, 0.3),
        ("3 nanometers", u.nanometer, 3.0),
        ("300 kelvin", u.kelvin, 300.0),
        ("5/ps", u.picosecond**-1, 5.0),
        ("5 ps^-1", u.picosecond**-1, 5.0),
        ("5 1/picosecond", u.picosecond**-1, 5.0),
        ("5 per picosecond", u.picosecond**-1, 5.0),
        ("2 kilojoule/mole", u.kilojoule_per_mole, 2.0),
        ("2 kilojoules_per_mole", u.kilojoule_per_mole, 2.0),
        ("2 µs", u.picosecond, 2e6),
    ],
)
def test_units_may_be_spelled_out(text, unit, value):
    assert parse_quantity(text, unit, "x") == pytest.approx(value)


@pytest.mark.parametrize("text", ["300 C", "5 PS", "5 femto", "1 1/nm", "90 degC", "5 ms"])
def test_other_units_stay_unknown(text):
    for unit in (u.kelvin, u.picosecond, u.radian):
        with pytest.raises(ValueError, match="an unknown unit|another dimension"):
            parse_quantity(text, unit, "x")


# --- the command line


def test_a_model_that_is_not_there_is_named_with_its_option(tmp_path):
    for name in ("tps", "path"):
        done = CliRunner().invoke(main, [name, "jung_42d", "--model", str(tmp_path / "zz.npz")])
        assert done.exit_code == 2 and done.output == f"Error: --model {tmp_path / 'zz.npz'} does not exist: give a file\n"


def test_help_shows_the_defaults_that_hold():
    defaults = {"rate": {"target_error": 0.1, "seed": 1, "platform": "Reference", "backend": "auto"}}
    defaults["tps"] = {f: getattr(PathSettings(), f) for f in ("trials", "chains", "selector", "width")}
    names = ("configurations", "fresh_shots", "formula_inputs", "penalty", "method", "seed", "platform")
    defaults["analyze"] = {name: getattr(AnalysisOptions(), name) for name in names}
    for name, known in defaults.items():
        command = main.get_command(click.Context(main), name)
        shown = {option.name: getattr(option, "show_default", None) for option in command.params}
        assert {option: shown[option] for option in known} == {option: str(value) for option, value in known.items()}
    assert "[default: (lorentzian)]" in " ".join(CliRunner().invoke(main, ["tps", "--help"]).output.split())
