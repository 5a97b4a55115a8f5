"""Where paths pass the transition region: chains that agree are left alone, and those that share or divide ways are told."""

from dataclasses import replace

import numpy as np
import openmm
import pytest

from openmm_rare import Dihedral, Range, RareEventSystem
from openmm_rare.descriptors.build import build_descriptor
from openmm_rare.paths.inputs import PathInputs
from openmm_rare.paths.mirror_images import is_its_mirror_image, mirrored
from openmm_rare.paths.separation import independent, separation
from openmm_rare.paths.ways import Ways
from openmm_rare.systems import build

ACCEPTED = 0.35  # of the trials


def ways(rng, n_trials, n_chains, memory, n_inputs=3, first=6, shift=lambda chain, n: np.zeros(n)):
    """Chains whose accepted paths pass at normal places, each correlated with the one before; the first input is shifted."""
    n = int(ACCEPTED * n_trials)
    values = np.empty((n_chains, n, n_inputs))
    for chain in values:
        chain[0] = rng.normal(size=n_inputs)
        for step in range(1, n):
            chain[step] = memory * chain[step - 1] + np.sqrt(1.0 - memory**2) * rng.normal(size=n_inputs)
    for number, chain in enumerate(values):
        chain[:, 0] += shift(number, n)
    weights = rng.geometric(ACCEPTED, n_chains * n).astype(float)
    names = tuple(f"input {i}" for i in range(n_inputs))
    return Ways(
        names, values.reshape(-1, n_inputs), weights, np.repeat(np.arange(n_chains), n), rng.normal(size=(first, n_inputs))
    )


def told(*arguments, **options):
    return list(ways(*arguments, **options).warnings())


@pytest.mark.parametrize("n_inputs", [3, 42])
def test_chains_that_mix_are_left_alone(n_inputs):
    """At most one or two in a hundred, however chains are correlated."""
    rng, repeats = np.random.default_rng(1), 90 if n_inputs == 3 else 16
    alarms = [
        bool(told(rng, n_trials, n_chains, memory, n_inputs))
        for _ in range(repeats // 2)
        for n_trials, n_chains in ((100, 2), (400, 1), (300, 2), (150, 4))
        for memory in (0.0, 0.7)
    ]
    assert np.mean(alarms) <= 0.02


def apart(distance):
    return lambda chain, n: np.full(n, distance * chain)


@pytest.mark.parametrize(("n_trials", "memory"), [(100, 0.0), (100, 0.6), (400, 0.8)])
def test_chains_on_different_ways_are_told(n_trials, memory):
    rng = np.random.default_rng(2)
    for _ in range(15):
        (sentence,) = told(rng, n_trials, 2, memory, 20, shift=apart(8.0))
        assert "The chains disagree about where paths pass the transition region: input 0 there is" in sentence
        assert "in chain 0" in sentence and "in chain 1" in sentence and "--method points" in sentence


def test_shares_that_differ_are_told_and_those_that_agree_are_not():
    """Both chains change ways now and then; in one of them most paths take one way."""

    def changing(*shares):
        return lambda chain, n: 8.0 * (np.random.default_rng(chain).random(n) < shares[chain])

    rng = np.random.default_rng(3)
    assert "The chains disagree" in told(rng, 400, 2, 0.3, shift=changing(0.1, 0.9))[0]
    assert not told(rng, 400, 2, 0.3, first=0, shift=changing(0.4, 0.4))


def test_a_chain_that_changes_ways_once_is_told():
    made = ways(np.random.default_rng(4), 400, 1, 0.5, first=0, shift=lambda chain, n: 8.0 * (np.arange(n) >= n // 2))
    late = list(replace(made, weights=np.ones(140)).warnings())
    assert "Early and late paths pass the transition region at different places: the median of input 0" in late[0]


@pytest.mark.parametrize(("visits", "words"), [(0, "where the chain never went: input 0 is"), (1, "came once only"), (8, None)])
def test_a_first_path_by_a_way_of_its_own_is_told_unless_the_chain_goes_there(visits, words):
    def visiting(chain, n):
        return 9.0 * np.isin(np.arange(n) // 3, 2 * np.arange(visits) + 1)  # three paths each time

    rng = np.random.default_rng(5)
    for _ in range(10):
        made = ways(rng, 400, 1, 0.4, shift=visiting)
        made.first[2:4, 0] = 8.5, 9.0
        sentences = list(made.warnings())
        if words is None:
            assert not any("First paths pass" in each for each in sentences)
        else:
            assert any("First paths pass" in each and words in each for each in sentences), sentences


def test_channels_of_the_states_are_compared():
    """One of two channels that no chain took, told by a first path; and chains that each took another."""
    rng = np.random.default_rng(6)
    chains, weights = np.repeat([0, 1], 50), np.ones(100)

    def labelled(labels, first):
        columns = [np.c_[rng.normal(size=len(each)), each == 0, each == 1] for each in map(np.array, (labels, first))]
        return list(Ways(("y", "channel left", "channel right"), columns[0], weights, chains, columns[1], 2).warnings())

    assert "never went: channel right is 1" in labelled(np.zeros(100), [0, 1])[0]
    assert not labelled(np.zeros(100), [0, 0])
    assert "channel left there is 1 in chain 0, 0 in chain 1" in labelled(chains, [0])[0]
    assert not labelled(rng.integers(0, 2, 100), [0, 1])


def test_weights_count_as_so_many_steps():
    """What weighs nothing separates nothing."""
    made = ways(np.random.default_rng(7), 400, 2, 0.3, shift=apart(8.0))
    silent = np.where((made.chains == 1), 0.0, made.weights)
    assert separation(made.values, made.weights, made.chains) is not None
    assert separation(made.values, silent, made.chains) is None


def test_independent_values_are_rather_too_few():
    rng = np.random.default_rng(8)
    for memory in (0.0, 0.5, 0.9):
        made = [ways(rng, 1000, 2, memory, 1) for _ in range(10)]
        counts = [independent(each.values[:, 0], np.ones(700), each.chains) for each in made]
        truth = 700 * (1.0 - memory) / (1.0 + memory)
        assert 0.15 * truth < np.mean(counts) < 1.05 * truth


def test_rounding_of_rigid_bonds_is_no_difference():
    rng, chains = np.random.default_rng(9), np.repeat([0, 1], 60)
    values = (0.1 + 1e-8 * rng.normal(size=120) + 1e-7 * chains)[:, None]
    assert separation(values, np.ones(120), chains) is None
    assert separation(1e4 * (values - 0.1), np.ones(120), chains) is not None  # negative control


def test_turned_methyl_groups_are_no_different_ways():
    system = build("alanine_dipeptide", solvent="none")
    descriptor = build_descriptor(system.descriptor_spec(), len(system.positions))
    names = PathInputs(system, descriptor).names
    assert {"phi", "psi", "input sin psi ALA2", "input r ACE1:C-ALA2:N"} <= set(names)
    turning = [name for name in descriptor.names if "HH3" in name and name.startswith(("sin", "cos"))]
    assert turning and not {f"input {name}" for name in turning} & set(names)


def test_angles_are_compared_around_their_mean():
    system = build("alanine_dipeptide", solvent="none")
    inputs = PathInputs(system, build_descriptor(system.descriptor_spec(), len(system.positions)))
    values = np.zeros((4, len(inputs.names)))
    values[:, 1] = np.radians([175.0, -175.0, 178.0, -178.0])
    assert np.ptp(inputs.unwrapped(values)[:, 1]) == pytest.approx(np.radians(10.0))
    assert inputs.text(1, inputs.unwrapped(values)[0, 1] + 2.0 * np.pi) == "175 deg"


def test_mirror_images_are_no_different_ways():
    """Four atoms in a row turn to +60 or -60 degrees; a molecule with a hand, or states with one, is another in a mirror."""
    positions = np.array([[0.1, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.15, 0.0], [-0.09, 0.15, -0.035]])
    system = chain_of_four(positions)
    inputs = PathInputs(system, build_descriptor(system.descriptor_spec(), 4))
    one, other = inputs(np.array([positions, mirrored(positions)]))
    np.testing.assert_allclose(one, other, atol=1e-6)
    assert one[0] == pytest.approx(abs(system.states.variables(positions[None])[0, 0]))
    handed = chain_of_four(positions, a=(2.6, 3.1))
    one, other = PathInputs(handed, build_descriptor(system.descriptor_spec(), 4))(np.array([positions, mirrored(positions)]))
    assert one[0] == pytest.approx(-other[0])
    assert not is_its_mirror_image(chain_of_four(positions, phase=0.5)) and is_its_mirror_image(system)
    assert not is_its_mirror_image(build("alanine_dipeptide", solvent="none"))


def chain_of_four(positions, a=(2.6, -2.6), phase=0.0):
    system = openmm.System()
    bonds, torsion = openmm.HarmonicBondForce(), openmm.PeriodicTorsionForce()
    for number in range(4):
        system.addParticle(12.0)
        if number:
            bonds.addBond(number - 1, number, 0.15, 1e4)
    torsion.addTorsion(0, 1, 2, 3, 3, phase, 8.0)
    system.addForce(bonds)
    system.addForce(torsion)
    regions = Range({"phi": a}), Range({"phi": (-1.2, 1.2)})
    options = {"temperature": 300, "friction": 10, "timestep": 0.002}
    return RareEventSystem.from_openmm(system, positions, *regions, [Dihedral("phi", (0, 1, 2, 3))], **options)
