"""A learned bias in a System of a user's own: averages with weights are the unbiased ones, and what is wrong is refused."""

import numpy as np
import openmm
import pytest
import torch
from openmm import unit

from openmm_rare import (
    BAOABLangevinIntegrator,
    BiasedLangevinIntegrator,
    BiasedOverdampedLangevinIntegrator,
    CommittorBias,
    CommittorEnsemble,
    CommittorModel,
    MultiStateModel,
    OverdampedLangevinIntegrator,
)
from openmm_rare.bias.force import why_not
from openmm_rare.bias.importance import TorchImportance
from openmm_rare.dynamics import native_integrator
from openmm_rare.systems import double_well_1d
from openmm_rare.units import KB
from stats import assert_within, mean_and_stderr

T, FRICTION, TIMESTEP, BARRIER = 900.0, 10.0, 0.01, 10.0
SPEC = {"kind": "coordinates", "columns": [0], "scale": 1.0}
COMPILED = not why_not("native", "Reference")  # without it a step takes fifty times as long


def model(slope=2.0, **options):
    """Logit slope times x, x in nm, of one particle."""
    made = CommittorModel(SPEC, 1, (), **options)
    with torch.no_grad():
        made.network[-1].weight.fill_(slope)
        made.network[-1].bias.zero_()
    return made


def system():
    """The particle in the quartic double well; along y and z it is free."""
    return double_well_1d.build(T, BARRIER).system


def context_of(made, integrator, x=-0.5):
    context = openmm.Context(made, integrator, openmm.Platform.getPlatformByName("Reference"))
    context.setPositions([[x, 0.0, 0.0]])
    return context


def place(context):
    return context.getState(positions=True).getPositions(asNumpy=True)._value[0, 0]


INTEGRATORS = {
    "LangevinMiddle": lambda: openmm.LangevinMiddleIntegrator(T, FRICTION, TIMESTEP),
    "Brownian": lambda: openmm.BrownianIntegrator(T, FRICTION, TIMESTEP),
    "BAOAB": lambda: BAOABLangevinIntegrator(T, FRICTION, TIMESTEP),
}


@pytest.mark.parametrize("name", INTEGRATORS if COMPILED else ["LangevinMiddle"])
def test_weighted_averages_of_a_biased_simulation_are_the_unbiased_ones(name):
    sums = []
    for seed in range(1, 17):
        made = system()
        bias = CommittorBias(made, model(), T)
        integrator = INTEGRATORS[name]()
        integrator.setRandomNumberSeed(seed)
        context = context_of(made, integrator, x=0.5 if seed % 2 else -0.5)
        context.setVelocitiesToTemperature(T, seed)
        rows = []
        for _ in range(1000 if COMPILED else 300):
            integrator.step(150)
            rows.append((bias.log_weight(context), place(context)))
        log_w, x = np.array(rows)[len(rows) // 10 :].T
        w = np.exp(log_w)
        sums.append([w.sum(), (w * (x > 0)).sum(), (x > 0).mean()])
    sums = np.array(sums)
    share = sums[:, 1].sum() / sums[:, 0].sum()
    residual = (sums[:, 1] - share * sums[:, 0]) / sums[:, 0].mean()  # of a ratio of means
    stderr = residual.std(ddof=1) / np.sqrt(len(sums))
    assert stderr < (0.04 if COMPILED else 0.08)
    assert_within(share, 0.5, stderr)
    unweighted, error = mean_and_stderr(sums[:, 2])
    with pytest.raises(AssertionError):  # negative control: the bias moves the particle to the right
        assert_within(unweighted, 0.5, error)
    x = np.linspace(-1.2, 1.2, 4001)
    density = np.exp(-double_well_1d.energy(x, BARRIER) / (KB * T)) / (1.0 + np.exp(-2.0 * x)) ** 2
    assert_within(unweighted, density[x > 0].sum() / density.sum(), error)


def paths(integrator_of, bias=None, made=None, n=2000, n_steps=30):
    """Ends and log weights of short paths from the left minimum, at rest."""
    integrator = integrator_of()
    integrator.setRandomNumberSeed(7)
    context, rows = context_of(made, integrator), []
    for _ in range(n):
        context.setPositions([[-0.5, 0.0, 0.0]])
        context.setVelocities([[0.0, 0.0, 0.0]])
        if bias is not None:
            bias.begin_path(context)
        integrator.step(n_steps)
        rows.append((place(context), 0.0 if bias is None else bias.log_path_weight(context)))
    return np.array(rows).T


@pytest.mark.parametrize(
    ("unbiased", "shifting", "n_steps"),
    [
        (OverdampedLangevinIntegrator, BiasedOverdampedLangevinIntegrator, 30),
        (BAOABLangevinIntegrator, BiasedLangevinIntegrator, 100),
    ],
    ids=["overdamped", "momenta"],
)
def test_weights_of_paths_have_mean_one_and_bring_back_the_unbiased_paths(unbiased, shifting, n_steps):
    plain = paths(lambda: unbiased(T, FRICTION, TIMESTEP, 1), made=system(), n_steps=n_steps)[0]
    made = system()
    bias = CommittorBias(made, model(), T, num_dimensions=1)
    x, log_w = paths(lambda: shifting(T, FRICTION, TIMESTEP, 1, bias_group=bias.group), bias, made, n_steps=n_steps)
    w = np.exp(log_w)
    mean, error = mean_and_stderr(w)
    assert w.std() > 0.05
    assert_within(mean, 1.0, error)
    (truth, its_error), (estimate, error) = mean_and_stderr(plain), mean_and_stderr(w * x)
    assert_within(estimate, truth, np.hypot(error, its_error))
    unweighted, error = mean_and_stderr(x)
    with pytest.raises(AssertionError):  # negative control
        assert_within(unweighted, truth, np.hypot(error, its_error))


@pytest.mark.parametrize("force", ["python", "native"])
@pytest.mark.parametrize("strength", [1.0, 0.4])
def test_the_energy_is_that_of_the_importance(force, strength):
    if force == "native" and (reason := why_not("native", "Reference")):
        pytest.skip(reason)
    made = system()
    bias = CommittorBias(made, model(), T * unit.kelvin, strength=strength, force=force)
    context = context_of(made, INTEGRATORS["LangevinMiddle"](), x=0.3)
    value, gradient = TorchImportance(model()).log_importance_gradient(np.array([[[0.3, 0.0, 0.0]]]))
    kt = KB * T
    assert bias.energy(context) == pytest.approx(-2.0 * strength * kt * value[0], rel=1e-5)
    assert bias.log_weight(context) == pytest.approx(-2.0 * strength * value[0], rel=1e-5)
    forces = context.getState(forces=True, groups={bias.group}).getForces(asNumpy=True)._value
    np.testing.assert_allclose(forces, 2.0 * strength * kt * gradient[0], rtol=1e-5)
    physical = context.getState(energy=True, groups={0}).getPotentialEnergy()._value
    assert physical == pytest.approx(double_well_1d.energy(0.3, BARRIER), rel=1e-9)


def test_force_groups_are_chosen_among_the_free_ones():
    made = system()
    other = openmm.CustomExternalForce("0")
    other.setForceGroup(31)
    made.addForce(other)
    first, second = CommittorBias(made, model(), T), CommittorBias(made, model(-1.0), T)
    assert (first.group, second.group) == (30, 29)
    context = context_of(made, INTEGRATORS["LangevinMiddle"](), x=0.3)
    assert first.energy(context) != second.energy(context) > 0.0
    for group in range(1, 29):
        force = openmm.CustomExternalForce("0")
        force.setForceGroup(group)
        made.addForce(force)
    with pytest.raises(ValueError, match="all force groups of the System are taken"):
        CommittorBias(made, model(), T)


def test_ensembles_bias_too():
    made, members = system(), [model(1.0), model(3.0)]
    bias = CommittorBias(made, CommittorEnsemble(members), T)
    context = context_of(made, INTEGRATORS["LangevinMiddle"](), x=0.3)
    p = np.mean([1.0 / (1.0 + np.exp(-slope * 0.3)) for slope in (1.0, 3.0)])
    assert bias.log_weight(context) == pytest.approx(-2.0 * np.log(p), rel=1e-6)


def periodic(n=2):
    made = openmm.System()
    made.setDefaultPeriodicBoxVectors(*(2.0 * np.eye(3)))
    force = openmm.NonbondedForce()
    force.setNonbondedMethod(openmm.NonbondedForce.CutoffPeriodic)
    force.setCutoffDistance(0.9)
    for _ in range(n):
        made.addParticle(40.0)
        force.addParticle(0.0, 0.3, 0.5)
    made.addForce(force)
    return made


def of_distance(**box):
    return CommittorModel({"kind": "pair_distances", **box}, 2, (4,))


def with_barostat():
    made = periodic()
    made.addForce(openmm.MonteCarloBarostat(1.0, T))
    return made


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CommittorBias(periodic(), model(), T), "the model is one of 1 atoms, the System has 2 particles"),
        (lambda: CommittorBias(system(), model(), -1.0), "temperature = -1.0 K must be positive"),
        (lambda: CommittorBias(system(), model(), 1.0 * unit.nanometer), "temperature"),
        (lambda: CommittorBias(system(), model(), T, strength=1.5), "strength = 1.5 must be above 0 and at most 1"),
        (lambda: CommittorBias(system(), model(), T, force="torch"), "force = 'torch' must be one of auto, native, python"),
        (lambda: CommittorBias(system(), "model.npz", T), "model must be a committor, as load_committor reads one, not str"),
        (lambda: CommittorBias(system(), MultiStateModel(SPEC, 1, "ABC"), T), "between 3 states is no bias"),
        (lambda: CommittorBias(periodic(), of_distance(), T), "without a periodic box between molecules"),
        (lambda: CommittorBias(periodic(), of_distance(box=[3.0] * 3), T), "has the box .*3.0.*, the System .*2.0"),
        (
            lambda: CommittorBias(system(), CommittorModel({"kind": "dihedrals", "atoms": [], "box": [2.0] * 3}, 1), T),
            "no periodic",
        ),
        (lambda: CommittorBias(with_barostat(), of_distance(box=[2.0] * 3), T), "MonteCarloBarostat changes the periodic box"),
    ],
)
def test_what_cannot_be_right_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("box", [[2.0, 2.0, 2.0], "none"])
def test_boxes_that_are_right_are_taken(box):
    made = periodic()
    bias = CommittorBias(made, of_distance(box=box), T)
    context = openmm.Context(made, INTEGRATORS["LangevinMiddle"](), openmm.Platform.getPlatformByName("Reference"))
    energies = []
    for x in (0.5, 2.5):
        context.setPositions([[0.0, 0.0, 0.0], [x, 0.0, 0.0]])
        energies.append(bias.energy(context))
    assert (energies[0] == pytest.approx(energies[1], rel=1e-5)) == (box != "none")


def test_weights_are_refused_where_they_would_not_be_right():
    made = system()
    bias = CommittorBias(made, model(), T)
    with pytest.raises(ValueError, match="the integrator has 300 K, the bias 900 K: give both the same"):
        bias.log_weight(context_of(made, openmm.LangevinMiddleIntegrator(300.0, 1.0, 0.001)))
    partial = INTEGRATORS["LangevinMiddle"]()
    partial.setIntegrationForceGroups({0})
    with pytest.raises(ValueError, match="leaves out the force group 31 of the bias"):
        bias.log_weight(context_of(made, partial))
    for shifting in (BiasedOverdampedLangevinIntegrator, BiasedLangevinIntegrator):
        with pytest.raises(ValueError, match="ask log_path_weight"):
            bias.log_weight(context_of(made, shifting(T, FRICTION, TIMESTEP, bias_group=bias.group)))
    other = context_of(made, BiasedOverdampedLangevinIntegrator(T, FRICTION, TIMESTEP, bias_group=2))
    for context in (other, context_of(made, INTEGRATORS["BAOAB"]())):
        with pytest.raises(ValueError, match="BiasedOverdampedLangevinIntegrator only, made with bias_group=31"):
            bias.log_path_weight(context)
        with pytest.raises(ValueError, match="only, made with bias_group=31"):
            bias.begin_path(context)
    with pytest.raises(ValueError, match="the Context is of a System without this bias"):
        bias.log_weight(context_of(system(), INTEGRATORS["BAOAB"]()))
    grouped = system()
    grouped.getForce(0).setForceGroup(3)
    bias = CommittorBias(grouped, model(), T)
    context = context_of(grouped, BiasedOverdampedLangevinIntegrator(T, FRICTION, TIMESTEP, bias_group=bias.group))
    with pytest.raises(ValueError, match="leaves out CustomExternalForce, which is in another force group"):
        bias.log_path_weight(context)
    if not why_not("native", "Reference"):
        native = native_integrator.BiasedOverdampedLangevinIntegrator(T, FRICTION, TIMESTEP, bias_group=bias.group)
        with pytest.raises(ValueError, match="shifts the noise"):
            bias.log_weight(context_of(made, native))
