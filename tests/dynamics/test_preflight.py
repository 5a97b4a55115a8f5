"""What cannot work is refused before dynamics runs."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import openmm
import pytest
from click.testing import CliRunner

from openmm_rare import BruteForceRate, ImportanceSamplingRate
from openmm_rare.cli.main import main
from openmm_rare.config.run import build_system, load_config
from openmm_rare.dynamics.checks import _why_kept, examine, require_runnable
from openmm_rare.dynamics.stability import Probe, largest_curvature, step_limit
from openmm_rare.dynamics.unbiased import unbiased_integrator
from openmm_rare.dynamics.unbound import unbound_motion
from openmm_rare.problem import RareEventSystem
from openmm_rare.rates.estimate import RateEstimate
from openmm_rare.states.states import Coordinate, LinearCombination, Range
from openmm_rare.systems import BUILDERS, build
from openmm_rare.walkers.machine import Machine
from openmm_rare.walkers.slots import SlotContext
from stats import assert_within

EXAMPLES = Path(__file__).parents[2] / "examples"
STIFF, SOFT, MASS, FRICTION = 8000.0, 300.0, 20.0, 10.0


def problem(bonded, positions, timestep, exponent=2, **options):
    """Particles of which the first is held at the origin, softly."""
    hold = openmm.CustomExternalForce(f"{0.5 * SOFT} * (x^2 + y^2 + z^2)^({exponent}/2)")
    hold.addParticle(0, [])
    bonded.addForce(hold)
    states = Range({"x": (-9.0, 0.3)}), Range({"x": (0.5, 9.0)})
    where = [Coordinate("x", bonded.getNumParticles() - 1, 0)]
    return RareEventSystem.from_openmm(bonded, positions, *states, where, 300.0, FRICTION, timestep, **options)


def oscillator(timestep):
    """One particle."""
    system = openmm.System()
    system.addParticle(MASS)
    return problem(system, [[0.0, 0.0, 0.0]], timestep)


def molecule(angle=0.0, constrained=False, **options):
    """Two particles on a stiff spring, at an angle with the x axis."""
    system = openmm.System()
    for _ in range(2):
        system.addParticle(MASS)
    bond = openmm.HarmonicBondForce()
    bond.addBond(0, 1, 0.1, STIFF)
    system.addForce(bond)
    if constrained:
        system.addConstraint(0, 1, 0.1)
    return problem(system, [[0.0, 0.0, 0.0], [0.1 * np.cos(angle), 0.1 * np.sin(angle), 0.0]], 1e-3, **options)


def curvature():
    """Largest eigenvalue of the mass-weighted Hessian of a molecule along x, built by hand."""
    hessian = np.array([[STIFF + SOFT, -STIFF], [-STIFF, STIFF]]) / MASS
    return np.linalg.eigvalsh(hessian).max()


def test_the_largest_curvature_is_that_of_the_hessian_built_by_hand():
    assert largest_curvature(molecule()) == pytest.approx(curvature(), rel=1e-6)
    assert largest_curvature(molecule(angle=1.0)) == pytest.approx(curvature(), rel=1e-6)


def test_only_directions_that_move_count():
    assert largest_curvature(molecule(angle=np.pi / 2, num_dimensions=1)) == pytest.approx(SOFT / MASS, rel=1e-6)
    constrained = largest_curvature(molecule(constrained=True))
    assert constrained == pytest.approx(SOFT / MASS, rel=1e-6)  # across the bond, where it moves alone
    assert largest_curvature(molecule(angle=np.pi / 2, num_dimensions=1, exponent=4)) == pytest.approx(0.0, abs=1e-3)


@pytest.mark.parametrize(("share", "grows"), [(0.9, False), (1.1, True)])
def test_the_limit_is_where_the_dynamics_begins_to_grow(share, grows):
    target = oscillator(share * 2.0 * FRICTION / (SOFT / MASS))
    if grows:
        with pytest.raises(ValueError, match=f"a time step of {target.timestep:g} ps is too large for user"):
            require_runnable(target)
    else:
        require_runnable(target)
    slots = SlotContext(target, 20, Machine("Reference", "python"), 5)
    slots.step(100)
    assert (np.abs(slots.positions()[:, 0, 0]).max() > 1e3) == grows


@pytest.mark.parametrize(("friction", "told"), [(60.0, False), (300.0, True)])
def test_friction_that_forgets_momenta_within_a_step_is_told_with_what_it_does(friction, told):
    target = dataclasses.replace(oscillator(0.01), inertial=True, friction=friction)
    notes = require_runnable(target)
    assert [note.startswith("The friction forgets momenta within a time step") for note in notes] == [True] * told
    n, steps, half = 2000, 100, 0.5 * friction * 0.01
    free = openmm.System()
    for _ in range(n):
        free.addParticle(MASS)
    context = openmm.Context(free, unbiased_integrator(target), openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(np.zeros((n, 3)))
    context.setVelocitiesToTemperature(300.0, 1)
    context.getIntegrator().setRandomNumberSeed(1)
    context.getIntegrator().step(20)
    before = context.getState(positions=True).getPositions(asNumpy=True)._value
    context.getIntegrator().step(steps)
    way = context.getState(positions=True).getPositions(asNumpy=True)._value - before
    ideal = 2.0 * target.kt / (MASS * friction) * 0.01 * steps
    factor = half / np.tanh(half)
    assert_within((way**2).mean() / ideal, factor, factor * np.sqrt(2.0 / (3 * n)), 5)
    if told:
        assert f"diffuse {factor:.3g} times" in notes[0] and "Use 0.003 ps or less for 5 %" in notes[0]
        with pytest.raises(AssertionError):  # negative control
            assert_within((way**2).mean() / ideal, 1.0, factor * np.sqrt(2.0 / (3 * n)), 5)


def test_forces_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="forces on the initial structure of user are not finite"):
        require_runnable(molecule(exponent=-1))


@pytest.mark.parametrize("engine", [ImportanceSamplingRate, BruteForceRate])
def test_every_engine_refuses_it_at_once(engine):
    with pytest.raises(ValueError, match="is too large for lj7: from .* ps on"):
        engine(build("lj7", temperature=600.0, timestep_reduced=1.0))


def test_the_command_refuses_it_and_writes_nothing(tmp_path):
    config = tmp_path / "lj7.toml"
    config.write_text('[system]\nname = "lj7"\ntemperature = "600 K"\ntimestep = "1 ns"\n')
    result = CliRunner().invoke(main, ["rate", str(config), "--out", str(tmp_path / "run")])
    assert result.exit_code == 2 and "too large for lj7" in result.output and len(result.output.splitlines()) <= 3
    assert not (tmp_path / "run").exists()


def test_dynamics_with_inertia_is_not_trained_for_on_the_way_to_a_rate():
    with pytest.raises(ValueError, match="no committor is learned on the way to a rate of jung_42d.*tps.*--brute-force"):
        ImportanceSamplingRate(build("jung_42d"))
    BruteForceRate(build("jung_42d"))


@pytest.mark.parametrize("name", BUILDERS)
def test_every_built_in_system_passes_for_its_purpose(name):
    problem = build(name)
    assert require_runnable(problem, "paths") == []
    assert require_runnable(problem, "rate") == []


@pytest.mark.parametrize("config", sorted(EXAMPLES.glob("*/config.toml")), ids=lambda path: path.parent.name)
def test_every_example_passes_for_its_purpose(config):
    problem = build_system(load_config(config))
    assert not examine(problem, "paths").obstacles and not examine(problem, "rate").obstacles


def test_the_limit_of_many_atoms_is_that_of_their_fastest_vibration():
    """By a platform in single precision, where the exact one would need several seconds."""
    problem = build("alanine_dipeptide")
    assert problem.timestep < step_limit(largest_curvature(problem), None) == pytest.approx(0.006, rel=0.05)


def test_a_result_without_notes_is_read_as_one_with_none():
    names = {field.name for field in dataclasses.fields(RateEstimate)} - {"notes"}
    old = dict.fromkeys(names, 1.0) | {"rate_ci95": [1.0, 2.0], "warnings": ["a"]}
    assert RateEstimate.from_dict(old).notes == () and RateEstimate.from_dict(old).warnings == ("a",)
    assert RateEstimate.from_dict(old | {"notes": ["b"]}).notes == ("b",)


def flat(expression, n_atoms=1, num_dimensions=3, masses=(MASS,)):
    """Particles in a potential of their own each."""
    system = openmm.System()
    force = openmm.CustomExternalForce(expression)
    for atom in range(n_atoms):
        system.addParticle(masses[atom % len(masses)])
    for atom in range(min(n_atoms, 2)):
        force.addParticle(atom, [])
    system.addForce(force)
    where = [Coordinate("x", 0, 0)]
    states = Range({"x": (-9.0, 0.3)}), Range({"x": (0.5, 9.0)})
    start = np.zeros((n_atoms, 3))
    return RareEventSystem.from_openmm(
        system, start, *states, where, 300.0, FRICTION, 1e-3, num_dimensions=num_dimensions, descriptor={"kind": "coordinates"}
    )


@pytest.mark.parametrize("purpose", ["rate", "paths"])
@pytest.mark.parametrize(
    ("expression", "num_dimensions", "bound"),
    [("x^2+y^2", 3, 2), ("x^2", 3, 1), ("x^2", 2, 1), ("100*(x^2-1)^2+x*y+y^2", 3, 2)],
)
def test_an_axis_along_which_nothing_acts_is_to_be_left_out(purpose, expression, num_dimensions, bound):
    (found,) = examine(flat(expression, num_dimensions=num_dimensions), purpose).obstacles
    lost = " and ".join("xyz"[bound:num_dimensions])
    assert found.fact.startswith(f"no force acts along {lost},") and found.cure.startswith(f"set it to {bound} ")
    assert not examine(flat(expression, num_dimensions=bound), purpose).obstacles


@pytest.mark.parametrize(
    "expression", ["x^2+y^2+z^2", "x^2+y^2+max(0,abs(z)-0.5)^2", "x^2+y^2+max(0,abs(z)-20)^2", "x^2+y^2+z^4"]
)
def test_a_potential_that_is_flat_between_walls_binds(expression):
    found = examine(flat(expression), "paths")
    assert not found.obstacles and not found.notes


def test_other_motion_without_end_is_named():
    found = examine(flat("x^2+z^2"), "paths")
    assert not found.obstacles and found.notes == ["No force acts along y: walkers diffuse away along it without end."]
    found = examine(flat("x^2+y^2+z^2", n_atoms=3), "paths")
    assert not found.obstacles and found.notes[0].startswith("No force acts on atoms 2:")
    found = examine(flat("x^2+y^2+z^2", n_atoms=3, masses=(MASS, MASS, 0.0)), "paths")
    assert not any("No force" in note for note in found.notes)


def test_systems_that_are_shipped_are_bound():
    for name in BUILDERS:
        if name in ("alanine_dipeptide", "licl"):
            continue  # periodic: their box bounds them
        found = examine(build(name), "paths")
        assert not any("no force" in str(each).lower() for each in (*found.obstacles, *found.notes)), name


@pytest.mark.parametrize(
    ("masses", "variable", "why"),
    [
        ((MASS, 0.0), Coordinate("x", 1, 0), "atom 1 has no mass"),
        ((MASS, 0.0), Coordinate("x", 0, 0), None),
        ((MASS, MASS), Coordinate("x", 1, 1), "nothing moves along y with num_dimensions = 1"),
        ((MASS, MASS), Coordinate("x", 1, 0), None),
    ],
)
def test_states_of_what_never_moves_are_refused(masses, variable, why):
    system, force = openmm.System(), openmm.CustomExternalForce("x^2")
    for atom, mass in enumerate(masses):
        system.addParticle(mass)
        force.addParticle(atom, [])
    system.addForce(force)
    states = Range({"x": (-9.0, 0.3)}), Range({"x": (0.5, 9.0)})
    problem = RareEventSystem.from_openmm(
        system, np.zeros((2, 3)), *states, [variable], 300.0, FRICTION, 1e-3, num_dimensions=1
    )
    found = [each.fact for each in examine(problem, "paths").obstacles]
    assert found == ([] if why is None else [f"the variables of the states, 'x', never change: {why}"])


def test_variables_of_no_atom_or_with_an_axis_of_their_own_are_let_pass():
    problem = flat("x^2+y^2+z^2")
    nothing = LinearCombination("l", np.zeros((1, 3)))
    assert _why_kept(problem, nothing) == "" and _why_kept(problem, SimpleNamespace(named_atoms=(0,), axis="x")) == ""


def test_a_force_that_cannot_be_asked_far_away_is_left_alone(monkeypatch):
    monkeypatch.setattr(Probe, "forces", lambda self, displacement=0.0: _near_only(displacement))
    assert not unbound_motion(flat("x^2+y^2")).obstacles
    monkeypatch.setattr(Probe, "forces", lambda self, displacement=0.0: _near_only(1.0))
    with pytest.raises(ValueError, match="too far"):
        unbound_motion(flat("x^2+y^2"))


def _near_only(displacement):
    if np.abs(displacement).max() > 0.0:
        raise ValueError("too far")
    return np.array([[1.0, 1.0, 0.0]])
