"""K4: what descriptors measure in a periodic System, and whose box they take."""

import json

import numpy as np
import openmm
import pytest
import torch
from openmm import app

import chain4
from openmm_rare import CommittorModel, Distance, Range, RareEventSystem
from openmm_rare.bias.force import auto_force, make_bias_force
from openmm_rare.bias.importance import importance_of
from openmm_rare.config.run import parse_config
from openmm_rare.descriptors.build import build_descriptor
from openmm_rare.descriptors.by_hand import feature_columns
from openmm_rare.structure.nearest_image import box_vectors
from openmm_rare.systems import alanine_dipeptide

BOXES = {
    "rectangular": [1.6, 1.7, 1.8],
    "triclinic": [[1.8, 0.0, 0.0], [0.6, 1.7, 0.0], [-0.5, 0.7, 1.6]],
    "dodecahedron": [[2.0, 0.0, 0.0], [0.0, 2.0, 0.0], [1.0, 1.0, 2.0**0.5]],
}
SPECS = {
    "pairs": {"kind": "pair_distances"},
    "sorted": {"kind": "sorted_distances"},
    "coordination": {"kind": "coordination", "radius": 0.4, "sorted": True},
    "moments": {"kind": "coordination_moments", "radius": 0.4},
    "gap": {"kind": "disc_gap", "radius": 0.4, "center": [0.1, 0.0], "disc_radius": 0.01, "offset": 0.01},
    "dihedrals": {"kind": "dihedrals", "atoms": [[0, 1, 2, 3], [4, 2, 1, 5]]},
    "internal": {"kind": "internal_coordinates", "bonds": [[0, 1]], "angles": [[0, 1, 2]], "dihedrals": [[3, 4, 5, 0]]},
    "solvent": {
        "kind": "symmetry_functions",
        "centers": [0],
        "species": {"x": [1, 2, 3], "y": [4, 5]},
        "shells": [0.2, 0.4],
        "cutoff": 0.7,
    },
}
N_ATOMS = 6


def with_box(kind, box):
    """The specification of a kind, within a subset and beside another one."""
    part = SPECS[kind] | {"box": box}
    return {"kind": "concatenate", "parts": [{"kind": "subset", "atoms": [5, 4, 3, 2, 1, 0], "part": part}, part]}


def clusters(n_frames=6, seed=1):
    """Atoms within half of the smallest extent of each other, nm, in double precision."""
    return np.random.default_rng(seed).uniform(0.0, 0.4, (n_frames, N_ATOMS, 3))


def scattered(positions, box, seed=2):
    """The same with each atom in some other image: whole clusters cut by all faces of the box, and moved far away."""
    turns = np.random.default_rng(seed).integers(-2, 3, positions.shape)
    return positions + turns @ box_vectors(box, "box") + 0.3


@pytest.mark.parametrize("box", BOXES)
@pytest.mark.parametrize("kind", SPECS)
def test_features_do_not_depend_on_the_image(kind, box):
    positions = clusters()
    descriptor = build_descriptor(with_box(kind, BOXES[box]), N_ATOMS).double()
    expected = descriptor(torch.as_tensor(positions))
    computed = descriptor(torch.as_tensor(scattered(positions, BOXES[box])))
    torch.testing.assert_close(computed, expected, rtol=1e-7, atol=1e-9)
    if kind != "solvent":  # atoms that are close have no other images: what there is without a box
        open_space = build_descriptor(with_box(kind, "none"), N_ATOMS).double()
        torch.testing.assert_close(open_space(torch.as_tensor(positions)), expected, rtol=1e-7, atol=1e-9)
        wrong = open_space(torch.as_tensor(scattered(positions, BOXES[box])))
        assert (wrong - expected).abs().max() > 0.01  # negative control


@pytest.mark.parametrize("box", BOXES)
def test_distances_are_the_shortest_of_all_images(box):
    """Against a search of all images near, wherever atoms are less than half the smallest extent apart."""
    vectors = box_vectors(BOXES[box], "box")
    positions = np.random.default_rng(3).uniform(0, 3, (40, N_ATOMS, 3))
    turns = np.stack(np.meshgrid(*[np.arange(-4, 5)] * 3), -1).reshape(-1, 3) @ vectors
    first, second = np.triu_indices(N_ATOMS, 1)
    every = np.linalg.norm((positions[:, first] - positions[:, second])[:, :, None] + turns, axis=-1).min(-1)
    descriptor = build_descriptor({"kind": "pair_distances", "box": BOXES[box]}, N_ATOMS).double()
    near = every < 0.5 * np.diag(vectors).min()
    np.testing.assert_allclose(descriptor(torch.as_tensor(positions)).numpy()[near], every[near], rtol=1e-9)
    assert 0.2 < near.mean() < 1.0


@pytest.mark.parametrize("box", BOXES)
@pytest.mark.parametrize("kind", SPECS)
def test_gradients_across_the_boundary(kind, box):
    descriptor = build_descriptor(with_box(kind, BOXES[box]), N_ATOMS).double()
    positions = torch.tensor(scattered(clusters(2), BOXES[box]), requires_grad=True)
    weights = torch.as_tensor(np.random.default_rng(4).normal(size=descriptor.n_features))
    (gradient,) = torch.autograd.grad((descriptor(positions) @ weights).sum(), positions)
    step = torch.as_tensor(np.random.default_rng(5).normal(size=positions.shape))
    with torch.no_grad():
        ahead, behind = (descriptor(positions + sign * 1e-6 * step) @ weights for sign in (1.0, -1.0))
    assert ((ahead - behind).sum() / 2e-6).item() == pytest.approx((gradient * step).sum().item(), rel=1e-5, abs=1e-8)
    assert gradient.abs().max() > 1e-3


def test_symmetry_functions_in_a_triclinic_box_are_those_of_the_nearest_images():
    """The radial function against a search of all images; the angular ones are made of the same vectors."""
    spec = SPECS["solvent"] | {"shells": [0.3], "cutoff": 0.7}
    positions = np.random.default_rng(6).uniform(0, 6, (20, N_ATOMS, 3))
    box = np.array(BOXES["dodecahedron"])
    descriptor = build_descriptor(spec | {"box": box.tolist()}, N_ATOMS).double()
    turns = np.stack(np.meshgrid(*[np.arange(-5, 6)] * 3), -1).reshape(-1, 3) @ box
    away = positions[:, 1:4] - positions[:, :1]
    every = away[:, :, None] + turns
    shortest = np.take_along_axis(every, np.linalg.norm(every, axis=-1).argmin(-1)[..., None, None], 2)[:, :, 0]
    d = np.linalg.norm(shortest, axis=-1)
    fall = np.where(d <= 0.7, 1 / (1 + np.exp(150.0 * (d - 0.7 + 150.0**-0.5))), 0.0)
    radial = (np.exp(-200.0 * (d - 0.3) ** 2) * fall).sum(1) / descriptor.expected[0, 0, 0].item()
    np.testing.assert_allclose(descriptor(torch.as_tensor(positions)).numpy()[:, 0], radial, rtol=1e-6, atol=1e-9)
    assert radial.max() > 0.5
    with pytest.raises(ValueError, match="cutoff = 0.75 nm must be at most half of each extent of the box"):
        build_descriptor(spec | {"box": box.tolist(), "cutoff": 0.75}, N_ATOMS)


def test_fast_features_and_models_see_the_nearest_images():
    spec = with_box("pairs", BOXES["triclinic"])
    positions = scattered(clusters(), BOXES["triclinic"])
    columns = feature_columns(build_descriptor(spec, N_ATOMS), positions)
    again = build_descriptor(spec, N_ATOMS)(torch.as_tensor(positions, dtype=torch.float32)).numpy()
    np.testing.assert_allclose(columns.T, again, atol=2e-6)
    model = CommittorModel(json.loads(json.dumps(spec)), N_ATOMS, (8,))  # what a file keeps
    model.standardize(positions)
    np.testing.assert_allclose(model.logit(positions), model.logit(clusters()), atol=1e-4)


def gas(spec=None, box=None, **options):
    """Two argon atoms and a molecule of two, in a box unless it is None."""
    topology = app.Topology()
    for name, size in (("AR", 1), ("AR", 1), ("N2", 2)):
        residue = topology.addResidue(name, topology.addChain())
        atoms = [topology.addAtom(f"X{number}", app.element.argon, residue) for number in range(size)]
        if size == 2:
            topology.addBond(*atoms)
    system = openmm.System()
    pairs = openmm.NonbondedForce()
    for _ in range(4):
        system.addParticle(40.0)
        pairs.addParticle(0.0, 0.3, 0.1)
    if box is not None:
        vectors = box_vectors(box, "box")
        system.setDefaultPeriodicBoxVectors(*vectors)
        pairs.setNonbondedMethod(openmm.NonbondedForce.CutoffPeriodic)
        pairs.setCutoffDistance(0.45 * np.diag(vectors).min())
    system.addForce(pairs)
    positions = np.array([[0.0, 0.0, 0.0], [0.4, 0.0, 0.0], [0.0, 0.4, 0.0], [0.0, 0.4, 0.11]])
    states = Range({"r": (0.0, 0.5)}), Range({"r": (0.6, 0.7)})
    options = {"descriptor": spec, "topology": topology, "inertial": True, **options}
    variable = Distance("r", (0, 1)) if box is None else Distance("r", (0, 1), box=box)
    return RareEventSystem.from_openmm(system, positions, *states, [variable], 300.0, 1.0, 0.001, **options)


@pytest.mark.parametrize("box", BOXES)
def test_the_box_of_the_system_is_filled_in_where_molecules_are_combined(box):
    assert gas(box=BOXES[box]).descriptor_spec() == {"kind": "pair_distances", "box": BOXES[box]}
    subset = {"kind": "subset", "atoms": [0, 2], "part": {"kind": "sorted_distances"}}
    assert gas(subset, BOXES[box]).descriptor_spec()["part"]["box"] == BOXES[box]
    both = gas(
        {"kind": "concatenate", "parts": [{"kind": "coordination", "radius": 0.4}, subset]}, BOXES[box]
    ).descriptor_spec()
    assert both["parts"][0]["box"] == both["parts"][1]["part"]["box"] == BOXES[box]
    across = {"kind": "internal_coordinates", "bonds": [[0, 1]]}
    assert gas(across, BOXES[box]).descriptor_spec()["box"] == BOXES[box]
    assert build_descriptor(gas(box=BOXES[box]).descriptor_spec(), 4).box is not None


def test_a_molecule_alone_and_what_is_said_on_purpose_stay_as_they_are():
    molecule = {"kind": "internal_coordinates", "bonds": [[2, 3]]}
    alone = {"kind": "subset", "atoms": [2, 3], "part": {"kind": "pair_distances"}}
    coordinates = {"kind": "coordinates", "columns": [0]}
    for spec in (molecule, alone, coordinates, {"kind": "pair_distances", "box": "none"}):
        assert gas(spec, [2.0] * 3).descriptor_spec() == spec
    for spec in (molecule, alone, {"kind": "pair_distances"}):
        assert gas(spec).descriptor_spec() == spec  # without boundaries
    assert gas(molecule | {"box": "system"}, [2.0] * 3).descriptor_spec()["box"] == [2.0] * 3
    assert alanine_dipeptide.build().descriptor_spec() == alanine_dipeptide.build().descriptor


@pytest.mark.parametrize("kind", ["pair_distances", "coordination", "symmetry_functions"])
def test_another_box_than_that_of_the_system_is_refused_with_both(kind):
    spec = {"kind": kind, "box": [2.0, 2.0, 2.1], "radius": 0.4, "centers": [0], "species": {"x": [1]}}
    with pytest.raises(
        ValueError, match=r"descriptor has the box \[2.0, 2.0, 2.1\], the System \[2.0, 2.0, 2.0\] \(nm\): leave"
    ):
        gas(spec, [2.0] * 3).descriptor_spec()
    same = gas(spec | {"box": [2.00001, 2.0, 2.0]}, [2.0] * 3)  # edges from a file with five digits
    assert same.descriptor_spec()["box"] == [2.00001, 2.0, 2.0]


def test_boxes_that_mean_nothing_are_refused():
    for box, words in (([2.0] * 3, "no periodic boundaries: remove it"), ("system", "no periodic boundaries")):
        with pytest.raises(ValueError, match=words):
            gas({"kind": "pair_distances", "box": box}).descriptor_spec()
    with pytest.raises(ValueError, match='descriptor.part.box = \'both\' must be "system", "none", or the edges or vectors'):
        part = {"kind": "pair_distances", "box": "both"}
        gas({"kind": "subset", "atoms": [0, 1], "part": part}, [2.0] * 3).descriptor_spec()
    with pytest.raises(ValueError, match="descriptor.box must be"):
        gas({"kind": "pair_distances", "box": [2.0, 2.0]}, [2.0] * 3).descriptor_spec()
    solvent = {"kind": "symmetry_functions", "centers": [0], "species": {"x": [1]}, "shells": [0.2], "cutoff": 0.5}
    assert gas(solvent, [2.0] * 3).descriptor_spec()["box"] == [2.0] * 3  # the default
    assert gas(solvent | {"box": [5.0] * 3}).descriptor_spec()["box"] == [5.0] * 3  # a density needs one in vacuum, too
    with pytest.raises(ValueError, match="needs the key 'box'"):
        build_descriptor(gas(solvent).descriptor_spec(), 4)


def test_the_box_is_spelled_out_in_the_configuration(tmp_path):
    config = parse_config(chain4.write(tmp_path).read_text(), tmp_path)
    for box in BOXES.values():
        again = parse_config(config.expanded(gas(box=box)).to_toml(), tmp_path)
        assert again.system.descriptor == {"kind": "pair_distances", "box": box}


@pytest.mark.parametrize("kind", ["pairs", "coordination", "internal"])
def test_the_bias_force_of_a_learned_committor_across_the_boundary(kind):
    """Force and energy of guided paths: minus the gradient, by finite differences, and the same in any image."""
    spec, box = with_box(kind, BOXES["triclinic"]), BOXES["triclinic"]
    model = CommittorModel(spec, N_ATOMS, (8,), 300.0)
    random = np.random.default_rng(1)
    model.set_tensors({name: random.normal(size=tensor.shape) for name, tensor in model.tensors().items()})
    model.standardize(clusters(30))
    importance, positions = importance_of(model), scattered(clusters(1), box)[0]
    assert auto_force(importance) == "python"  # the plugin knows no images
    with pytest.raises(ValueError, match="native force"):
        make_bias_force("native", importance, positions, 1, 1.0)
    system = openmm.System()
    system.setDefaultPeriodicBoxVectors(*box_vectors(box, "box"))
    pairs = openmm.NonbondedForce()
    pairs.setNonbondedMethod(openmm.NonbondedForce.CutoffPeriodic)
    pairs.setCutoffDistance(0.5)
    for _ in range(N_ATOMS):
        system.addParticle(40.0)
        pairs.addParticle(0.0, 0.1, 0.0)
    system.addForce(pairs)
    system.addForce(make_bias_force("auto", importance, positions, 1, 1.0))
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("CPU"))

    def energy_and_forces(x):
        context.setPositions(x)
        state = context.getState(energy=True, forces=True)
        return state.getPotentialEnergy()._value, state.getForces(asNumpy=True)._value

    energy, forces = energy_and_forces(positions)
    step = np.random.default_rng(2).normal(size=positions.shape)
    slope = (energy_and_forces(positions + 2e-4 * step)[0] - energy_and_forces(positions - 2e-4 * step)[0]) / 4e-4
    assert slope == pytest.approx(-(forces * step).sum(), rel=2e-2) and np.abs(forces).max() > 0.1
    assert energy_and_forces(clusters(1)[0])[0] == pytest.approx(energy, abs=2e-4)
    assert -2.0 * model.log_importance(positions[None])[0] == pytest.approx(energy, abs=2e-4)
