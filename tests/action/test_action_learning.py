"""What is learned: linear fits, networks, all time steps with one network, values as labels, and the predictor beside them."""

import numpy as np
import pytest

from openmm_rare.action.checking.energy_course import course_of
from openmm_rare.action.checking.kinetics import NormalModes, PairModes
from openmm_rare.action.data import ActionData
from openmm_rare.action.direct import DirectPredictor, PairInputs, PlainInputs
from openmm_rare.action.features.pair_features import PairFeatures
from openmm_rare.action.features.pair_types import PairTypes
from openmm_rare.action.features.plain_features import PlainFeatures
from openmm_rare.action.linear_action import LinearAction
from openmm_rare.action.midpoint_map import MidpointMap, Step, verlet_steps
from openmm_rare.action.mlp import Training
from openmm_rare.action.model_file import load_action, save_action
from openmm_rare.action.network import ActionNetwork
from openmm_rare.action.phase_space import PhaseSpace
from openmm_rare.errors import InputError
from phase_models import canonical, centered_rows, chain, data_of, discs, hexagon, oscillator, plain_space
from stats import assert_within

KT = 0.15
DISCS = PhaseSpace(np.ones(7), np.zeros((7, 3)), 2)
ALIKE = PairTypes.of_colors([0] * 7, np.ones(7) > 0)


@pytest.fixture(scope="module")
def of_discs():
    options = {"hotter": 1.7, "rows": 700, "h": 0.02, "delta": 0.005, "strides": (8, 16), "steps": 30, "centered": True}
    return data_of(discs, DISCS, hexagon(), KT, **options)


@pytest.fixture(scope="module")
def of_oscillator():
    options = {"hotter": 2.0, "rows": 800, "h": 0.1, "delta": 0.05, "strides": (4, 6, 8, 10, 12), "steps": 20}
    return data_of(oscillator, plain_space(1), [0.0], 1.0, **options)


def direct_step(predictor, potential):
    def step(q, p, pull):
        a, b = predictor(q, p)
        return Step(a, b, potential(a), np.isfinite(a).all(axis=1), np.zeros(len(a)), 0)

    return step


def angular_momentum(q, p):
    x, v = q.reshape(-1, 7, 2), p.reshape(-1, 7, 2)
    return (x[..., 0] * v[..., 1] - x[..., 1] * v[..., 0]).sum(axis=1)


def test_momentum_and_angular_momentum_are_kept_whatever_the_coefficients(of_discs):
    features = PairFeatures.fitting(ALIKE, DISCS, of_discs.q, of_discs.p)
    fitted = LinearAction.fit(of_discs, 8, features, ridge=1e-8)
    scale = np.random.default_rng(0).normal(size=features.n_features)
    q, p = of_discs.q[:6], of_discs.p[:6]
    predictor = DirectPredictor.fit(of_discs, 8, PairInputs(features), how=Training(steps=60))
    for action, tolerance, exact in ((fitted, 1e-11, 1e-8), (wrong(fitted, scale), 1e-11, 1e-8), (None, None, None)):
        a, b, pull = q, p, discs(q)
        for _ in range(10):
            made = (MidpointMap(action, discs, tolerance, 40).require if action else direct_step(predictor, discs))(a, b, pull)
            a, b, pull = made.q, made.p, made.pull
        drift = np.abs((b - p).reshape(-1, 7, 2).sum(axis=1)).max()
        turned = np.abs(angular_momentum(a, b) - angular_momentum(q, p)).max()
        assert drift < 1e-10  # of the predictor, too, whose forces are of pairs
        assert turned < exact if action else turned > 1e-3  # negative control: no angular momentum is kept there


def wrong(action, scale):
    return LinearAction(action.features, action.coefficients * (1.0 + 0.2 * scale), action.timestep, "verlet", action.frequency)


def test_linear_action_of_discs(of_discs):
    features = PairFeatures.fitting(ALIKE, DISCS, of_discs.q, of_discs.p)
    own = {stride: LinearAction.fit(of_discs, stride, features, ridge=1e-8).report for stride in (8, 16)}
    assert own[8].own < 0.02 and own[16].own < 0.06, own  # measured 0.004 and 0.021 from 860 samples
    assert own[8].value < 0.02  # of a label that it has not been told
    coarse = PairFeatures.fitting(ALIKE, DISCS, of_discs.q, of_discs.p, basis="polynomial", orders=(3, 2, 0))
    assert LinearAction.fit(of_discs, 8, coarse).report.own > 0.3  # negative control: a basis that cannot hold the wall


def test_energy_of_discs_with_long_steps(of_discs):
    features = PairFeatures.fitting(ALIKE, DISCS, of_discs.q, of_discs.p)
    action, h = LinearAction.fit(of_discs, 8, features, ridge=1e-8), 8 * of_discs.timestep
    q, p = canonical(discs, hexagon(), KT, 12, 0.02, 30, 9)
    start = centered_rows(q), centered_rows(p)
    options = {"timestep": h, "steps": 250, "kt": KT, "kinetics": PairModes(features)}
    steppers = {
        "action": MidpointMap(action, discs, 1e-6, 20).step,
        "verlet": lambda q, p, pull: verlet_steps(discs, q, p, h, 1, pull),
        "fine": lambda q, p, pull: verlet_steps(discs, q, p, of_discs.timestep, 8, pull),
    }
    found = {name: course_of(step, discs, *(each.copy() for each in start), **options) for name, step in steppers.items()}
    assert found["action"].rms < 0.01 and found["verlet"].rms > 0.05
    assert abs(found["action"].drift) < 3 * found["action"].drift_stderr + 1e-3 and found["action"].lost == 0
    for name, value in found["fine"].temperatures.items():
        assert abs(found["action"].temperatures[name] - value) < 0.1
    assert found["action"].evaluations < 8 and found["fine"].evaluations == 0


def test_two_particles_rotate_about_two_axes():
    space = PhaseSpace(np.array([1.0, 3.0]), np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]]), 3)
    rng = np.random.default_rng(1)
    q = space.rows(space.reference + 0.1 * rng.standard_normal((2000, 2, 3)))
    p = np.sqrt(KT) * rng.standard_normal(q.shape)
    types = PairTypes.of_colors([0, 1], np.array([True, True]))
    kinetics = PairModes(PairFeatures.fitting(types, space, q, p))
    rotation = kinetics(q, p)[:, kinetics.names.index("rotation")]
    assert_within(rotation.mean(), KT, rotation.std() / np.sqrt(len(q)))
    with pytest.raises(AssertionError):
        assert_within(2.0 / 3.0 * rotation.mean(), KT, rotation.std() / np.sqrt(len(q)))


def test_constant_features_are_dropped(of_oscillator):
    class WithConstant(PlainFeatures):
        def values(self, q, p):
            return np.concatenate([super().values(q, p), np.ones((len(q), 1))], axis=1)

        def jacobian(self, q, p):
            return np.concatenate([super().jacobian(q, p), np.zeros((len(q), 1, 2))], axis=1)

    features = WithConstant(np.ones((2, 1)), (6, 4))
    features.n_features += 1
    made = LinearAction.fit(of_oscillator, 8, features)
    assert made.coefficients[-1] == 0.0 and made.report.dropped == 1 and np.abs(made.coefficients).max() < 1e3


def test_values_help_where_samples_are_few(of_oscillator):
    features = PlainFeatures.fitting(of_oscillator.q, of_oscillator.p, (8, 6, 4))
    labels, few = of_oscillator.labels(12), take(of_oscillator, np.arange(0, 800, 50))
    errors = []
    for data, weight in ((few, 0.0), (few, 1.0), (of_oscillator, 0.0), (of_oscillator, 1.0)):
        action = LinearAction.fit(data, 12, features, value_weight=weight)
        errors.append(labels.error(*action.gradient(labels.q, labels.p), action.frequency))
    assert errors[1] < 0.6 * errors[0], errors
    assert errors[3] == pytest.approx(errors[2], rel=0.3)  # where there are many, gradients say it all


def take(data, rows):
    """Some of the samples."""
    own = {name: getattr(data, name)[rows] for name in ("q", "p", "force", "energy")}
    own |= {name: getattr(data, name)[:, rows] for name in ("q_next", "p_next", "force_next", "energy_next", "action")}
    return ActionData(**{**{name: getattr(data, name) for name in data.__dataclass_fields__}, **own})


def test_one_network_for_all_time_steps(of_oscillator, tmp_path):
    features = PlainFeatures.fitting(of_oscillator.q, of_oscillator.p, (1, 0))
    how = Training(steps=1200, batch=96, learning_rate=1e-2)
    made = ActionNetwork.fit(of_oscillator, (4, 8, 12), features, how=how, value_weight=0.1)
    for stride in (4, 6, 8, 10, 12):  # 6 and 10 it has never seen
        labels, action = of_oscillator.labels(stride), made.at(stride * 0.05)
        assert labels.error(*action.gradient(labels.q, labels.p), action.frequency) < 0.2, stride
    with pytest.raises(InputError, match="must be between 0.2 and 0.6 ps"):
        made.at(1.0)
    save_action(tmp_path / "network.npz", made, plain_space(1), "abc")
    again, _, system = load_action(tmp_path / "network.npz")
    q, p = of_oscillator.q[:5], of_oscillator.p[:5]
    np.testing.assert_array_equal(again.gradient(q, p), made.gradient(q, p))
    np.testing.assert_array_equal(again.value(q, p), made.value(q, p))
    assert system == "abc"


def test_a_network_learns_what_a_linear_action_leaves(of_oscillator, tmp_path):
    features = PlainFeatures.fitting(of_oscillator.q, of_oscillator.p, (2, 1))
    base = LinearAction.fit(of_oscillator, 8, features)
    both = ActionNetwork.fit(of_oscillator, 8, features, base=base, how=Training(steps=400, learning_rate=1e-2))
    assert both.report.own < 0.5 * base.report.own, (both.report, base.report)
    save_action(tmp_path / "both.npz", both, plain_space(1))
    again, _, _ = load_action(tmp_path / "both.npz")
    q, p = of_oscillator.q[:5], of_oscillator.p[:5]
    np.testing.assert_array_equal(again.gradient(q, p), both.gradient(q, p))
    shifts = [(both.value(q + sign * 1e-5, p)) for sign in (1, -1)]
    np.testing.assert_allclose((shifts[0] - shifts[1]) / 2e-5, both.gradient(q, p)[0][:, 0], rtol=1e-5, atol=1e-9)
    with pytest.raises(InputError, match="the same features, kernel and time step"):
        ActionNetwork.fit(of_oscillator, 12, features, base=base)


def test_files_that_hold_no_action_are_refused(of_oscillator, tmp_path):
    of_oscillator.save(tmp_path / "data.npz")
    with pytest.raises(InputError, match="holds no learned action: train it again with openmm-rare action train"):
        load_action(tmp_path / "data.npz")
    action = LinearAction.fit(of_oscillator, 8, PlainFeatures.fitting(of_oscillator.q, of_oscillator.p))
    save_action(tmp_path / "action.npz", action, plain_space(1))
    with pytest.raises(InputError, match="holds no training data of an action"):
        ActionData.load(tmp_path / "action.npz")
    content = bytearray((tmp_path / "action.npz").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "action.npz").write_bytes(content)
    with pytest.raises(InputError, match="damaged"):
        load_action(tmp_path / "action.npz")
    with pytest.raises(InputError, match="stride = 7 is not in the data; there are 4, 6, 8, 10, 12"):
        LinearAction.fit(of_oscillator, 7, action.features)
    with pytest.raises(InputError, match="kernel = 'leapfrog'"):
        LinearAction.fit(of_oscillator, 8, action.features, kernel="leapfrog")


@pytest.mark.slow
def test_a_direct_predictor_loses_energy_and_equipartition_where_an_action_does_not():
    """The chain of Fermi, Pasta, Ulam and Tsingou, steps of 8 fine ones."""
    reference, masses = np.zeros((10, 3)), np.array([0.0, *[1.0] * 8, 0.0])
    reference[:, 0] = 6.0 * np.arange(10)
    space = PhaseSpace(masses, reference, 1)
    rest = space.rows(reference[None])[0]
    types = PairTypes(np.zeros(10, dtype=int), np.array([(i, i + 1) for i in range(9)]), np.zeros(9, dtype=int))

    def potential(q):
        return chain(q - rest)

    data = data_of(potential, space, rest, 1.0, hotter=1.8, rows=3000, h=0.1, delta=0.05, strides=(8,))
    features = PairFeatures.fitting(types, space, data.q, data.p, basis="polynomial", orders=(6, 5, 4))
    action = LinearAction.fit(data, 8, features)
    predictor = DirectPredictor.fit(data, 8, PlainInputs(data), width=128, how=Training(steps=2000, batch=96))
    q, p = canonical(potential, rest, 1.0, 64, 0.1, 40, 9)
    options = {"timestep": 0.4, "steps": 200, "kt": 1.0, "kinetics": NormalModes(space, potential)}
    steppers = {
        "action": MidpointMap(action, potential, 1e-6, 20).step,
        "direct": direct_step(predictor, potential),
        "fine": lambda q, p, pull: verlet_steps(potential, q, p, 0.05, 8, pull),
    }
    found = {name: course_of(step, potential, q.copy(), p.copy(), **options) for name, step in steppers.items()}
    direct = found["direct"]
    cooling = [direct.temperatures[name] - value for name, value in found["fine"].temperatures.items()]
    assert abs(direct.drift) > max(0.01, 3 * direct.drift_stderr) and direct.rms > 1.0, direct
    assert np.mean(cooling) < -0.1, direct.temperatures
    assert abs(found["action"].drift) < 1e-3 and found["action"].rms < 0.02 and found["action"].lost == 0
    for name, value in found["fine"].temperatures.items():
        both = np.hypot(found["fine"].stderrs[name], found["action"].stderrs[name])
        assert abs(found["action"].temperatures[name] - value) < 3 * both
