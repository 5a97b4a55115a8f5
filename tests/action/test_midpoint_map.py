"""The map of a learned action: signs, exact harmonic steps, solvers that say what they have not solved, leading term."""

import numpy as np
import pytest

from openmm_rare.action.checking.structure import contraction, irreversibility, lack_of_symplecticity
from openmm_rare.action.data import ActionData
from openmm_rare.action.features.plain_features import PlainFeatures
from openmm_rare.action.linear_action import LinearAction
from openmm_rare.action.midpoint_map import MidpointMap, verlet_steps
from openmm_rare.action.solver import solve
from openmm_rare.errors import DynamicsError, InputError
from phase_models import harmonic, oscillator, plain_space


class Harmonic:
    """The exact action of q^2/2 for a time step h of the midpoint map, less the free flight that the kernel has."""

    kernel, frequency = "midpoint", 1.0

    def __init__(self, h):
        self.timestep, self.scale = h, np.tan(h / 2)

    def gradient(self, q, p):
        return 2 * self.scale * q, 2 * self.scale * p - self.timestep * p


class Scrambled:
    """Random waves, even in the momenta unless `phase` shifts them."""

    frequency, timestep = 1.0, 0.4

    def __init__(self, kernel, phase=0.0, n=1, size=0.1):
        rng = np.random.default_rng(0)
        self.kernel, self.phase = kernel, phase
        self.a, (self.u, self.v) = size * rng.normal(size=6), rng.normal(size=(2, n, 6))

    def gradient(self, q, p):
        x, y = q @ self.u + 1.0, p @ self.v + self.phase
        by_q = (self.a * np.cos(x) * np.cos(y)) @ self.u.T
        return self.timestep * by_q, -self.timestep * (self.a * np.sin(x) * np.sin(y)) @ self.v.T


def of_map(mapping):
    def step(q, p):
        made = mapping.require(q, p)
        return made.q, made.p

    return step


@pytest.mark.parametrize("kernel", ["midpoint", "verlet"])
def test_the_value_of_the_action_has_its_differences_as_gradient(kernel):
    """No solve, no fit: neighbours of a pair say what the gradient of the value is."""
    z, shift, delta, stride = np.random.default_rng(1).normal(size=(6, 2)), 1e-5, 0.05, 16

    def labels(z):
        made = ActionData.of_stretches(
            oscillator, plain_space(1), z[:, :1], z[:, 1:], timestep=delta, strides=[stride], temperature=1.0
        ).labels(stride, kernel)
        # of the whole S, free flight included
        free = 0.5 * stride * delta * (made.p[:, 0] ** 2) if kernel == "midpoint" else 0.0
        flight = stride * delta * made.p if kernel == "midpoint" else 0.0
        return np.concatenate([made.q, made.p], 1), made.value + free, made.dq + flight, made.dp

    _, _, dq, dp = labels(z)
    ends = [[labels(z + sign * shift * np.eye(2)[k]) for sign in (1, -1)] for k in range(2)]
    middle = np.stack([(a[0] - b[0]) / (2 * shift) for a, b in ends], axis=2)
    slope = np.stack([(a[1] - b[1]) / (2 * shift) for a, b in ends], axis=1)
    by_q, by_p = np.linalg.solve(middle.swapaxes(1, 2), slope[:, :, None])[:, :, 0].T
    np.testing.assert_allclose(by_p, dq[:, 0], atol=1e-8)
    np.testing.assert_allclose(-by_q, dp[:, 0], atol=1e-8)
    assert np.abs(by_q - dp[:, 0]).max() > 0.1  # negative control: the other sign


@pytest.mark.parametrize("h", [0.5, 1.0, 2.0, 3.0])
def test_a_harmonic_step_is_a_rotation(h):
    q, p = np.array([[1.0], [-0.4]]), np.array([[0.3], [2.0]])
    for method in ("anderson", "newton"):
        made = MidpointMap(Harmonic(h), harmonic, 1e-12, 20, method).require(q, p)
        np.testing.assert_allclose(made.q, q * np.cos(h) + p * np.sin(h), atol=1e-11)
        np.testing.assert_allclose(made.p, p * np.cos(h) - q * np.sin(h), atol=1e-11)
        assert made.evaluations <= 6
    np.testing.assert_allclose(contraction(Harmonic(h), q, p), np.tan(h / 2), rtol=1e-6)


def test_plain_iteration_ends_at_a_quarter_of_the_period_and_says_so():
    q, p = np.array([[1.0]]), np.array([[0.3]])
    slow = MidpointMap(Harmonic(1.4), harmonic, 1e-12, 200, "plain").step(q, p)
    assert slow.solved.all() and 100 < slow.evaluations < 200
    lost = MidpointMap(Harmonic(1.6), harmonic, 1e-12, 200, "plain")
    made = lost.step(q, p)
    assert not made.solved.any() and np.isnan(made.q).all() and np.isnan(made.p).all()
    with pytest.raises(DynamicsError, match="were not solved in 200 evaluations"):
        lost.require(q, p)


def test_rows_are_solved_or_not_each_for_itself():
    def function(z, rows):
        return np.where(rows[:, None] == 1, 3.0 * z + 1.0, np.where(rows[:, None] == 2, np.nan, 0.5 * z + 1.0))

    for method in ("plain", "anderson"):
        found = solve(function, np.zeros((4, 2)), 1e-10, 60, method)
        assert found.solved.tolist() == [True, method == "anderson", False, True]  # anderson solves what plain cannot
        np.testing.assert_allclose(found.z[[0, 3]], 2.0)
        assert np.isnan(found.z[~found.solved]).all() and (found.residual[found.solved] < 1e-10).all()
    with pytest.raises(InputError, match="method = 'guess' must be one of anderson, plain, newton"):
        solve(function, np.zeros((1, 2)), 1e-10, 9, "guess")


@pytest.mark.parametrize("kernel", ["midpoint", "verlet"])
@pytest.mark.parametrize("n", [1, 3])
def test_any_even_action_is_symplectic_and_reversible(kernel, n):
    rng = np.random.default_rng(3)
    q, p = 0.7 * rng.normal(size=(2, 8, n))
    for phase in (0.0, 1.0):
        step = of_map(MidpointMap(Scrambled(kernel, phase, n), oscillator, 1e-10, 60))
        assert lack_of_symplecticity(step, q[0], p[0]) < 1e-7
        back = np.median(irreversibility(step, q, p, 6))
        assert back > 1e-3 if phase else back < 1e-7  # negative control: an action that is not even


def test_nothing_learned_is_velocity_verlet():
    rng = np.random.default_rng(4)
    q, p = rng.normal(size=(5, 2)), rng.normal(size=(5, 2))
    nothing = Scrambled("verlet", n=2, size=0.0)
    made, plain = MidpointMap(nothing, oscillator).require(q, p), verlet_steps(oscillator, q, p, 0.4)
    np.testing.assert_allclose(made.q, plain.q, atol=1e-14)
    np.testing.assert_allclose(made.p, plain.p, atol=1e-14)
    assert made.evaluations == 1


def test_leading_term_of_the_sandwich_is_the_shadow_of_verlet():
    """S = h^3 (-p U'' p / 12 + |dU|^2 / 24): here 1/12 of p^2, 1/4 of q^2 p^2, 1/24 of q^2, 1/12 of q^4 and 1/24 of q^6."""
    rng, h = np.random.default_rng(5), 0.04
    data = ActionData.of_stretches(
        oscillator,
        plain_space(1),
        rng.normal(size=(300, 1)),
        rng.normal(size=(300, 1)),
        timestep=h / 64,
        strides=[64],
        temperature=1.0,
    )
    features = PlainFeatures(np.ones((2, 1)), (6, 2))
    found = LinearAction.fit(data, 64, features, ridge=1e-14)
    fitted = {tuple(power): c / h**2 for power, c in zip(features._powers.tolist(), found.coefficients, strict=True)}
    expected = {(0, 2): -1 / 12, (2, 2): -3 / 12, (2, 0): 1 / 24, (4, 0): 2 / 24, (6, 0): 1 / 24}
    for power, coefficient in expected.items():
        assert fitted[power] == pytest.approx(coefficient, rel=0.02), power
    assert found.report.own < 5e-3 and max(abs(c) for power, c in fitted.items() if power not in expected) < 2e-3
