"""The native bias: the same energy and forces as torch, on every platform that has it."""

import re

import numpy as np
import openmm
import pytest
import torch

from openmm_rare.bias.committor_force import CommittorForce, has_native_features
from openmm_rare.bias.importance import FastImportance
from openmm_rare.committor.model import CommittorModel
from openmm_rare.dynamics import native
from openmm_rare.systems import lj7
from platforms import make_context

pytestmark = pytest.mark.skipif(not native.plugin().available, reason="; ".join(native.plugin().problems))

SCALE = -2.0
N = 50
HIDDEN = (64, 64, 64)


def coordination(radius, sort):
    return {"kind": "coordination", "radius": radius, "sorted": sort}


def gap(radius, disc_radius):
    return {"kind": "disc_gap", "radius": radius, "center": [0.2, 0.1], "disc_radius": disc_radius, "offset": 0.01}


def concatenate(*parts):
    return {"kind": "concatenate", "parts": list(parts)}


MOMENTS = {"kind": "coordination_moments", "radius": 0.5}
MATRIX = np.random.default_rng(7).normal(size=(5, 6)).tolist()
# specification, number of atoms, dimensions
DESCRIPTORS = {
    "lj7": (lj7.build().descriptor, 7, 2),
    "distances": ({"kind": "pair_distances"}, 4, 3),
    "sorted distances": ({"kind": "sorted_distances"}, 5, 3),
    "coordination": (concatenate(coordination(0.4, False), coordination(0.4, True), coordination(0.6, True)), 6, 3),
    "moments and gaps": (concatenate(MOMENTS, gap(0.5, 0.02), gap(0.4, 0.5)), 6, 3),
    "matrix": ({"kind": "coordinates", "columns": [0, 1, 3, 4, 6, 7], "scale": 0.5, "matrix": MATRIX}, 3, 2),
    "one coordinate": ({"kind": "coordinates", "columns": [0], "scale": 0.25}, 1, 1),
    "mixed": (concatenate({"kind": "sorted_distances"}, {"kind": "coordinates", "columns": [0, 4, 8]}, MOMENTS), 3, 3),
    "twenty atoms": (concatenate({"kind": "sorted_distances"}, coordination(0.5, True)), 20, 3),
}
# so many that they are sorted walker by walker, or that pairs are computed twice
LARGE = {
    "sorted distances of many": (concatenate({"kind": "sorted_distances"}, coordination(0.5, True)), 40, 3),
    "distances and moments of many": (concatenate({"kind": "pair_distances"}, MOMENTS), 40, 3),
    "coordination of many": (concatenate(coordination(0.4, False), coordination(0.6, True), MOMENTS, gap(0.4, 0.5)), 40, 3),
    "coordination of many in a plane": (concatenate(coordination(0.5, True), MOMENTS), 40, 2),
}


def case(name, hidden=HIDDEN, seed=1, n=N):
    """A random network that sees standardized features, and positions ``(n, n_atoms, 3)`` in its dimensions."""
    spec, n_atoms, num_dimensions = (DESCRIPTORS | LARGE)[name]
    torch.manual_seed(seed)
    model = CommittorModel(spec, n_atoms, hidden)
    with torch.no_grad():
        model.network[-1].weight *= 10.0  # logits that vary by some units
    positions = scattered(name, 300)
    model.standardize(positions)
    return model, positions[:n], num_dimensions


def scattered(name, n, spread=0.1):
    """Atoms about the places of a hexagon or a lattice, and the whole of them anywhere."""
    rng = np.random.default_rng(11)
    _, n_atoms, num_dimensions = (DESCRIPTORS | LARGE)[name]
    lattice = 0.35 * np.stack(np.meshgrid(*3 * [np.arange(3.0 if n_atoms <= 27 else 4.0)]), -1).reshape(-1, 3)
    places = lj7.hexagon() if name == "lj7" else lattice[:n_atoms]
    positions = places + spread * rng.normal(size=(n, n_atoms, 3)) + rng.normal(size=(n, 1, 3))
    positions[:, :, num_dimensions:] = 0.0
    return positions


def exact(model, positions, num_dimensions, activation=torch.nn.SiLU):
    """ln I of all walkers and its gradient, in double precision."""
    model = model.copy().double()
    layers = [layer if isinstance(layer, torch.nn.Linear) else activation() for layer in model.network]
    model.network = torch.nn.Sequential(*layers)
    x = torch.tensor(positions, dtype=torch.float64, requires_grad=True)
    value = model(x)
    (gradient,) = torch.autograd.grad(value.sum(), x)
    gradient = gradient.numpy().copy()
    gradient[:, :, num_dimensions:] = 0.0
    return value.detach().numpy(), gradient


def context_of(force, positions, platform="Reference", properties=None):
    system = openmm.System()
    for _ in range(positions.shape[0] * positions.shape[1]):
        system.addParticle(1.0)
    system.addForce(force)
    if properties is None:
        return make_context(system, openmm.VerletIntegrator(0.001), platform, positions)
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName(platform), properties)
    context.setPositions(positions.reshape(-1, 3))
    return context


def energy_and_forces(context, shape):
    state = context.getState(energy=True, forces=True)
    return state.getPotentialEnergy()._value, state.getForces(asNumpy=True)._value.reshape(shape)


def evaluate(force, positions, platform="Reference", properties=None):
    return energy_and_forces(context_of(force, positions, platform, properties), positions.shape)


def differences(result, value, gradient):
    """Of an energy and forces from what they should be, relative; that of the forces is the root of the mean square."""
    energy, forces = result
    error = forces - -SCALE * gradient
    return abs(energy / (SCALE * value.sum()) - 1.0), np.sqrt((error**2).mean() / ((SCALE * gradient) ** 2).mean())


def edited(force, pattern, replacement):
    """The force that its XML, with something changed, describes."""
    text = openmm.XmlSerializer.serialize(force)
    changed = re.sub(pattern, replacement, text, count=1)
    assert changed != text
    return openmm.XmlSerializer.deserialize(changed)


@pytest.mark.parametrize("name", DESCRIPTORS)
def test_energy_and_forces_are_those_of_the_model(name, native_platform):
    model, positions, num_dimensions = case(name)
    importance = FastImportance(model, num_dimensions)
    result = evaluate(CommittorForce(importance, N, SCALE), positions, native_platform)
    for reference in (exact(model, positions, num_dimensions), importance.log_importance_gradient(positions)):
        energy, forces = differences(result, *reference)
        assert energy < 1e-6
        assert forces < 5e-6
    assert not result[1][:, :, num_dimensions:].any()


@pytest.mark.parametrize("variant", ["baseline", "avx2", "avx512"])
@pytest.mark.parametrize("name", LARGE)
def test_energy_and_forces_of_many_atoms(name, variant, monkeypatch):
    model, positions, num_dimensions = case(name)
    importance = FastImportance(model, num_dimensions)
    monkeypatch.setenv("OPENMM_RARE_SIMD", variant)
    for n in (1, 7, N):
        force = CommittorForce(importance, n, SCALE)
        try:
            result = evaluate(force, positions[:n])
        except openmm.OpenMMException as error:
            pytest.skip(str(error))
        for reference in (exact(model, positions[:n], num_dimensions), importance.log_importance_gradient(positions[:n])):
            energy, forces = differences(result, *reference)
            assert energy < 2e-6 and forces < 1e-4  # distances that differ by a digit may be in another order
        others = exact(model, positions[-n:] + [0.1, 0.0, 0.0] * np.arange(positions.shape[1])[:, None], num_dimensions)
        assert max(differences(result, *others)) > 1e-2  # negative control


@pytest.mark.parametrize("name", ["lj7", "mixed"])
def test_energy_and_forces_in_every_precision(name, precise_platform):
    model, positions, num_dimensions = case(name)
    result = evaluate(CommittorForce(FastImportance(model, num_dimensions), N, SCALE), positions, precise_platform)
    energy, forces = differences(result, *exact(model, positions, num_dimensions))
    assert energy < 1e-6
    assert forces < 5e-6


def test_particles_that_openmm_moves_about_stay_in_their_walkers(native_platform):
    """GPUs sort particles by place if there is a cutoff."""
    model, positions, num_dimensions = case("distances")
    system = openmm.System()
    cutoff = openmm.NonbondedForce()
    cutoff.setNonbondedMethod(openmm.NonbondedForce.CutoffNonPeriodic)
    for _ in range(positions.shape[0] * positions.shape[1]):
        system.addParticle(1.0)
        cutoff.addParticle(0.0, 0.3, 0.0)
    system.addForce(cutoff)
    system.addForce(CommittorForce(FastImportance(model, num_dimensions), N, SCALE))
    context = make_context(system, openmm.BrownianIntegrator(300.0, 2.0, 1e-6), native_platform, positions)
    context.getIntegrator().step(300)  # it sorts them now and then
    moved = context.getState(positions=True).getPositions(asNumpy=True)._value.reshape(positions.shape)
    result = energy_and_forces(context, positions.shape)
    assert max(differences(result, *exact(model, moved, num_dimensions))) < 5e-6
    assert max(differences(result, *exact(model, positions, num_dimensions))) > 1e-3  # negative control: where they were


def test_a_periodic_system_is_refused_where_particles_are_moved_by_periods(native_platform):
    model, positions, num_dimensions = case("matrix")
    box = openmm.CustomExternalForce("periodicdistance(x, y, z, 0, 0, 0)")
    system = openmm.System()
    for _ in range(positions.shape[0] * positions.shape[1]):
        system.addParticle(1.0)
    for force in (box, CommittorForce(FastImportance(model, num_dimensions), N, SCALE)):
        system.addForce(force)
    arguments = system, openmm.VerletIntegrator(0.001), native_platform, positions
    if native_platform in ("Reference", "CPU"):
        make_context(*arguments)
    else:
        with pytest.raises(openmm.OpenMMException, match="cannot be used in a periodic system"):
            make_context(*arguments)


def test_the_comparison_sees_a_wrong_weight():
    model, positions, num_dimensions = case("lj7")
    force = CommittorForce(FastImportance(model, num_dimensions), N, SCALE)
    with torch.no_grad():
        model.network[2].weight[5, 7] += 0.01  # negative control
    energy, forces = differences(evaluate(force, positions), *exact(model, positions, num_dimensions))
    assert energy > 2e-6
    assert forces > 5e-5


def test_next_to_a_disc_only_the_digits_of_single_precision_are_lost():
    model, _, num_dimensions = case("lj7")
    positions = scattered("lj7", 300, spread=0.05)
    _, gradient = exact(model, positions, num_dimensions)
    _, forces = evaluate(CommittorForce(FastImportance(model, num_dimensions), 300, SCALE), positions)
    error = np.sqrt(((forces + SCALE * gradient) ** 2).sum((1, 2)) / ((SCALE * gradient) ** 2).sum((1, 2)))
    with torch.no_grad():
        gap = model.copy().double().descriptor(torch.tensor(positions))[:, -1].exp().numpy()
    assert (gap < 0.0041).sum() > 10  # inside of the disc
    assert (gap < 0.02).sum() > (gap < 0.0041).sum() + 3  # next to it, where the moments have few digits more than the gap
    assert (error < 3e-6 / gap.clip(max=1.0)).all()


@pytest.mark.parametrize("name, activation", [("1", torch.nn.Tanh), ("2", torch.nn.SELU)])
def test_other_activations(name, activation, native_platform):
    model, positions, num_dimensions = case("lj7")
    force = CommittorForce(FastImportance(model, num_dimensions), N, SCALE)
    result = evaluate(edited(force, 'activation="0"', f'activation="{name}"'), positions, native_platform)
    energy, forces = differences(result, *exact(model, positions, num_dimensions, activation))
    assert energy < 1e-6
    assert forces < 5e-6
    assert min(differences(result, *exact(model, positions, num_dimensions))) > 1e-3  # negative control: SiLU


@pytest.mark.parametrize("hidden", [(), (1,), (5, 33), (16, 3, 70, 9), (1100,)], ids=str)
def test_networks_of_other_shapes(hidden, native_platform):
    model, positions, num_dimensions = case("lj7", hidden)
    force = CommittorForce(FastImportance(model, num_dimensions), N, SCALE)
    energy, forces = differences(evaluate(force, positions, native_platform), *exact(model, positions, num_dimensions))
    assert energy < 1e-6
    assert forces < 5e-6


@pytest.mark.parametrize("n", [1, 4, 5, 8, 9, 16, 17, 33])
def test_a_walker_does_not_depend_on_the_number_of_others(n):
    model, positions, num_dimensions = case("lj7")
    importance = FastImportance(model, num_dimensions)
    _, everyone = evaluate(CommittorForce(importance, N, SCALE), positions)
    energy, forces = evaluate(CommittorForce(importance, n, SCALE), positions[:n])
    np.testing.assert_allclose(forces, everyone[:n], rtol=0.0, atol=1e-6 * np.abs(everyone).max())
    assert energy == pytest.approx(SCALE * exact(model, positions[:n], num_dimensions)[0].sum(), rel=1e-6)


def test_threads_do_not_change_a_bit():
    model, positions, num_dimensions = case("lj7")
    positions = np.concatenate(20 * [positions]) + 0.01 * np.random.default_rng(2).normal(size=(20 * N, 7, 3))
    importance = FastImportance(model, num_dimensions)
    one, three = (
        evaluate(CommittorForce(importance, 20 * N, SCALE), positions, "CPU", {"Threads": threads}) for threads in ("1", "3")
    )
    assert one[0] == three[0]
    np.testing.assert_array_equal(one[1], three[1])


def test_forces_add_to_those_of_others_and_follow_the_force_group(native_platform):
    model, positions, num_dimensions = case("distances")
    importance = FastImportance(model, num_dimensions)
    _, alone = evaluate(CommittorForce(importance, N, SCALE), positions, native_platform)
    force = CommittorForce(importance, N, SCALE)
    force.setForceGroup(3)
    context = context_of(force, positions, native_platform)
    field = openmm.CustomExternalForce("2*x")
    for particle in range(positions.shape[0] * positions.shape[1]):
        field.addParticle(particle, [])
    context.getSystem().addForce(field)
    context.reinitialize(preserveState=True)
    _, both = energy_and_forces(context, positions.shape)
    tolerance = 1e-12 if native_platform in ("Reference", "CPU") else 1e-6  # the others report forces in single precision
    np.testing.assert_allclose(both, alone + [-2.0, 0.0, 0.0], rtol=tolerance, atol=tolerance)
    state = context.getState(energy=True, groups={0})
    assert state.getPotentialEnergy()._value == pytest.approx(2.0 * positions[:, :, 0].sum())


@pytest.mark.parametrize("name", DESCRIPTORS)
def test_forces_are_the_gradient_of_the_energy(name):
    model, positions, num_dimensions = case(name)
    context = context_of(CommittorForce(FastImportance(model, num_dimensions), N, SCALE), positions)
    _, forces = energy_and_forces(context, positions.shape)
    change = 0.03  # kJ/mol: well above what single precision can tell apart, well below where the energy bends
    energies = []
    for step in (-0.5, 0.5):
        context.setPositions((positions + step * change / (forces**2).sum() * forces).reshape(-1, 3))
        energies.append(energy_and_forces(context, positions.shape)[0])
    assert energies[0] - energies[1] == pytest.approx(change, rel=2e-3)


def test_a_walker_far_from_the_origin_feels_the_same():
    model, positions, num_dimensions = case("lj7")
    positions -= positions[:, :1]
    force = CommittorForce(FastImportance(model, num_dimensions), N, SCALE)
    context = context_of(force, positions)
    here = energy_and_forces(context, positions.shape)
    context.setPositions((positions + np.array([300.0, -200.0, 0.0])).reshape(-1, 3))
    there = energy_and_forces(context, positions.shape)
    assert there[0] == pytest.approx(here[0], rel=1e-6)
    np.testing.assert_allclose(there[1], here[1], rtol=0.0, atol=2e-6 * np.abs(here[1]).max())


def test_coordinates_beyond_the_dimensions_count_as_zero():
    model, positions, num_dimensions = case("lj7")
    importance = FastImportance(model, num_dimensions)
    flat = evaluate(CommittorForce(importance, N, SCALE), positions)
    lifted = positions + np.random.default_rng(3).normal(size=positions.shape) * [0.0, 0.0, 1.0]
    energy, forces = evaluate(CommittorForce(importance, N, SCALE), lifted)
    assert energy == flat[0]
    np.testing.assert_array_equal(forces, flat[1])


def test_a_context_takes_another_model(native_platform):
    first, positions, num_dimensions = case("lj7", seed=1)
    second, _, _ = case("lj7", seed=2)
    force = CommittorForce(FastImportance(first, num_dimensions), N, SCALE)
    context = context_of(force, positions, native_platform)
    assert max(differences(energy_and_forces(context, positions.shape), *exact(first, positions, num_dimensions))) < 5e-6
    force.update(context, FastImportance(second, num_dimensions))
    result = energy_and_forces(context, positions.shape)
    assert max(differences(result, *exact(second, positions, num_dimensions))) < 5e-6
    assert min(differences(result, *exact(first, positions, num_dimensions))) > 1e-3  # negative control: the first model
    context.reinitialize(preserveState=True)  # the force itself has changed
    assert energy_and_forces(context, positions.shape)[0] == result[0]


def test_a_context_refuses_another_shape():
    model, positions, num_dimensions = case("lj7")
    force = CommittorForce(FastImportance(model, num_dimensions), N, SCALE)
    context = context_of(force, positions)
    before = energy_and_forces(context, positions.shape)[0]
    for other in (case("lj7", hidden=(32,))[0], case("distances")[0]):
        with pytest.raises(ValueError, match="other features or another network"):
            force.update(context, FastImportance(other, num_dimensions))
    with torch.no_grad():
        model.network[0].bias[0] = float("nan")
    with pytest.raises(openmm.OpenMMException, match="not finite in single precision: train the network again"):
        force.update(context, FastImportance(model, num_dimensions))
    assert energy_and_forces(context, positions.shape)[0] == before
    stranger = context_of(openmm.CustomExternalForce("x"), positions)
    with pytest.raises(openmm.OpenMMException):
        force.update(stranger, FastImportance(case("lj7", seed=2)[0], num_dimensions))
    context.reinitialize(preserveState=True)  # the force has not changed either
    assert energy_and_forces(context, positions.shape)[0] == before


def test_xml_keeps_everything():
    for name in ("lj7", "mixed", "matrix"):
        model, positions, num_dimensions = case(name)
        with torch.no_grad():
            model.network[0].bias[:4] = torch.tensor([1e-45, -0.0, 3e38, 1 / 3])  # subnormal, large, with all digits
        force = CommittorForce(FastImportance(model, num_dimensions), N, SCALE / 3.0)
        force.setForceGroup(5)
        force.setName("bias & <more>")
        text = openmm.XmlSerializer.serialize(force)
        again = openmm.XmlSerializer.deserialize(text)
        assert openmm.XmlSerializer.serialize(again) == text
        assert (again.getForceGroup(), again.getName()) == (5, "bias & <more>")
        written = np.array(re.search('parameters="([^"]*)"', text).group(1).split(), dtype=np.float64)
        np.testing.assert_array_equal(written, parameters(FastImportance(model, num_dimensions)))
        model, positions, num_dimensions = case(name)
        force = CommittorForce(FastImportance(model, num_dimensions), N, SCALE)
        twin = openmm.XmlSerializer.clone(force)
        assert evaluate(force, positions)[0] == evaluate(twin, positions)[0]


def parameters(importance):
    layers = zip(importance.weights, importance.biases, strict=True)
    return np.concatenate([tensor.numpy().ravel() for layer in layers for tensor in layer])


@pytest.mark.parametrize(
    "pattern, replacement, complaint",
    [
        ('numWalkers="50"', 'numWalkers="0"', "at least one walker, not 0"),
        ('numWalkers="50"', 'numWalkers="51"', "51 walkers do not divide the 350 particles"),
        ('numDimensions="2"', 'numDimensions="4"', "number of dimensions must be 1, 2 or 3, not 4"),
        ('scale="-2"', 'scale="nan"', "the scale must be finite"),
        ('activation="0"', 'activation="3"', "there is no activation 3"),
        ('widths="45 64', 'widths="44 64', "has 11265 parameters, not 11329"),
        ('widths="45 64 64 64 1"', 'widths="2147483647 64 64 64 1"', "has 137438961857 parameters, not 11329"),
        ('widths="45 64 64 64 1"', 'widths="45"', "at least two widths"),
        ('widths="45 64 64 64 1"', 'widths="45 64 64 64 2"', "must be 1 wide, not 2"),
        ('widths="45 64 64 64 1"', 'widths="45 0 64 64 1"', "must be positive, not 0"),
        ('widths="45 64 64 64 1"', 'widths=""', "there is no network"),
        ('widths="45 64 64 64 1"', 'widths="45 64 x 64 1"', "'widths' is no list of finite numbers: it ends after 2"),
        ('parameters="[^ ]*', 'parameters="nan', "'parameters' is no list of finite numbers: it ends after 0"),
        ('parameters="[^ ]*', 'parameters="1e39', "parameter 0 of the network is not finite in single precision"),
        ('parameters="[^ ]* ', 'parameters="', "has 11329 parameters, not 11328"),
        ('inLogit="44"', 'inLogit="45"', "feature 45 of the logit does not exist: there are 45"),
        ('inLogit="44"', 'inLogit="-1"', "feature -1 of the logit is negative"),
        ('kind="2"', 'kind="0"', "the network takes 45 inputs, but there are 64 features"),
        ('kind="2"', 'kind="5"', "there is no feature of kind 5"),
        ('kind="1" radius="[^"]*"', 'kind="1" radius="0"', "radius of coordination numbers must be positive and finite"),
        ('kind="2" radius="[^"]*"', 'kind="2" radius="nan"', "radius of coordination numbers must be positive and finite"),
        (' [^ ]*"/>\n\t</Features>', '"/>\n\t</Features>', "takes 4 values"),
        (' [^ ]*"/>\n\t</Features>', ' 0"/>\n\t</Features>', "offset of a disc gap must be positive"),
        (' [^ ]*"/>\n\t</Features>', ' 1e40"/>\n\t</Features>', "values of a feature must be finite"),
        ('version="1"', 'version="2"', "Unsupported version number"),
    ],
)
def test_what_does_not_fit_is_refused_with_a_sentence(pattern, replacement, complaint):
    model, positions, num_dimensions = case("lj7")
    force = CommittorForce(FastImportance(model, num_dimensions), N, SCALE)
    with pytest.raises(openmm.OpenMMException, match=re.escape(complaint)):
        context_of(edited(force, pattern, replacement), positions)


@pytest.mark.parametrize(
    "pattern, replacement, complaint",
    [
        ('columns="0 1 3 4 6 7"', 'columns="0 1 3 4 6 9"', "the coordinate 9 does not exist: walkers of 3 particles have 9"),
        ('columns="0 1 3 4 6 7"', 'columns="0 1 3 4 6 -1"', "column -1 of the coordinates is negative"),
        ('columns="0 1 3 4 6 7"', 'columns="0 1 3 4"', "30 numbers, which is not a multiple of its 4 columns"),
        ('columns="0 1 3 4 6 7"', 'columns=""', "at least one column"),
    ],
)
def test_columns_that_do_not_fit_are_refused(pattern, replacement, complaint):
    model, positions, num_dimensions = case("matrix")
    force = CommittorForce(FastImportance(model, num_dimensions), N, SCALE)
    with pytest.raises(openmm.OpenMMException, match=re.escape(complaint)):
        context_of(edited(force, pattern, replacement), positions)


def test_arguments_of_another_type_are_refused():
    model, positions, num_dimensions = case("lj7")
    importance = FastImportance(model, num_dimensions)
    force = CommittorForce(importance, N, SCALE)
    context = context_of(force, positions)
    for stranger in (None, force, context.getIntegrator(), context.getSystem()):
        with pytest.raises(ValueError, match="context must be an openmm.Context, not"):
            force.update(stranger, importance)
    for call in (lambda: CommittorForce(model, N, SCALE), lambda: force.update(context, model)):
        with pytest.raises(ValueError, match="importance must be a FastImportance.*not CommittorModel"):
            call()
    with pytest.raises(ValueError, match="n_walkers = 50.5 must be a whole number"):
        CommittorForce(importance, 50.5, SCALE)


def test_unknown_descriptors_and_units_are_refused():
    atoms = {"kind": "dihedrals", "atoms": [[0, 1, 2, 3]]}
    for spec in (atoms, concatenate({"kind": "pair_distances"}, atoms)):
        importance = FastImportance(CommittorModel(spec, 4))
        assert not has_native_features(importance)
        with pytest.raises(
            ValueError, match="does not know the descriptor Dihedrals, only PairDistances, SortedDistances, Coordination"
        ):
            CommittorForce(importance, 1, SCALE)
    importance = FastImportance(CommittorModel({"kind": "pair_distances"}, 4))
    assert has_native_features(importance)
    with pytest.raises(ValueError, match="scale"):
        CommittorForce(importance, 1, 2.0 * openmm.unit.nanometer)
    with pytest.raises(openmm.OpenMMException, match="features of pairs need walkers of at least 2 particles"):
        context_of(CommittorForce(importance, 4, SCALE), np.zeros((1, 4, 3)))


def test_the_slow_variant_agrees(monkeypatch):
    model, positions, num_dimensions = case("lj7")
    importance = FastImportance(model, num_dimensions)
    monkeypatch.setenv("OPENMM_RARE_SIMD", "baseline")
    for n in (1, 7, N):
        result = evaluate(CommittorForce(importance, n, SCALE), positions[:n])
        assert max(differences(result, *exact(model, positions[:n], num_dimensions))) < 5e-6
    monkeypatch.setenv("OPENMM_RARE_SIMD", "sse9")
    with pytest.raises(openmm.OpenMMException, match="OPENMM_RARE_SIMD is sse9; this machine runs:.* baseline"):
        evaluate(CommittorForce(importance, N, SCALE), positions)
