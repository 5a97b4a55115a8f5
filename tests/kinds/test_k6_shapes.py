"""Kind 6: what functions of the user's return, and topologies, have the shapes that they must have; one frame hides that."""

import numpy as np
import openmm
import pytest
from openmm import unit

import chain4
from openmm_rare import (
    Channels,
    Coordinate,
    Dihedral,
    Distance,
    FunctionRegion,
    FunctionVariable,
    Range,
    RareEventSystem,
    errors,
)
from openmm_rare.config.run import build_system, load_config
from openmm_rare.states.states import IN_A, CollectiveVariables, LabelRule, LinearCombination

pytest.importorskip("openpathsampling")
mdtraj = pytest.importorskip("mdtraj")

TOPOLOGY = mdtraj.Topology.from_openmm(chain4.topology())
A, B = Range({"c": (-2.0, -0.87)}), Range({"c": (0.0, 2.0)})


def cosines(positions):
    """Of the dihedral, shape (n, 1)."""
    return np.cos(mdtraj.compute_dihedrals(mdtraj.Trajectory(positions, TOPOLOGY), [[0, 1, 2, 3]]))


def column(positions):
    return cosines(positions)


def flat(positions):
    return cosines(positions)[:, 0]


def listed(positions):
    return [float(value) for value in flat(positions)]


def whole_numbers(positions):
    return np.where(flat(positions) > -0.5, 1, -1)


def truth(positions):
    return flat(positions) < -0.87


def one_number(positions):
    return cosines(positions)[0, 0]


def python_number(positions):
    return float(cosines(positions)[0, 0])


def row(positions):
    return cosines(positions).T


def two_columns(positions):
    return np.repeat(cosines(positions), 2, axis=1)


def too_short(positions):
    return flat(positions)[:1]


def nothing(positions):
    cosines(positions)


def text(positions):
    return "cosine"


def complex_numbers(positions):
    return flat(positions) + 0j


def masked(positions):
    return np.ma.masked_less(flat(positions), -2.0)


def objects(positions):
    return flat(positions).astype(object)


def ragged(positions):
    return [[1.0]] + [[1.0, 2.0]] * (len(positions) - 1)


def quantity(positions):
    return flat(positions) * unit.angstrom


def first_frame_only(positions):
    return np.full(len(positions), flat(positions)[0])


def to_first_frame(positions):
    return -1.0 + np.linalg.norm(positions - positions[0], axis=(1, 2))


def about_the_mean_of_the_batch(positions):
    return flat(positions) - flat(positions).mean() - 1.0


def atoms_for_frames(positions):
    return positions[0, :3, 0] - 1.0


def indexes_frames(positions):
    return positions[3, :, 0]


def only_short_bonds(positions):
    assert (np.linalg.norm(np.diff(positions, axis=1), axis=2) < 0.154).all()
    return flat(positions)


def fails_in_b(positions):
    if (flat(positions) > 0.0).any():
        raise KeyError("no entry\nin the table")
    return flat(positions)


def fails_as_arrival(positions, values, labels):
    return fails_in_b(positions)


def with_gradients(positions):
    import torch

    return torch.as_tensor(flat(positions)).requires_grad_()


def in_place(positions):
    positions -= positions.mean(axis=1, keepdims=True)
    return flat(positions)


def with_momenta(function, **options):
    return RareEventSystem.from_openmm(
        chain4.system(), chain4.positions(), A, B, [FunctionVariable("c", function)], 300, 5, 0.001, inertial=True, **options
    )


@pytest.mark.parametrize("function", [column, flat, listed, whole_numbers])
def test_one_value_for_each_frame_is_taken(function):
    """Case 07: what mdtraj returns is taken as it is."""
    problem = with_momenta(function)
    values = problem.states.variables(np.repeat(problem.positions[None], 200, axis=0))
    assert values.shape == (200, 1) and values[7, 0] == pytest.approx(-1.0, abs=1e-6)
    assert problem.states.variables(np.zeros((0, 4, 3))).shape == (0, 1)


def test_booleans_count_as_zero_and_one():
    problem = RareEventSystem.from_openmm(
        chain4.system(), chain4.positions(), Range({"c": (0.5, 1.5)}), Range({"c": (-0.5, 0.4)}),
        [FunctionVariable("c", truth)], 300, 5, 0.001,
    )  # fmt: skip
    assert problem.states.variables(problem.positions[None])[0, 0] == 1.0


@pytest.mark.parametrize(
    ("function", "got"),
    [
        (one_number, r"a single value \(.*1.0\)"),
        (python_number, r"a single value \(-1.0\)"),
        (row, r"float32 \(1, 3\)"),
        (two_columns, r"float32 \(3, 2\)"),
        (too_short, r"float32 \(1,\)"),
        (nothing, "None"),
        (text, "a single value"),
        (complex_numbers, r"complex64 \(3,\)"),
        (masked, "MaskedArray"),
        (objects, r"object \(3,\)"),
        (ragged, "list"),
        (quantity, "a quantity in angstrom"),
        (with_gradients, r"a tensor with gradients \(return tensor.detach\(\)\)"),
    ],
)
def test_anything_else_is_refused_before_dynamics_runs(function, got):
    """Siblings of case 07: NumPy would stretch some of them over all frames, in silence."""
    message = rf"variable 'c': test_k6_shapes:{function.__name__} must return numbers of shape \(3,\), not {got}"
    with pytest.raises(ValueError, match=message) as caught:
        with_momenta(function)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("function", [first_frame_only, to_first_frame, about_the_mean_of_the_batch])
def test_values_that_depend_on_the_other_frames_are_refused(function):
    with pytest.raises(ValueError, match=f"{function.__name__} gives frames in a batch of three the values .* but alone"):
        with_momenta(function)


def test_functions_of_one_frame_are_told_what_they_get():
    with pytest.raises(ValueError, match=r"atoms_for_frames must return numbers of shape \(1,\), not float64 \(3,\)"):
        with_momenta(atoms_for_frames)
    message = r"indexes_frames fails for positions of shape \(3, 4, 3\).*IndexError: .* \(.*test_k6_shapes.py, line \d+\)"
    with pytest.raises(ValueError, match=message):
        with_momenta(indexes_frames)
    with pytest.raises(ValueError, match="in_place changes the positions that it is given: let it work on a copy"):
        with_momenta(in_place)


def test_functions_need_not_know_made_up_structures():
    problem = with_momenta(only_short_bonds)
    assert problem.states.classify(problem.positions[None])[0] == IN_A


def gauche_positions():
    """nm, shape (4, 3)."""
    torsion = Dihedral("phi", (0, 1, 2, 3))
    turned = chain4.positions()
    turned[3] = turned[2] + [0.06, -0.12, 0.05]
    assert abs(torsion(turned[None])[0]) < 1.57
    return turned


def test_a_function_that_fails_in_later_frames_is_named_with_its_place():
    """It need not know made-up structures, so nobody notices at the start; then one line says where it fails."""
    with_momenta(fails_in_b)
    later = np.stack([chain4.positions(), gauche_positions()])
    message = r"variable 'c': test_k6_shapes:fails_in_b fails .*KeyError: 'no entry.*in the table' \(.*test_k6_shapes.py, line"
    with pytest.raises(errors.UserCodeError, match=message) as caught:
        CollectiveVariables([FunctionVariable("c", fails_in_b)])(later)
    assert isinstance(caught.value.__cause__, KeyError)
    region = FunctionRegion(fails_in_b)
    with pytest.raises(errors.UserCodeError, match="fails_in_b fails for positions of shape"):
        region.contains(later, np.empty((2, 0)), None)
    with pytest.raises(errors.UserCodeError, match="fails_as_arrival fails for positions of shape"):
        Channels(("one", "two"), arrival=fails_as_arrival).arrive(later, np.empty((2, 0)), np.zeros(2, dtype=np.int64))


def test_later_calls_are_checked_too():
    variables = CollectiveVariables([FunctionVariable("c", one_number), Distance("d", (0, 1))])
    with pytest.raises(ValueError, match=r"variable 'c': test_k6_shapes:one_number must return numbers of shape \(5,\)"):
        variables(np.repeat(chain4.positions()[None], 5, axis=0))


@pytest.mark.parametrize("name", ["path", "rate", "tps"])
def test_commands_say_so_in_one_line(tmp_path, name):
    from click.testing import CliRunner

    from openmm_rare.cli.main import main

    code = chain4.BUILDER + (
        "\nimport numpy as np\n\ndef one(positions):\n    x = positions - positions[:, :1]\n    return np.abs(x).sum()\n"
    )
    path = chain4.write(tmp_path, code)
    module = next(tmp_path.glob("case_*.py")).stem
    text = path.read_text().replace('type = "dihedral"\natoms = [0, 1, 2, 3]', f'type = "function"\nfunction = "{module}:one"')
    path.write_text(text.replace('["150 deg", "-150 deg"]', "[0, 1]").replace('["-90 deg", "90 deg"]', "[2, 3]"))
    out = tmp_path / ("p.npz" if name == "path" else "out")
    result = CliRunner().invoke(main, [name, str(path), "--out", str(out)])
    assert result.exit_code == 2 and not out.exists()
    assert "must return numbers of shape (3,), not a single value" in result.output and "Traceback" not in result.output


# --- regions and channels ----------------------------------------------------------------------------------------------


def trans(positions):
    return cosines(positions) < -0.87


def gauche(positions):
    return cosines(positions) > 0.0


def gauche_of_the_first(positions):
    return (cosines(positions) > 0.0)[0, 0]


def gauche_as_number(positions):
    return (flat(positions) > 0.0).astype(float)


def labels_in_a_column(positions, values, labels):
    return labels[:, None]


def one_label(positions, values, labels):
    return 0


def labels_of_b_only(positions, values, labels):
    assert (flat(positions) > 0.0).all()
    return labels


def of_regions(a, b, channels=None):
    given = (chain4.system(), chain4.positions(), a, b, [Dihedral("phi", (0, 1, 2, 3))], 300, 5, 0.001)
    return RareEventSystem.from_openmm(*given, channels=channels)


def test_regions_take_a_column_and_refuse_the_rest():
    problem = of_regions(FunctionRegion(trans), FunctionRegion(gauche))
    assert problem.states.classify(np.repeat(problem.positions[None], 6, axis=0)).tolist() == [1] * 6
    assert problem.states.classify(np.zeros((0, 4, 3))).shape == (0,)
    for region, got in ((gauche_of_the_first, "a single value"), (gauche_as_number, r"float64 \(3,\)")):
        with pytest.raises(ValueError, match=rf"{region.__name__} must return booleans of shape \(3,\), not {got}"):
            of_regions(FunctionRegion(trans), FunctionRegion(region))
        rule = LabelRule(FunctionRegion(region), "other")
        with pytest.raises(ValueError, match="must return booleans"):
            of_regions(FunctionRegion(trans), FunctionRegion(gauche), Channels(("one", "other"), [rule]))


def test_channels_take_a_column_and_refuse_the_rest():
    frames = np.repeat(chain4.positions()[None], 3, axis=0)
    for arrival in (labels_in_a_column, labels_of_b_only):  # the latter fails at the start, which is not in B
        problem = of_regions(FunctionRegion(trans), FunctionRegion(gauche), Channels(("one",), arrival=arrival))
        assert problem.states.channels.arrive(frames[:0], np.zeros((0, 1)), np.zeros(0, dtype=int)).shape == (0,)
    labels = Channels(("one",), arrival=labels_in_a_column).arrive(frames, np.zeros((3, 1)), np.zeros(3, dtype=int))
    assert labels.tolist() == [0, 0, 0]
    with pytest.raises(ValueError, match=r"one_label must return integers of shape \(3,\), not a single value"):
        of_regions(FunctionRegion(trans), FunctionRegion(gauche), Channels(("one",), arrival=one_label))


# --- atoms and topologies ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variable", "message"),
    [
        (Dihedral("c", (0, 1, 2, 4)), "variable 'c' names an atom that does not exist: the system has 4 atoms.* not 4"),
        (Coordinate("c", 7, 0), "variable 'c' names an atom that does not exist: .* not 7"),
        (LinearCombination("c", np.ones((3, 3))), "variable 'c' has 3 rows of coefficients, the system 4 atoms"),
    ],
)
def test_variables_of_other_atoms_are_named(variable, message):
    with pytest.raises(ValueError, match=message):
        RareEventSystem.from_openmm(chain4.system(), chain4.positions(), A, B, [variable], 300, 5, 0.001)


def with_site():
    """A System with a site between two atoms, which the topology lacks."""
    made, x = chain4.system(), chain4.positions()
    made.addParticle(0.0)
    made.setVirtualSite(4, openmm.TwoParticleAverageSite(1, 2, 0.5, 0.5))
    return made, np.concatenate([x, 0.5 * (x[1:2] + x[2:3])])


def test_a_topology_of_another_size_is_refused():
    """Case 27."""
    made, x = with_site()
    a, b, phi = Range({"phi": chain4.TRANS}), Range({"phi": chain4.GAUCHE}), [Dihedral("phi", (0, 1, 2, 3))]
    message = r"the topology has 4 atoms, the System 5 particles \(1 of them virtual sites"
    with pytest.raises(ValueError, match=message):
        RareEventSystem.from_openmm(made, x, a, b, phi, 300, 5, 0.001, topology=chain4.topology())
    topology = chain4.topology()
    topology.addAtom("EP", None, next(topology.residues()))
    RareEventSystem.from_openmm(made, x, a, b, phi, 300, 5, 0.001, topology=topology)
    assert RareEventSystem.from_openmm(made, x, a, b, phi, 300, 5, 0.001, topology=None).topology is None


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ("chain4.positions(), chain4.topology(), chain4.system()", "the system must be an openmm.System, not numpy.ndarray"),
        (
            "chain4.system(), mdtraj.Topology(), chain4.positions()",
            "the topology must be an openmm.app.Topology or None, not md",
        ),
        ("chain4.system(), chain4.topology(), None", r"positions must be .* of shape \(4, 3\)"),
        ("chain4.system(), chain4.topology(), [[0, 0], 1]", "positions must be lengths: numbers in nm"),
        ("chain4.system(), chain4.topology(), chain4.positions() * unit.kelvin", "positions must be lengths: numbers in nm"),
        ("chain4.system(), None, chain4.positions()[:3]", r"positions must be finite numbers \(nm\) of shape \(4, 3\)"),
    ],
)
def test_builders_that_return_something_else_are_told(tmp_path, returned, message):
    code = chain4.BUILDER.replace("chain4.system(), chain4.topology(), chain4.positions()", returned)
    with pytest.raises(ValueError, match=message):
        build_system(load_config(chain4.write(tmp_path, f"import mdtraj\nfrom openmm import unit\n{code}")))


def test_builders_may_return_positions_of_any_form(tmp_path):
    for positions in ("chain4.positions() * 10 * unit.angstrom", "[row * unit.nanometer for row in chain4.positions()]"):
        code = chain4.BUILDER.replace("chain4.positions()", positions)
        folder = tmp_path / positions[:4]
        folder.mkdir()
        problem = build_system(load_config(chain4.write(folder, f"from openmm import unit\n{code}")))
        np.testing.assert_allclose(problem.positions, chain4.positions())


def test_a_topology_of_another_size_is_refused_by_path(tmp_path):
    """Case 27 as a configuration: nothing runs, nothing is written."""
    code = chain4.BUILDER.replace(
        "return chain4.system()", "made = chain4.system()\n    made.addParticle(1.0)\n    return made"
    )
    code = code.replace("chain4.positions()", "[*chain4.positions(), (0, 0, 1)]")
    with pytest.raises(ValueError, match="the topology has 4 atoms, the System 5 particles: give"):
        build_system(load_config(chain4.write(tmp_path, code)))
