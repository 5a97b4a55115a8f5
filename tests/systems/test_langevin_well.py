"""The yardstick with momenta: the Klein-Kramers equation against limits that are known, and against the chain itself."""

import numpy as np
import openmm
import pytest
from scipy.integrate import quad

from openmm_rare.systems import build, langevin_well
from openmm_rare.systems.klein_kramers import solve
from stats import assert_within

EDGES = (-langevin_well.EDGE, langevin_well.EDGE)


def well(barrier, friction, **grid):
    fields = (lambda x: langevin_well.energy(x, barrier), lambda x: langevin_well.force(x, barrier))
    return solve(*fields, EDGES, 1.0, 1.0, friction, **grid)


def overdamped_rate(barrier, friction):
    """By quadrature, kT = m = 1."""
    resistance = quad(lambda x: np.exp(langevin_well.energy(x, barrier)), *EDGES)[0]
    in_one_well = quad(lambda x: np.exp(-langevin_well.energy(x, barrier)), -3.0, 0.0)[0]
    return 1.0 / (friction * resistance * in_one_well)


def chain(barrier, friction, timestep, n_steps, n_walkers=4000, seed=1):
    """Rate of BAOAB with tests at every step, over both directions, and its standard error over walkers; kT = m = 1."""
    random = np.random.default_rng(seed)
    kept = np.exp(-friction * timestep)
    x, v = random.choice([-1.0, 1.0], n_walkers) + 0.1 * random.normal(size=n_walkers), random.normal(size=n_walkers)
    last_in_a, count, half = x < 0, np.zeros(n_walkers), 0.5 * timestep
    for step in range(-500, n_steps):
        v += half * langevin_well.force(x, barrier)
        x += half * v
        v = kept * v + np.sqrt(1.0 - kept**2) * random.normal(size=n_walkers)
        x += half * v
        v += half * langevin_well.force(x, barrier)
        in_a = np.where(x <= EDGES[0], True, np.where(x >= EDGES[1], False, last_in_a))
        count += (in_a != last_in_a) & (step >= 0)
        last_in_a = in_a
    rates = count / (n_steps * timestep)
    return rates.mean(), rates.std(ddof=1) / np.sqrt(n_walkers)


def test_the_rate_has_the_limit_of_overdamped_dynamics():
    errors = [well(5.0, friction).rate_per_ps / overdamped_rate(5.0, friction) - 1 for friction in (25.0, 50.0)]
    assert errors[1] == pytest.approx(0.0, abs=0.01)
    assert 3.0 < errors[0] / errors[1] < 5.0  # of second order in 1/friction


@pytest.mark.parametrize("friction", [5.0, 20.0])
def test_the_rate_of_the_chain_is_the_exact_one(friction):
    rate, error = chain(5.0, friction, langevin_well.TIMESTEP, 10000)
    exact = langevin_well.exact(5.0, friction).rate_per_ps
    assert error < 0.06 * rate
    assert_within(rate, exact, error)
    with pytest.raises(AssertionError):  # negative control
        assert_within(rate, langevin_well.exact(5.5, friction).rate_per_ps, error)


def test_the_grid_is_converged_and_the_flux_is_the_same_everywhere():
    fine, middle, coarse = (well(8.0, 5.0, n_x=n, n_v=3 * n // 4) for n in (320, 240, 120))
    assert middle.rate_per_ps == pytest.approx(fine.rate_per_ps, rel=1e-3)
    assert 5.0 < (coarse.rate_per_ps / fine.rate_per_ps - 1) / (middle.rate_per_ps / fine.rate_per_ps - 1) < 20.0
    assert middle.flux == pytest.approx(middle.rate_per_ps, rel=0.05)


def test_the_committor_is_antisymmetric_and_knows_the_velocity():
    solution = langevin_well.exact(5.0, 5.0)
    q = solution.committor
    np.testing.assert_allclose(q + q[::-1, ::-1], 1.0, atol=1e-9)
    assert ((q > -1e-9) & (q < 1.0 + 1e-9)).all() and (np.diff(q, axis=1) > -1e-9).all()
    np.testing.assert_allclose(solution.mean_committor(), 1.0 - solution.mean_committor()[::-1], atol=1e-9)
    np.testing.assert_allclose(solution.at(np.array([-0.9, 0.0, 0.9]), np.zeros(3)), [0.0, 0.5, 1.0], atol=1e-9)
    assert solution.at(0.0, 2.0) > 0.9 > 0.1 > solution.at(0.0, -2.0)


def test_another_mass_and_temperature_scale_as_they_must():
    """Energies in kT, lengths as they are, time by the square root of m/kT."""
    kt, mass = 2.5, 40.0
    unit = np.sqrt(mass / kt)
    fields = (lambda x: kt * langevin_well.energy(x, 5.0), lambda x: kt * langevin_well.force(x, 5.0))
    scaled = solve(*fields, EDGES, kt, mass, 5.0 / unit, n_x=80, n_v=60)
    plain = well(5.0, 5.0, n_x=80, n_v=60)
    assert scaled.rate_per_ps * unit == pytest.approx(plain.rate_per_ps, rel=1e-6)
    np.testing.assert_allclose(scaled.mean_committor(), plain.mean_committor(), atol=1e-9)


def test_the_bath_pulls_on_x_as_much_as_on_y_and_the_states_do_not_see_it():
    problem = build("langevin_well", bath=True)
    context = openmm.Context(problem.system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))
    context.setPositions([[0.3, 0.9, 0.0]])
    force = context.getState(forces=True).getForces(asNumpy=True)._value[0]
    np.testing.assert_allclose(force[1], -langevin_well.BATH * 0.6, rtol=1e-9)
    np.testing.assert_allclose(force[0] + force[1], langevin_well.force(0.3, 5.0), rtol=1e-9)
    np.testing.assert_array_equal(problem.states.classify(np.array([[[-0.9, 0.9, 0.0]], [[0.9, -0.9, 0.0]]])), [1, 2])
    assert problem.inertial and problem.num_dimensions == 2
    assert problem.fingerprint() != build("langevin_well").fingerprint()


def test_a_barrier_that_is_none_is_refused():
    with pytest.raises(ValueError, match="barrier = -1 must be a positive energy"):
        build("langevin_well", barrier=-1)
