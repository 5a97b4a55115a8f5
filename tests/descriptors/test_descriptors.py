"""Features of molecules and of the solvent around them: against plain loops, gradients, names, and what they refuse."""

import json

import numpy as np
import openmm
import pytest
import torch

from openmm_rare.descriptors.build import build_descriptor
from openmm_rare.descriptors.completed import completed
from openmm_rare.states.states import Angle, Dihedral, Distance
from openmm_rare.structure.internal_coordinates import internal_coordinates
from openmm_rare.systems import alanine_dipeptide
from stats import assert_within, mean_and_stderr

BOX = [1.6, 1.7, 1.8]
SHELLS, CUTOFF, ZETAS = [0.1, 0.25, 0.4], 0.6, (1, 2, 4, 16, 64)
SOLVENT = {
    "kind": "symmetry_functions",
    "centers": [0, 2],
    "species": {"O": [1, 5, 6, 7, 8], "H": [3, 4, 9]},
    "box": BOX,
    "shells": SHELLS,
    "cutoff": CUTOFF,
    "labels": ["CA", "CB"],
}
MOLECULE = {
    "kind": "internal_coordinates",
    "bonds": [[0, 1], [1, 2]],
    "angles": [[0, 1, 2], [5, 2, 1]],
    "dihedrals": [[0, 1, 2, 3], [6, 5, 4, 0]],
}
SPECS = {
    "pairs": {"kind": "pair_distances"},
    "sorted": {"kind": "sorted_distances"},
    "coordination": {"kind": "coordination", "radius": 0.5},
    "moments": {"kind": "coordination_moments", "radius": 0.5},
    "coordinates": {"kind": "coordinates", "columns": [0, 4, 29]},
    "combinations": {"kind": "coordinates", "columns": [0, 4], "matrix": [[1.0, 0.5], [0.0, 2.0]]},
    "dihedrals": {"kind": "dihedrals", "atoms": [[0, 1, 2, 3]], "labels": ["omega"]},
    "molecule": MOLECULE,
    "solvent": SOLVENT,
    "subset": {"kind": "subset", "atoms": [3, 1, 7], "part": {"kind": "pair_distances", "labels": ["a", "b", "c"]}},
    "centers": {
        "kind": "group_centers",
        "groups": [[3, 1], [7], [0, 2, 9]],
        "masses": [[1.0, 12.0], [16.0], [1.0, 1.0, 14.0]],
        "part": {"kind": "pair_distances", "labels": ["a", "b", "c"]},
    },
    "both": {"kind": "concatenate", "parts": [MOLECULE, SOLVENT]},
}


def atoms(n_frames, n_atoms=10, seed=1):
    """Atoms all over the box."""
    return np.random.default_rng(seed).uniform(0.0, 1.0, (n_frames, n_atoms, 3)) * BOX


def features(spec, positions):
    return build_descriptor(spec, positions.shape[1])(torch.as_tensor(positions)).numpy()


@pytest.mark.parametrize("kind", sorted(SPECS))
def test_gradients_reach_the_atoms(kind):
    """Finite differences, in double precision, of a random combination of the features."""
    descriptor, positions = build_descriptor(SPECS[kind], 10).double(), torch.tensor(atoms(3), requires_grad=True)
    weights = torch.as_tensor(np.random.default_rng(2).normal(size=descriptor.n_features))
    (gradient,) = torch.autograd.grad((descriptor(positions) @ weights).sum(), positions)
    step = torch.as_tensor(np.random.default_rng(3).normal(size=positions.shape))
    with torch.no_grad():
        ahead, behind = (descriptor(positions + sign * 1e-6 * step) @ weights for sign in (1.0, -1.0))
    assert ((ahead - behind).sum() / 2e-6).item() == pytest.approx((gradient * step).sum().item(), rel=1e-5)
    assert gradient.abs().max() > 1e-3  # negative control: not zero on both sides


@pytest.mark.parametrize("kind", sorted(SPECS))
def test_every_feature_has_a_name_of_its_own(kind):
    spec = json.loads(json.dumps(SPECS[kind]))  # what a stored model keeps
    descriptor = build_descriptor(spec, 10)
    assert descriptor(torch.as_tensor(atoms(2), dtype=torch.float32)).shape == (2, descriptor.n_features)
    assert len(set(descriptor.names)) == len(descriptor.names) == descriptor.n_features
    assert not any(name.startswith("feature") for name in descriptor.names)


def test_names_say_what_the_features_are():
    names = {kind: build_descriptor(spec, 10).names for kind, spec in SPECS.items()}
    assert names["coordinates"] == ("x0", "y1", "z9")
    assert names["combinations"] == ("combination 1", "combination 2")
    assert names["dihedrals"] == ("sin omega", "cos omega")
    assert names["subset"] == ("r a-b", "r a-c", "r b-c")
    assert names["molecule"][:4] == ("r 0-1", "r 1-2", "cos 0-1-2", "cos 5-2-1")
    assert names["solvent"][:3] == ("G2 of O at 0.1 nm around CA", *(f"G5(1,{s}1) of O at 0.1 nm around CA" for s in "+-"))
    assert names["both"] == names["molecule"] + names["solvent"]


def test_internal_coordinates_are_those_of_the_variables():
    """The states measure angles in NumPy, independently."""
    positions = atoms(20)
    computed = features(MOLECULE, positions)
    variables = [Distance("", tuple(a)) for a in MOLECULE["bonds"]] + [Angle("", tuple(a)) for a in MOLECULE["angles"]]
    lengths, angles = np.split(np.array([variable(positions) for variable in variables]).T, [2], axis=1)
    turns = np.array([Dihedral("", tuple(a))(positions) for a in MOLECULE["dihedrals"]]).T
    expected = [lengths, 0.5 * (np.cos(angles) + 1.0), 0.5 * (np.sin(turns) + 1.0), 0.5 * (np.cos(turns) + 1.0)]
    np.testing.assert_allclose(computed, np.concatenate(expected, axis=1), atol=1e-6)


def test_a_molecule_gets_all_its_bonds_and_the_angles_that_go_with_them():
    topology = alanine_dipeptide.topology()
    spec = internal_coordinates(topology, range(22))
    assert [len(spec[name]) for name in ("bonds", "angles", "dihedrals")] == [21, 20, 7]
    descriptor = build_descriptor(spec, topology.getNumAtoms())
    assert descriptor.n_features == 55
    named = dict(zip(spec["labels"], [*spec["bonds"], *spec["angles"], *spec["dihedrals"]], strict=True))
    assert tuple(named["phi ALA2"]) == alanine_dipeptide.PHI and tuple(named["psi ALA2"]) == alanine_dipeptide.PSI
    assert {"sin psi ALA2", "cos psi ALA2", "r ALA2:N-ALA2:CA"} <= set(descriptor.names)
    alone = internal_coordinates(topology, range(22, 25))  # one water
    assert alone["bonds"] == [[22, 23], [22, 24]] and alone["angles"] == [[23, 22, 24]] and alone["dihedrals"] == []
    with pytest.raises(ValueError, match="there is no bond between the atoms"):
        internal_coordinates(topology, [0, 2])
    with pytest.raises(ValueError, match="atoms must be indices from 0 to 1650"):
        internal_coordinates(topology, [0, 1651])


def test_a_molecule_in_water_leaves_the_water_alone():
    target = alanine_dipeptide.build()
    positions = torch.tensor(target.positions[None], dtype=torch.float32, requires_grad=True)
    descriptor = build_descriptor(target.descriptor_spec(), len(target.positions))
    (gradient,) = torch.autograd.grad(descriptor(positions).sum(), positions)
    assert not gradient[:, 22:].any() and gradient[:, :22].abs().sum(-1).min() > 0.0


def test_the_water_around_a_molecule_is_that_of_a_liquid():
    """In a liquid of uniform density far from the molecule, the features of the outer shell are near those of a gas."""
    target = alanine_dipeptide.build()
    descriptor = build_descriptor(alanine_dipeptide.solvent_spec(), 1651)
    assert descriptor.n_features == 1452 == len(set(descriptor.names))
    positions = torch.tensor(target.positions[None], dtype=torch.float32, requires_grad=True)
    values = descriptor(positions)
    assert "G2 of H at 0.4 nm around ALA2:CA" in descriptor.names
    outer = [i for i, name in enumerate(descriptor.names) if name.startswith("G2 of O at 0.4")]
    assert 0.5 < values[0, outer].mean() < 1.2  # the molecule itself takes some of the room
    (gradient,) = torch.autograd.grad(values.sum(), positions)
    assert gradient[0, :22].abs().sum(-1).min() > 0.0 and gradient[0, 22:].abs().max() > 0.0
    assert not gradient.sum(1).abs().max() > 1e-2 * gradient.abs().max()  # nothing depends on where all of it is


def slow_symmetry_functions(positions, alpha=150.0, etas=(200.0, 120.0)):
    """The definition, in plain loops, divided by a numerical integral over the ideal gas."""
    box, rows = np.array(BOX), []

    def fall(r):
        return 1.0 / (1.0 + np.exp(alpha * (r - (CUTOFF - alpha**-0.5)))) * (r <= CUTOFF)

    r = np.linspace(0.0, CUTOFF, 200001)
    for center in SOLVENT["centers"]:
        for kind in SOLVENT["species"].values():
            away = positions[kind] - positions[center]
            away -= box * np.round(away / box)
            d = np.linalg.norm(away, axis=1)
            density = len(kind) / np.prod(box)
            for shell in SHELLS:
                counts = [
                    np.trapezoid(4 * np.pi * density * r**2 * np.exp(-eta * (r - shell) ** 2) * fall(r), r)
                    if hasattr(np, "trapezoid")
                    else np.trapz(4 * np.pi * density * r**2 * np.exp(-eta * (r - shell) ** 2) * fall(r), r)
                    for eta in etas
                ]
                rows.append((np.exp(-etas[0] * (d - shell) ** 2) * fall(d)).sum() / counts[0])
                w = np.exp(-etas[1] * (d - shell) ** 2) * fall(d)
                for zeta in ZETAS:
                    for sign in (1, -1):
                        total = sum(
                            (1 + sign * away[j] @ away[k] / (d[j] * d[k])) ** zeta * w[j] * w[k]
                            for j in range(len(kind))
                            for k in range(j + 1, len(kind))
                        )
                        rows.append(total / (0.5 * counts[1] ** 2 * 2.0**zeta / (zeta + 1)))
    return np.array(rows)


def test_symmetry_functions_are_their_definition():
    positions = atoms(4)
    expected = np.array([slow_symmetry_functions(frame) for frame in positions])
    assert expected.max() > 1.0
    descriptor = build_descriptor(SOLVENT, 10).double()
    np.testing.assert_allclose(descriptor(torch.as_tensor(positions)).numpy(), expected, rtol=1e-5, atol=1e-7)
    moved = positions + np.array([0.0, -1.0, 2.0]) * BOX * np.random.default_rng(3).integers(-1, 2, (4, 10, 1)) + 0.3
    np.testing.assert_allclose(descriptor(torch.as_tensor(moved)).numpy(), expected, rtol=1e-5, atol=1e-7)  # images
    swapped = positions[:, [0, 8, 2, 9, 4, 7, 6, 5, 1, 3]]  # within a kind of atoms
    np.testing.assert_allclose(descriptor(torch.as_tensor(swapped)).numpy(), expected, rtol=1e-5, atol=1e-7)


def test_means_in_an_ideal_gas_are_one():
    n_frames, n_gas = 400, 300
    gas = atoms(n_frames, n_gas + 1, seed=7)
    spec = SOLVENT | {"centers": [0], "species": {"gas": list(range(1, n_gas + 1))}, "labels": ["a"]}
    descriptor = build_descriptor(spec, n_gas + 1)
    with torch.no_grad():
        values = descriptor(torch.as_tensor(gas, dtype=torch.float32)).numpy()
    pairs = 1.0 - 1.0 / n_gas  # a fixed number of atoms has fewer pairs than an open gas
    for name, column in zip(descriptor.names, values.T, strict=True):
        mean, error = mean_and_stderr(column)
        assert_within(mean, pairs if name.startswith("G5") else 1.0, error)
        assert error < 0.5
    mean, error = mean_and_stderr(values[:, 11])  # negative control: the whole volume of the gas, as if r_s did not matter
    with pytest.raises(AssertionError):
        assert_within(mean, 0.63, error)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (SOLVENT | {"cutoff": 0.9}, "cutoff = 0.9 nm must be at most half"),
        (SOLVENT | {"shells": [0.7]}, r"shells must be radii from 0 to the cutoff, 0.6 nm, not \[0.7\]"),
        (SOLVENT | {"centers": [1]}, "species 'O' has atoms that are centers"),
        (SOLVENT | {"centers": [10]}, "centers must list different atoms from 0 to 9"),
        (SOLVENT | {"species": {}}, "at least one kind"),
        (SOLVENT | {"zetas": [0]}, "zetas at least 1"),
        (SOLVENT | {"labels": ["a", "a"]}, "labels must be 2 different texts, one for each center"),
        (SOLVENT | {"radius": 1.0}, "unknown keys"),
        ({key: value for key, value in SOLVENT.items() if key != "box"}, "needs the key 'box'"),
        (MOLECULE | {"bonds": [[0, 10]]}, "bonds must list 2 different atoms each, from 0 to 9"),
        (MOLECULE | {"angles": [[0, 1]]}, "angles must list 3 different atoms"),
        ({"kind": "internal_coordinates"}, "at least one of bonds, angles and dihedrals"),
        ({"kind": "dihedrals", "atoms": [[0, 1, 2, 2]]}, "dihedrals must list 4 different atoms"),
        ({"kind": "subset", "atoms": [], "part": {"kind": "pair_distances"}}, "atoms of a subset"),
    ],
)
def test_wrong_specifications(spec, message):
    with pytest.raises(ValueError, match=message):
        build_descriptor(spec, 10)


def test_centers_of_groups_have_the_masses_and_the_box_of_the_system():
    system, forces = openmm.System(), openmm.NonbondedForce()
    for mass in (1.0, 3.0, 5.0):
        system.addParticle(mass)
        forces.addParticle(0.0, 0.1, 0.0)
    forces.setNonbondedMethod(forces.CutoffPeriodic)
    forces.setCutoffDistance(0.5)
    system.addForce(forces)
    system.setDefaultPeriodicBoxVectors(*(1.2 * np.eye(3)))
    given = {"kind": "group_centers", "groups": [[0, 1], [2]], "part": {"kind": "pair_distances"}}
    spec = completed(given, system, None)
    assert spec["masses"] == [[1.0, 3.0], [5.0]] and spec["part"]["box"] == [1.2] * 3
    x = np.array([[[0.0, 0.1, 0.0], [0.0, 0.5, 0.0], [0.0, 1.5, 0.0]]], dtype=np.float32)
    assert features(spec, x).item() == pytest.approx(0.1)  # 0.4 to 1.5, less a box
    assert features(spec | {"part": {"kind": "pair_distances"}}, x).item() == pytest.approx(1.1)  # negative control
    for wrong, said in (([[0, 1], [1]], "different atoms"), ([[0], []], "none of them empty"), ([[0], [7]], "from 0 to 2")):
        with pytest.raises(ValueError, match=said):
            build_descriptor(spec | {"groups": wrong}, 3)
    with pytest.raises(ValueError, match="masses must be lists"):
        build_descriptor(spec | {"masses": [[1.0], [5.0]]}, 3)
    with pytest.raises(ValueError, match="must be positive"):
        build_descriptor(spec | {"masses": [[1.0, 0.0], [5.0]]}, 3)
