"""Every built-in system against its own yardsticks, and the yardsticks against independent ones."""

import json
import subprocess
import sys

import numpy as np
import openmm
import pytest
from openmm import unit as u
from scipy.special import ndtr

from openmm_rare import problem as systems_base
from openmm_rare.problem import EV
from openmm_rare.states.states import CollectiveVariables, Coordinate, Disc, Range, States
from openmm_rare.systems import BUILDERS, build, double_well_1d, rugged_14d, two_channel_2d
from openmm_rare.systems.kolmogorov import solve
from openmm_rare.units import KB
from stats import assert_within

NAMES = sorted(BUILDERS)
MODELS = sorted(set(BUILDERS) - {"alanine_dipeptide", "licl"})  # whose forces are ours


def forces_and_energy(system):
    integrator = openmm.VerletIntegrator(0.001)
    context = openmm.Context(system, integrator, openmm.Platform.getPlatformByName("Reference"))

    def evaluate(positions):
        context.setPositions(positions)
        state = context.getState(getForces=True, getEnergy=True)
        return state.getForces(asNumpy=True)._value.copy(), state.getPotentialEnergy()._value

    return evaluate


def displaced(problem, scale=0.03, seed=0):
    moves = np.arange(3) < problem.num_dimensions
    return problem.positions + scale * np.random.default_rng(seed).normal(size=problem.positions.shape) * moves


# --- all systems


@pytest.mark.parametrize("name", MODELS)
def test_force_is_minus_the_gradient_and_acts_in_the_moving_dimensions_only(name):
    problem = build(name)
    evaluate = forces_and_energy(problem.system)
    positions, step = displaced(problem), 1e-5
    force, _ = evaluate(positions)
    numerical = np.zeros_like(force)
    for index in np.ndindex(*positions.shape):
        shift = np.zeros_like(positions)
        shift[index] = step
        numerical[index] = -(evaluate(positions + shift)[1] - evaluate(positions - shift)[1]) / (2 * step)
    np.testing.assert_allclose(force, numerical, atol=1e-5 * np.abs(force).max() + 1e-6)
    assert (force[:, problem.num_dimensions :] == 0).all()
    weak = name == "langevin_well"  # its one particle starts at the minimum: 0.03 nm away the force is that small
    assert np.abs(force).max() > (0.1 if weak else 1.0)


@pytest.mark.parametrize("name", NAMES)
def test_systems_start_in_a_and_describe_themselves_in_json(name):
    problem = build(name)
    assert problem.name == name
    assert problem.states.classify(problem.positions[None])[0] == 1
    assert problem.kt == pytest.approx(KB * problem.temperature)
    description = json.loads(json.dumps(problem.describe(), allow_nan=False))
    assert description["fingerprint"] == problem.fingerprint()
    assert problem.notes


def test_fingerprints_differ_between_systems_and_with_everything_but_temperature():
    prints = [build(name).fingerprint() for name in NAMES]
    prints += [
        build("lj7", radius_a=0.2).fingerprint(),
        build("lj7", timestep_reduced=1e-4).fingerprint(),
        build("double_well_1d", barrier=20.0).fingerprint(),
    ]
    assert len(set(prints)) == len(prints)
    for name in NAMES:
        assert build(name).fingerprint() == build(name).fingerprint()
        assert build(name).with_temperature(345.0).fingerprint() == build(name).fingerprint()


def test_fingerprints_are_the_same_in_another_process():
    code = "from openmm_rare.systems import build; print([build(n).fingerprint() for n in ('lj7', 'rugged_14d')])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == str([build(name).fingerprint() for name in ("lj7", "rugged_14d")])


def test_with_temperature_changes_nothing_else():
    problem = build("lj7", kt_over_epsilon=0.2)
    colder = problem.with_temperature(300.0)
    assert colder.temperature == 300.0 and problem.temperature != 300.0
    assert colder.states is problem.states and colder.timestep == problem.timestep


def test_the_registry_names_what_it_has():
    with pytest.raises(ValueError, match=r"unknown system 'lj8'; choose one of .*lj7"):
        build("lj8")
    with pytest.raises(ValueError, match=r"no parameter temprature; it takes temperature"):
        build("two_channel_2d", temprature=300)


# --- double_well_1d


def test_double_well_quadrature_equals_finite_volumes_in_a_separable_plane():
    """Kolmogorov's equation on a grid, with a harmonic y that must change nothing, and channels that it decides."""
    temperature, barrier, shift = 700.0, 25.0, 0.05
    kt = KB * temperature
    variables = CollectiveVariables([Coordinate("x", 0, 0)])
    edge = double_well_1d.EDGE
    # Both edges of the states coincide with borders of cells.
    solution = solve(
        lambda x, y: double_well_1d.energy(x, barrier) + 0.5 * 300 * (y - shift) ** 2,
        np.linspace(-1, 1, 161),
        np.linspace(-0.75, 0.85, 65),
        kt,
        kt / (double_well_1d.MASS * double_well_1d.FRICTION),
        States(variables, Range({"x": (-np.inf, -edge)}), Range({"x": (edge, np.inf)})),
        side=lambda x, y: x > 0,
        channels={"up": lambda x, y: y > 0, "down": lambda x, y: y <= 0},
        ceiling=barrier + 40 * kt,
    )
    assert solution.rate_per_ps == pytest.approx(double_well_1d.rate(temperature, barrier), rel=2e-3)
    exact = double_well_1d.committor(solution.x, temperature, barrier)
    middle = solution.committor[:, 32]
    assert np.nanmax(np.abs(middle - exact)) < 0.01
    # y knows nothing of x, so that at the last crossing it is distributed as always.
    assert solution.channel_fractions["up"] == pytest.approx(ndtr(shift / np.sqrt(kt / 300)), abs=2e-3)
    assert sum(solution.channel_fractions.values()) == pytest.approx(1)


def test_double_well_rate_approaches_kramers_with_a_growing_barrier():
    def ratio(barrier):
        curvature_well, curvature_top = (c * barrier / double_well_1d.HALF_DISTANCE**2 for c in (8, 4))
        attempt = np.sqrt(curvature_well * curvature_top) / (2 * np.pi * double_well_1d.MASS * double_well_1d.FRICTION)
        return double_well_1d.rate(300.0, barrier) / (attempt * np.exp(-barrier / (KB * 300.0)))

    low, high = abs(ratio(25.0) - 1), abs(ratio(100.0) - 1)
    assert high < 0.02 and high < 0.35 * low


def test_euler_maruyama_chain_converges_to_the_exact_rate_at_first_order():
    exact = double_well_1d.rate()
    errors = [double_well_1d.chain_rate(timestep=dt) / exact - 1 for dt in (0.02, 0.01)]
    # (h/4) (curvature of the wells - |curvature| of the top), h = dt/(m friction)
    predicted = 0.01 / (4 * double_well_1d.MASS * double_well_1d.FRICTION) * 4 * 25.0 / double_well_1d.HALF_DISTANCE**2
    assert errors[1] == pytest.approx(predicted, rel=0.2)
    assert 1.8 < errors[0] / errors[1] < 2.3


def test_double_well_committor_is_antisymmetric_and_flat_in_the_states():
    q = double_well_1d.committor(np.array([-0.6, -0.4, -0.1, 0, 0.1, 0.4, 0.6]))
    np.testing.assert_allclose(q + q[::-1], 1, atol=1e-12)
    np.testing.assert_array_equal(q[[0, 1, 5, 6]], [0, 0, 1, 1])
    with pytest.raises(ValueError, match="barrier = -1 must be a positive energy"):
        build("double_well_1d", barrier=-1)


# --- two_channel_2d


def test_two_channel_has_two_minima_two_saddles_and_the_published_barriers():
    points = two_channel_2d.stationary_points()
    assert [point.index for point in points] == [0, 0, 1, 1, 2]
    barriers = [(point.energy - points[0].energy) / EV for point in points[2:4]]
    np.testing.assert_allclose(barriers, [0.98, 1.02], atol=1e-3)
    assert points[2].position[1] < 0 < points[3].position[1]
    np.testing.assert_allclose(points[0].position, two_channel_2d.CENTER_A, atol=1e-4)
    np.testing.assert_allclose(points[1].position, two_channel_2d.CENTER_B, atol=1e-4)
    np.testing.assert_allclose(points[4].position[1], two_channel_2d.HILL_Y, atol=0.01)


def test_two_channel_expression_equals_its_numpy_energy():
    problem = build("two_channel_2d")
    evaluate = forces_and_energy(problem.system)
    for x, y in ((0.3, -0.7), (-1.1, 0.2), (1.5, 1.5)):
        assert evaluate([[x, y, 0.0]])[1] == pytest.approx(two_channel_2d.energy(x, y), rel=1e-12)


def test_two_channel_timestep_is_short_enough():
    assert 0 < two_channel_2d.timestep_error() < 0.006
    stiffest = max(point.curvatures.max() for point in two_channel_2d.stationary_points())
    assert stiffest * two_channel_2d.TIMESTEP / (two_channel_2d.MASS * two_channel_2d.FRICTION) < 0.025


@pytest.mark.parametrize(("temperature", "rate", "upper"), [(600.0, 1.27350e-9, 0.30554), (1200.0, 1.91878e-5, 0.39574)])
def test_two_channel_grid_is_converged(temperature, rate, upper):
    """Numbers of the limit from grids of up to 600 cells."""
    coarse, fine = (two_channel_2d.exact(temperature, n_grid) for n_grid in (100, 160))
    assert fine.rate_per_ps == pytest.approx(rate, rel=1e-4)
    assert coarse.rate_per_ps == pytest.approx(fine.rate_per_ps, rel=5e-4)
    assert fine.channel_fractions["upper"] == pytest.approx(upper, abs=3e-4)
    assert sum(fine.channel_fractions.values()) == pytest.approx(1)


def test_two_channel_rate_follows_arrhenius_and_kramers():
    """Both saddles in the harmonic approximation; the rest is anharmonic, of order kT/barrier."""
    points = two_channel_2d.stationary_points()
    a, mobility = points[0], 1 / (two_channel_2d.MASS * two_channel_2d.FRICTION)

    def kramers(saddle, kt):
        prefactor = np.sqrt(np.prod(a.curvatures) / abs(np.prod(saddle.curvatures))) * abs(saddle.curvatures[0])
        return mobility * prefactor / (2 * np.pi) * np.exp(-(saddle.energy - a.energy) / kt)

    ratios = []
    for temperature in (600.0, 300.0):
        lower, upper = (kramers(saddle, KB * temperature) for saddle in points[2:4])
        exact = two_channel_2d.exact(temperature, 100)
        ratios.append(exact.rate_per_ps / (lower + upper))
        assert exact.channel_fractions["upper"] == pytest.approx(upper / (lower + upper), abs=0.02)
    assert abs(ratios[1] - 1) < 0.6 * abs(ratios[0] - 1) and abs(ratios[0] - 1) < 0.15


def test_last_crossing_equals_the_state_space_doubled_by_labels():
    """The same coarse chain, solved once more with one copy of B's side for each label."""
    kt, n = KB * 1500.0, 28
    centers = (np.arange(n) + 0.5) * 4 / n - 2
    x, y = (grid.ravel() for grid in np.meshgrid(centers, centers, indexing="ij"))
    exact = two_channel_2d.exact(1500.0, n)
    kept = ~np.isnan(exact.committor.ravel())
    rates = np.zeros((n * n, n * n))
    for i in range(n * n):
        for j in (i + 1, i + n):
            if j < n * n and (j == i + n or j % n) and kept[i] and kept[j]:
                face = two_channel_2d.energy((x[i] + x[j]) / 2, (y[i] + y[j]) / 2)
                for s, t in ((i, j), (j, i)):
                    rates[s, t] = np.exp(-(face - two_channel_2d.energy(x[s], y[s])) / kt)
    states = build("two_channel_2d").states.classify(np.stack([x, y, 0 * x], 1)[:, None])
    # Label 0 lives on A's side; labels 1 and 2 on B's side.
    nodes = [(i, label) for i in range(n * n) if kept[i] for label in ((1, 2) if x[i] > 0 else (0,))]
    number = {node: k for k, node in enumerate(nodes)}
    matrix, right = np.zeros((len(nodes), len(nodes))), np.zeros(len(nodes))
    for (i, label), row in number.items():
        matrix[row, row] = 1
        if states[i]:
            right[row] = float(states[i] == 2 and label == 1)
            continue
        for j in np.flatnonzero(rates[i]):
            after = 0 if x[j] <= 0 else label or (1 if y[j] > two_channel_2d.HILL_Y else 2)
            matrix[row, number[j, after]] -= rates[i, j] / rates[i].sum()
    upper = np.linalg.solve(matrix, right)
    q = np.nan_to_num(exact.committor.ravel())
    weight = np.where(kept, np.exp(-(two_channel_2d.energy(x, y)) / kt), 0)
    exits = [(i, j) for i in np.flatnonzero(states == 1) for j in np.flatnonzero(rates[i]) if states[j] == 0]
    total = sum(weight[i] * rates[i, j] * q[j] for i, j in exits)
    through_upper = sum(weight[i] * rates[i, j] * upper[number[j, 0]] for i, j in exits)
    assert through_upper / total == pytest.approx(exact.channel_fractions["upper"], rel=1e-6)
    diffusion = kt / (two_channel_2d.MASS * two_channel_2d.FRICTION) * (n / 4) ** 2
    assert diffusion * total / (weight @ (1 - q)) == pytest.approx(exact.rate_per_ps, rel=1e-6)


def test_ridge_labels_are_those_of_the_last_crossing():
    points = np.array([[-0.5, 1.1], [0.5, 1.0], [0.5, -1.0], [0.5, -1.0], [0.5, 1.0], [0.0, 1.0], [-0.1, 1.0]])
    frames = np.concatenate([points, np.zeros((7, 1))], axis=1)[:, None]
    _, labels = build("two_channel_2d").states.observe(frames, np.array([0, 0, 0, 1, 2, 1, 2]))
    assert labels.tolist() == [0, 1, 2, 1, 2, 0, 0]


def test_simulated_rate_and_channels_equal_the_exact_ones():
    """Euler-Maruyama in NumPy at 3000 K, where transitions are frequent: states, labels and units together."""
    problem = build("two_channel_2d", temperature=3000.0)
    n, n_steps, equilibration = 1000, 5000, 800
    rng = np.random.default_rng(11)
    mobility = problem.timestep / (two_channel_2d.MASS * problem.friction)
    positions = np.repeat(problem.positions[None], n, axis=0)
    last, labels = np.ones(n, dtype=int), np.zeros(n, dtype=np.int64)
    arrivals, steps_last_in_a = np.zeros(3), 0
    for step in range(n_steps):
        gradient = two_channel_2d.gradient(positions[:, 0, :2])
        positions[:, 0, :2] += -mobility * gradient + np.sqrt(2 * problem.kt * mobility) * rng.normal(size=(n, 2))
        status, labels = problem.states.observe(positions, labels)
        if step >= equilibration:
            arrivals += np.bincount(labels[(status == 2) & (last == 1)], minlength=3)
            steps_last_in_a += (last == 1).sum()
        last = np.where(status > 0, status, last)
    exact = two_channel_2d.exact(3000.0, 100)
    rate = arrivals.sum() / (steps_last_in_a * problem.timestep)
    assert arrivals[0] == 0
    # Arrivals from many independent walkers are nearly Poisson.
    stderr = rate / np.sqrt(arrivals.sum())
    assert_within(rate, exact.rate_per_ps, stderr, nsigma=4)
    upper = arrivals[1] / arrivals.sum()
    stderr_upper = np.sqrt(upper * (1 - upper) / arrivals.sum())
    assert_within(upper, exact.channel_fractions["upper"], stderr_upper, nsigma=4)
    with pytest.raises(AssertionError):
        assert_within(rate, two_channel_2d.exact(2400.0, 100).rate_per_ps, stderr, nsigma=4)


# --- rugged_14d


def test_rotation_is_orthogonal_and_invertible_and_mixes_all_coordinates():
    matrix = rugged_14d.rotation()
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(14), atol=1e-14)
    assert np.abs(matrix).min() > 0.15
    coordinates = np.random.default_rng(0).normal(size=(4, 14))
    back = rugged_14d.rotated_coordinates(rugged_14d.positions_from(coordinates))
    np.testing.assert_allclose(back, coordinates, atol=1e-13)


def test_rugged_energy_is_the_two_channel_one_plus_separate_terms():
    evaluate = forces_and_energy(build("rugged_14d").system)
    coordinates = 0.4 * np.random.default_rng(1).normal(size=(3, 14))
    energies = [evaluate(positions)[1] for positions in rugged_14d.positions_from(coordinates)]
    np.testing.assert_allclose(energies, rugged_14d.energy(coordinates), rtol=1e-12)
    flat = coordinates.copy()
    flat[:, 2:] = 0
    plane = two_channel_2d.energy(*coordinates[:, :2].T)
    np.testing.assert_allclose(rugged_14d.energy(flat), plane, rtol=1e-12)
    rough = rugged_14d.energy(coordinates) - plane
    other = coordinates.copy()
    other[:, :2] += 0.3
    np.testing.assert_allclose(rugged_14d.energy(other) - two_channel_2d.energy(*other[:, :2].T), rough, rtol=1e-9)


def test_rugged_states_and_labels_are_those_of_the_plane():
    rng = np.random.default_rng(2)
    coordinates = rng.uniform(-1.2, 1.2, size=(2000, 14))
    plane = np.zeros((2000, 1, 3))
    plane[:, 0, :2] = coordinates[:, :2]
    labels = rng.integers(0, 3, 2000)
    hidden = build("rugged_14d").states.observe(rugged_14d.positions_from(coordinates), labels)
    expected = build("two_channel_2d").states.observe(plane, labels)
    np.testing.assert_array_equal(hidden[0], expected[0])
    np.testing.assert_array_equal(hidden[1], expected[1])
    assert set(expected[0]) == {0, 1, 2}


def test_electronvolt_agrees_with_the_one_of_units():
    from openmm_rare.units import parse_quantity

    assert parse_quantity("1 eV", u.kilojoule_per_mole, "x") == pytest.approx(systems_base.EV, rel=1e-7)


def test_disc_states_of_the_plane_lie_on_their_sides_of_the_ridge():
    states = build("two_channel_2d").states
    assert isinstance(states.a, Disc)
    assert states.a.center["x"] + states.a.radius < 0 < states.b.center["x"] - states.b.radius
