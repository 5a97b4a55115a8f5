"""Features: derivatives in closed form, what they do not change under, types of particles and pairs."""

import numpy as np
import openmm
import pytest

from openmm_rare.action.features.pair_features import PairFeatures
from openmm_rare.action.features.pair_types import PairTypes
from openmm_rare.action.features.plain_features import PlainFeatures
from openmm_rare.action.phase_space import PhaseSpace
from openmm_rare.errors import InputError

MASSES = np.array([1.0, 1.0, 2.0, 2.0, 0.0, 1.5])


def pair_features(dim=3, basis="polynomial", fixed=True):
    space = PhaseSpace(MASSES if fixed else MASSES + (MASSES == 0.0), np.random.default_rng(1).normal(size=(6, 3)) * 2, dim)
    types = PairTypes.of_colors([0, 0, 1, 1, 2, 0], space.masses > 0)
    return PairFeatures(space, types, *np.array([[0.9], [3.0], [0.7]]) * np.ones(types.n_types), basis, (4, 3, 2))


def rows(n, seed=2):
    return np.random.default_rng(seed).normal(size=(2, 4, n))


@pytest.mark.parametrize("dim", [1, 2, 3])
@pytest.mark.parametrize("basis", ["polynomial", "gaussian"])
def test_derivatives_of_pair_features_are_those_of_finite_differences(dim, basis):
    features = pair_features(dim, basis)
    require_derivatives(features, *rows(features.space.n))


def test_derivatives_of_plain_features_are_those_of_finite_differences(monkeypatch):
    features = PlainFeatures(1.3 * np.ones((2, 3)), (4, 2))
    require_derivatives(features, *rows(3))
    jacobian = features.jacobian
    monkeypatch.setattr(features, "jacobian", lambda q, p: jacobian(q, p) * (1.0 + 1e-4))
    with pytest.raises(AssertionError):  # negative control
        require_derivatives(features, *rows(3))


def require_derivatives(features, q, p, shift=1e-6):
    n, jacobian = q.shape[1], features.jacobian(q, p)
    moves = shift * np.eye(n)
    by_q = [(features.values(q + move, p) - features.values(q - move, p)) / (2 * shift) for move in moves]
    by_p = [(features.values(q, p + move) - features.values(q, p - move)) / (2 * shift) for move in moves]
    np.testing.assert_allclose(jacobian, np.stack(by_q + by_p, axis=2), atol=1e-8 * np.abs(jacobian).max())
    rng = np.random.default_rng(3)
    for weights in (rng.normal(size=features.n_features), rng.normal(size=(len(q), features.n_features))):
        pulled = np.concatenate(features.pullback(q, p, weights), axis=1)
        whole = np.einsum("bk,bkz->bz", np.broadcast_to(weights, jacobian.shape[:2]), jacobian)
        np.testing.assert_allclose(pulled, whole, atol=1e-12 * np.abs(whole).max())


def test_pair_features_are_invariant_and_even():
    features = pair_features(fixed=False)
    q, p = rows(features.space.n)
    x, v = features.space.positions(q), features.space.velocities(p)
    turn = np.linalg.qr(np.random.default_rng(4).normal(size=(3, 3)))[0]  # a reflection, too, for half of all seeds
    exchanged = [1, 5, 3, 2, 4, 0]
    values = features.values(q, p)
    same = {
        "moved": (x + [1.0, 2.0, 3.0], v),
        "Galilei": (x, v + [0.5, 0.0, -2.0]),
        "turned": (x @ turn, v @ turn),
        "mirrored": (-x, -v),
        "backward": (x, -v),
    }
    for name, (a, b) in same.items():
        made = features.values(features.space.rows(a), features.space.rows(b))
        np.testing.assert_allclose(made, values, rtol=1e-9, atol=1e-9 * np.abs(values).max(), err_msg=name)
    space = PhaseSpace(np.ones(6), features.space.reference)
    alike = PairFeatures(space, PairTypes.of_colors([0] * 6, np.ones(6) > 0), [0.9], [3.0], [0.7], "gaussian", (4, 3, 2))
    made = [alike.values(space.rows(x[:, order]), space.rows(v[:, order])) for order in (range(6), exchanged)]
    np.testing.assert_allclose(made[0], made[1], rtol=1e-9)
    squeezed = features.values(features.space.rows(1.01 * x), features.space.rows(v))
    assert np.abs(squeezed - values).max() > 1e-3 * np.abs(values).max()  # negative control


def ethane():
    system = openmm.System()
    for mass in (12.0, 12.0, *[1.0] * 6):
        system.addParticle(mass)
    bonds = openmm.HarmonicBondForce()
    for i, j in [(0, 1), *((0, k) for k in (2, 3, 4)), *((1, k) for k in (5, 6, 7))]:
        bonds.addBond(i, j, 0.1, 1000.0)
    system.addForce(bonds)
    return system


def test_types_of_pairs_follow_from_masses_bonds_and_parameters():
    types = PairTypes.of_system(ethane())
    assert types.of_atom.tolist() == [0, 0, 1, 1, 1, 1, 1, 1] and types.n_types == 5
    assert np.bincount(types.of_pair).tolist() == [1, 6, 6, 6, 9]  # CC, CH, C..H, H..H of one carbon, H...H
    charged = ethane()
    force = openmm.NonbondedForce()
    for k in range(8):
        force.addParticle(0.1 * (k == 7), 0.3, 0.1)
    charged.addForce(force)
    types = PairTypes.of_system(charged)
    assert types.of_atom[7] not in types.of_atom[:7] and types.of_atom[0] != types.of_atom[1]


def test_systems_that_pairs_do_not_describe_are_refused():
    alone, many = openmm.System(), openmm.System()
    alone.addParticle(1.0)
    for _ in range(61):
        many.addParticle(1.0)
    with pytest.raises(InputError, match="a single particle has no pairs"):
        PairTypes.of_system(alone)
    with pytest.raises(InputError, match="61 particles; features of all pairs are for 60 at most"):
        PairTypes.of_system(many)
    with pytest.raises(InputError, match="basis = 'splines' must be one of polynomial, gaussian"):
        pair_features(basis="splines")
    with pytest.raises(InputError, match="degrees"):
        PlainFeatures(np.ones((2, 1)), (3,))
