"""LJ7: stationary points and Kramers rates against published numbers; states, handedness and channels."""

from dataclasses import replace

import numpy as np
import openmm
import pytest
from openmm import unit

from openmm_rare.systems import build, lj7
from openmm_rare.systems import lj7_landscape as landscape
from openmm_rare.systems.known_rates import reference_of
from openmm_rare.systems.lj7_potential import energy, gradient, hessian, vibrations

MINIMA = dict(zip(landscape.MINIMUM_NAMES, landscape.minima(), strict=True))
RNG = np.random.default_rng(3)


def in_nm(positions):
    """One frame, (1, 7, 3) in nm, from (7, 2) in sigma."""
    frame = np.zeros((1, 7, 3))
    frame[0, :, :2] = positions * lj7.SIGMA
    return frame


def saddles_between(one, other):
    ranks = sorted(map(landscape.MINIMUM_NAMES.index, (one, other)))
    known = landscape.minima()
    return [s for s in landscape.saddles() if sorted(landscape.rank_among(e, known) for e in s.ends) == ranks]


# --- landscape


def test_derivatives_agree_with_finite_differences():
    x, step = RNG.normal(size=(7, 2)) * 1.2, 1e-6
    shifts = step * np.eye(14).reshape(14, 7, 2)
    numerical = [(energy(x + s) - energy(x - s)) / (2 * step) for s in shifts]
    np.testing.assert_allclose(gradient(x).ravel(), numerical, rtol=1e-6, atol=1e-4)
    numerical = [(gradient(x + s) - gradient(x - s)).ravel() / (2 * step) for s in shifts]
    np.testing.assert_allclose(hessian(x), numerical, rtol=1e-6, atol=1e-6 * np.abs(hessian(x)).max())


def test_openmm_energy_is_the_reduced_one():
    problem = build("lj7")
    integrator = openmm.VerletIntegrator(0.001)
    context = openmm.Context(problem.system, integrator, openmm.Platform.getPlatformByName("Reference"))
    for scale in (0.2, 1.0, 1.7):  # 0.2: deep inside the soft core
        positions = scale * MINIMA["c2"].positions + 0.01 * RNG.normal(size=(7, 2))
        context.setPositions(in_nm(positions)[0])
        found = context.getState(getEnergy=True).getPotentialEnergy()._value
        assert found == pytest.approx(energy(positions) * lj7.EPSILON, rel=1e-10)


def test_minima_have_the_published_energies_and_moments():
    energies = [minimum.energy for minimum in MINIMA.values()]
    np.testing.assert_allclose(energies, [-12.5375, -11.5038, -11.4793, -11.4054], atol=1e-4)
    variables = build("lj7").states.variables
    for name, minimum in MINIMA.items():
        assert minimum.index == 0
        np.testing.assert_allclose(variables(in_nm(minimum.positions))[0], lj7.CENTERS[name], atol=1e-4)
    without_core = [minimum.energy for minimum in landscape.minima(0.0)]
    np.testing.assert_allclose(without_core, [-12.5349, -11.5013, -11.4769, -11.4034], atol=1e-4)


def test_hexagon_is_the_minimum_and_its_own_state():
    positions = lj7.hexagon()
    assert np.abs(gradient(positions[:, :2] / lj7.SIGMA)).max() < 1e-8
    states = build("lj7").states
    assert [int(states.classify(in_nm(m.positions))[0]) for m in MINIMA.values()] == [1, 0, 2, 0]


@pytest.mark.parametrize(("alpha", "barriers"), [(0.01, (1.4919, 1.4948)), (0.0, (1.4946, 1.4976))])
def test_saddles_out_of_the_hexagon(alpha, barriers):
    lowest = landscape.saddles(alpha)[:2]
    ground = landscape.minima(alpha)
    np.testing.assert_allclose([s.point.energy - ground[0].energy for s in lowest], barriers, atol=1.5e-4)
    ends = [sorted(landscape.rank_among(end, ground) for end in saddle.ends) for saddle in lowest]
    assert ends == [[0, 2], [0, 1]]
    for saddle in lowest:
        assert saddle.point.index == 1
        assert np.abs(gradient(saddle.point.positions, alpha)).max() < 1e-8
        assert saddle.multiplicity[0] == 12


def test_twelve_saddles_of_each_kind_surround_one_labelled_hexagon():
    """Counted afresh, without symmetry: climb from one hexagon in random directions, descend, align, compare."""
    hexagon = MINIMA["hexagon"].positions
    found = {0: [], 1: []}
    reference = [landscape.saddles()[k].point for k in (0, 1)]
    for _ in range(150):
        point = landscape._follow(hexagon + 0.12 * RNG.normal(size=(7, 2)), 0.01, uphill=1)
        kind = next((k for k in (0, 1) if point is not None and point.is_same_structure(reference[k])), None)
        if kind is None:
            continue
        for sign in (1, -1):
            end = landscape.relax(point.positions + sign * 0.02 * point.mode)
            u, _, v = np.linalg.svd(end.positions.T @ hexagon)
            turn = u @ v
            same = np.linalg.det(turn) > 0 and np.abs(end.positions @ turn - hexagon).max() < 1e-3
            place = point.positions @ turn
            if same and all(np.abs(place - other).max() > 0.05 for other in found[kind]):
                found[kind].append(place)
    assert {kind: len(places) for kind, places in found.items()} == {0: 12, 1: 12}


def test_c1_and_c2_interconvert_over_the_known_barrier():
    lowest = saddles_between("c1", "c2")[0]
    assert lowest.point.energy - MINIMA["hexagon"].energy == pytest.approx(1.61, abs=0.005)


def test_kramers_total_exit_rate_of_the_hexagon_equals_the_published_one():
    for beta, expected in ((5, 0.120), (7, 6.0e-3), (9, 3.0e-4)):
        rates = landscape.kramers_exit_rates(1 / beta, alpha=0.0)
        total = sum(rate for (source, _), rate in rates.items() if source == "hexagon")
        assert total == pytest.approx(expected, rel=0.01)


def test_kramers_rates_obey_detailed_balance():
    """Forward and backward counts of saddles, zero modes and energies must fit together."""
    kt = 0.15
    rates = landscape.kramers_exit_rates(kt)
    labelled = {"hexagon": 1 / 12, "c1": 1, "c2": 1, "trapezoid": 1 / 2}  # 1/order of the point group
    weight = {
        name: labelled[name] * np.exp(m.log_weight - (m.energy - MINIMA["hexagon"].energy) / kt) for name, m in MINIMA.items()
    }
    for (source, target), rate in rates.items():
        assert weight[source] * rate == pytest.approx(weight[target] * rates[target, source], rel=1e-6)


def test_kramers_rate_lies_between_the_direct_and_the_total_exit_rate():
    for kt in (0.2, 0.1576, 0.0788):
        rates = landscape.kramers_exit_rates(kt)
        total = rates["hexagon", "c1"] + rates["hexagon", "c2"]
        assert rates["hexagon", "c2"] < landscape.kramers_rate(kt) < total
    assert landscape.kramers_rate(0.0788) == pytest.approx(8.453e-7, rel=1e-3)


def test_zero_modes_cost_no_energy():
    values, vectors = vibrations(MINIMA["c1"].positions, 0.01)
    assert len(values) == 11 and values.min() > 1
    all_values = np.linalg.eigvalsh(hessian(MINIMA["c1"].positions))
    np.testing.assert_allclose(all_values[:3], 0, atol=1e-6)
    np.testing.assert_allclose(all_values[3:], values, rtol=1e-8)
    assert vectors.shape == (14, 11)


# --- units


def test_reduced_units_and_temperatures():
    problem = build("lj7")
    assert problem.temperature == 600.0
    assert problem.kt / lj7.EPSILON == pytest.approx(0.15744, abs=1e-5)
    assert build("lj7", kt_over_epsilon=0.2).kt == pytest.approx(0.2 * lj7.EPSILON)
    assert problem.friction * lj7.MASS * lj7.SIGMA**2 / lj7.EPSILON == pytest.approx(problem.reduced.time) == 0.05
    assert problem.timestep == pytest.approx(2.5e-4 * problem.reduced.time)
    assert 1.4919 * 0.3284 == pytest.approx(0.49, abs=1e-3)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (dict(temperature=300, kt_over_epsilon=0.1), "not both"),
        (dict(radius_a=0.9), "states A and B overlap"),
        (dict(radius_b=0.25), "radius_b = 0.25 must be below 0.209"),
        (dict(kt_over_epsilon=-0.1), "temperature = .* must be positive"),
    ],
)
def test_builder_refuses_nonsense(parameters, message):
    with pytest.raises(ValueError, match=message):
        build("lj7", **parameters)


def test_a_shrinks_with_the_temperature_unless_it_is_told_not_to():
    radius = {t: lj7.build(temperature=t).states.a.radius for t in (300.0, 600.0, 800.0)}
    assert radius[600.0] == radius[800.0] == 0.15
    assert radius[300.0] == pytest.approx(0.15 * 0.5**2.5) == lj7.build(temperature=300 * unit.kelvin).states.a.radius
    assert lj7.build(temperature=300.0, radius_a=0.15).states.a.radius == 0.15
    cold = lj7.build(temperature=300.0)
    assert cold.with_temperature(600.0).fingerprint() == cold.fingerprint() != lj7.build().fingerprint()


# --- handedness and channels


def thermal_frames(n=200, scale=0.06):
    """Configurations around C2 and C1, shaken."""
    centers = np.stack([MINIMA[name].positions for name in ("c1", "c2")])[RNG.integers(0, 2, n)]
    frames = np.zeros((n, 7, 3))
    frames[:, :, :2] = (centers + scale * RNG.normal(size=(n, 7, 2))) * lj7.SIGMA
    return frames


def test_handedness_ignores_rotation_shift_and_exchange_but_not_reflection():
    frames = thermal_frames()
    original = lj7.handedness(frames)
    angle = 1.234
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    moved = (frames @ turn.T + [0.5, -3.0, 0])[:, RNG.permutation(7)]
    np.testing.assert_allclose(lj7.handedness(moved), original, atol=1e-9)
    np.testing.assert_allclose(lj7.handedness(frames * [-1, 1, 1]), -original, atol=1e-12)
    assert np.median(np.abs(original)) > 1


def test_handedness_vanishes_on_the_achiral_minima_only():
    values = {name: lj7.handedness(in_nm(minimum.positions))[0] for name, minimum in MINIMA.items()}
    assert abs(values["hexagon"]) < 1e-9 and abs(values["trapezoid"]) < 1e-9
    assert abs(values["c1"]) > 4 and abs(values["c2"]) > 9


@pytest.mark.parametrize(("one", "other"), [("hexagon", "c2"), ("hexagon", "c1"), ("c1", "c2")])
def test_handedness_is_the_same_from_the_saddle_down_to_c1_and_c2(one, other):
    saddle = saddles_between(one, other)[0]
    at_saddle = lj7.handedness(in_nm(saddle.point.positions))[0]
    assert abs(at_saddle) > 1.5
    for end, sign in zip(saddle.ends, (1, -1), strict=True):
        if landscape.rank_among(end, landscape.minima()) == 0:
            continue
        along = saddle.point.positions + 0.02 * sign * saddle.point.mode
        for _ in range(400):
            assert lj7.handedness(in_nm(along))[0] * at_saddle > 0
            along = along - 5e-4 * gradient(along)
        assert lj7.handedness(in_nm(end.positions))[0] * at_saddle > 0


def test_channels_of_mirror_images_differ_and_c1_is_remembered():
    states = build("lj7").states
    c1, c2, hexagon = (in_nm(MINIMA[name].positions) for name in ("c1", "c2", "hexagon"))
    between = (c1 + in_nm(MINIMA["hexagon"].positions)) * 3  # far apart: in no state and near nothing
    paths = {
        "direct": [between, c2],
        "through_c1": [between, c1, between, c2],
        "again": [c1, hexagon, between, c2],  # a return to A starts afresh
    }
    arrivals = {}
    for name, path in paths.items():
        for mirror in (1, -1):
            labels = np.zeros(1, dtype=np.int64)
            for frame in path:
                status, labels = states.observe(frame * [mirror, 1, 1], labels)
            assert status[0] == 2
            arrivals[name, mirror] = states.channels.name(labels[0])
    for name, expected in (("direct", "direct"), ("through_c1", "through_c1"), ("again", "direct")):
        assert {arrivals[name, 1], arrivals[name, -1]} == {f"{expected}_left", f"{expected}_right"}


def test_staying_in_b_the_hand_is_told_anew_and_c1_kept():
    states, c2 = build("lj7").states, in_nm(MINIMA["c2"].positions)
    frames = np.concatenate([c2, c2 * [-1, 1, 1]])
    _, one_way = states.observe(frames, np.zeros(2, dtype=np.int64))
    _, other_way = states.observe(frames[::-1], one_way)
    assert sorted(one_way) == [0, 1]
    np.testing.assert_array_equal(other_way, one_way[::-1])
    np.testing.assert_array_equal(states.observe(frames, other_way + 2)[1], one_way + 2)


def test_hot_arrivals_are_left_and_right_alike():
    """Short run at kT = 0.3 epsilon in NumPy, each arrival replaced by a hexagon."""
    problem = build("lj7", kt_over_epsilon=0.3)
    n, n_steps, dt = 400, 2500, lj7.TIMESTEP_REDUCED
    rng = np.random.default_rng(5)
    frames = np.repeat(problem.positions[None], n, axis=0)
    x = np.repeat(problem.positions[:, :2, None] / lj7.SIGMA, n, axis=2)
    labels, arrivals = np.zeros(n, dtype=np.int64), np.zeros(4)
    first, second = np.triu_indices(7, 1)
    sign = np.zeros((7, 21))
    sign[first, np.arange(21)], sign[second, np.arange(21)] = 1, -1
    for _ in range(n_steps):
        pair = (sign.T @ x.reshape(7, 2 * n)).reshape(21, 2, n)
        r2 = (pair * pair).sum(axis=1, keepdims=True)
        s = 1 / (r2 * r2 * r2 + lj7.ALPHA)
        force = (sign @ (24 * (2 * s - 1) * s * s * r2 * r2 * pair).reshape(21, 2 * n)).reshape(7, 2, n)
        x += dt * force + np.sqrt(2 * 0.3 * dt) * rng.normal(size=x.shape)
        frames[:, :, :2] = lj7.SIGMA * x.transpose(2, 0, 1)
        status, labels = problem.states.observe(frames, labels)
        arrived = status == 2
        arrivals += np.bincount(labels[arrived], minlength=4)
        x[:, :, arrived] = problem.positions[:, :2, None] / lj7.SIGMA
        labels[arrived] = 0
    left = arrivals[[0, 2]].sum()
    assert arrivals.sum() > 150 and (arrivals > 0).all()
    assert abs(left - arrivals.sum() / 2) < 4 * np.sqrt(arrivals.sum()) / 2
    assert arrivals[:2].sum() > arrivals[2:].sum()


def test_kramers_stands_beside_runs_with_other_states_but_not_beside_other_physics():
    known = reference_of(lj7.build(temperature=300.0, radius_a=0.04))
    assert known.label == "Kramers-Langer" and known.rate(300.0) < 1e-3 * known.rate(600.0)
    slower = lj7.build()
    assert reference_of(replace(slower, friction=2.0 * slower.friction)) is None  # negative control
