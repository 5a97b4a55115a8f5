"""Bias forces by name: the same energy and forces as torch's autograd, on every platform that passes a trial."""

import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import openmm
import pytest
import torch
from openmm import unit

from openmm_rare.bias import force as bias_force
from openmm_rare.bias.bias import Bias
from openmm_rare.bias.force import FORCES, auto_force, check_force, make_bias_force, why_not
from openmm_rare.bias.importance import FastImportance, TorchImportance
from openmm_rare.bias.python_force import BIAS_GROUP, PythonBias
from openmm_rare.bias.torch_force import python_torch_force, torch_force
from openmm_rare.cli import doctor
from openmm_rare.committor.model import CommittorModel
from openmm_rare.dynamics.frames import Frames
from openmm_rare.systems import lj7
from openmm_rare.walkers.absorbing import absorbing_slots
from openmm_rare.walkers.backends import make_dynamics
from openmm_rare.walkers.machine import Machine
from openmm_rare.walkers.slots import SlotContext
from stats import assert_within, mean_and_stderr
from test_committor_force import DESCRIPTORS, N, case, context_of, differences, energy_and_forces, exact

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.trace:DeprecationWarning")

KT = 1.0  # so that the scale is that of `differences`


@pytest.fixture(params=FORCES)
def kind(request):
    """Name of a bias force, skipped with its reason where it does not pass its trial."""
    platform = request.getfixturevalue("platform") if "platform" in request.fixturenames else "Reference"
    if reason := why_not(request.param, platform):
        pytest.skip(f"{request.param} on {platform}: {reason}")
    return request.param


def from_tensors(function):
    """A force of OpenMM from a function of a tensor of positions that returns tensors of energy and forces."""

    def call(state):
        energy, forces = function(torch.tensor(state.getPositions(asNumpy=True)._value))
        return float(energy), forces.numpy()

    return openmm.PythonForce(call)


def imitated_torch_force(traced):
    def evaluate(positions):
        x = positions.requires_grad_()
        energy = traced(x)
        return energy.detach(), -torch.autograd.grad(energy, x)[0]

    return from_tensors(evaluate)


@pytest.fixture
def imitation(monkeypatch):
    """Stands for openmmtorch, with both of its forces, so that what is given to them is tested without it too."""
    forces = {
        "TorchForce": imitated_torch_force,
        "PythonTorchForce": lambda function: from_tensors(lambda positions: function(None, positions)),
    }
    monkeypatch.setitem(sys.modules, "openmmtorch", SimpleNamespace(**forces))


class Plane(torch.nn.Module):
    """ln I of a module that is no CommittorModel."""

    def __init__(self):
        super().__init__()
        self.normal = torch.nn.Parameter(torch.tensor([0.5, -1.0, 2.0]))

    def forward(self, positions):
        return torch.nn.functional.logsigmoid((positions[:, 0] * self.normal).sum(-1))


def compare(kind, importance, model, positions, num_dimensions, platform="Reference"):
    force = make_bias_force(kind, importance, positions[0], len(positions), KT)
    assert force.getForceGroup() == BIAS_GROUP
    result = energy_and_forces(context_of(force, positions, platform), positions.shape)
    return differences(result, *exact(model, positions, num_dimensions))


@pytest.mark.parametrize("name", DESCRIPTORS)
def test_energy_and_forces_are_those_of_torch(kind, name, platform):
    model, positions, num_dimensions = case(name)
    energy, forces = compare(kind, FastImportance(model, num_dimensions), model, positions, num_dimensions, platform)
    double = "torch" in kind and platform != "OpenCL"
    assert energy < 1e-6
    assert forces < (1e-9 if double else 1e-5)


@pytest.mark.parametrize("kind", ["torch", "python_torch"])
@pytest.mark.parametrize("name", DESCRIPTORS)
def test_what_openmmtorch_is_given(imitation, kind, name):
    model, positions, num_dimensions = case(name)
    for importance in (FastImportance(model, num_dimensions), FastImportance(model, num_dimensions).by_autograd()):
        assert max(compare(kind, importance, model, positions, num_dimensions)) < 1e-9
    with torch.no_grad():
        model.network[-1].weight[0, 0] += 1e-3  # negative control
    assert max(compare(kind, importance, model, positions, num_dimensions)) > 1e-7


def test_dihedrals_and_modules_of_the_user(kind):
    if kind == "native":
        pytest.skip("the plugin knows neither")
    positions = np.random.default_rng(5).normal(size=(N, 4, 3))
    model = CommittorModel({"kind": "dihedrals", "atoms": [[0, 1, 2, 3]]}, 4)
    assert max(compare(kind, FastImportance(model), model, positions, 3)) < 1e-5
    module = TorchImportance(Plane())
    result = energy_and_forces(context_of(make_bias_force(kind, module, positions[0], N, KT), positions), positions.shape)
    value = np.log(1.0 / (1.0 + np.exp(-positions[:, 0] @ [0.5, -1.0, 2.0])))
    gradient = np.zeros(positions.shape)
    gradient[:, 0] = (1.0 - np.exp(value))[:, None] * [0.5, -1.0, 2.0]
    assert max(differences(result, value, gradient)) < 1e-6


def test_a_walker_feels_only_its_own_positions(kind, platform):
    model, positions, num_dimensions = case("lj7")
    context = context_of(make_bias_force(kind, FastImportance(model, 2), positions[0], N, KT), positions, platform)
    _, before = energy_and_forces(context, positions.shape)
    positions[3] += np.random.default_rng(3).normal(scale=0.02, size=(7, 3)) * [1.0, 1.0, 0.0]
    context.setPositions(positions.reshape(-1, 3))
    _, after = energy_and_forces(context, positions.shape)
    others = np.arange(N) != 3
    np.testing.assert_allclose(after[others], before[others], rtol=0.0, atol=1e-6 * np.abs(before).max())
    assert np.abs(after[3] - before[3]).max() > 1e-3 * np.abs(before[3]).max()


def lj7_bias(kind):
    target = lj7.build()
    torch.manual_seed(4)
    model = CommittorModel(target.descriptor, 7)
    model.standardize(target.positions + np.random.default_rng(1).normal(scale=0.02, size=(300, 7, 3)) * [1.0, 1.0, 0.0])
    with torch.no_grad():
        model.network[-1].weight *= 60.0  # shifts of some tenths of a standard deviation
    return target, Bias(FastImportance(model, target.num_dimensions), 0.5, force=kind)


def moved_slots(kind, backend, platform, n_slots, n_steps, observer=None):
    """Slots after some steps from scattered positions: where distances are alike, their order is a matter of rounding."""
    if backend == "native" and (reason := why_not("native", platform)):
        pytest.skip(f"the native integrator on {platform}: {reason}")
    target, bias = lj7_bias(kind)
    slots = SlotContext(target, n_slots, Machine(platform, backend), 7, bias, observer)
    noise = np.random.default_rng(2).normal(scale=0.01, size=(n_slots, 7, 3)) * [1.0, 1.0, 0.0]
    slots.set_positions(target.positions + noise)
    slots.step(n_steps)
    return slots


@pytest.mark.parametrize("backend", ["native", "custom_integrator"])
def test_weights_have_mean_one(kind, backend, platform):
    log_weights = moved_slots(kind, backend, platform, 2000, 20).log_weights()
    assert log_weights.std() > 0.3
    mean, stderr = mean_and_stderr(np.exp(log_weights))
    assert_within(mean, 1.0, stderr)
    mean, stderr = mean_and_stderr(np.exp(2.0 * log_weights))
    with pytest.raises(AssertionError):  # negative control
        assert_within(mean, 1.0, stderr)


@pytest.mark.parametrize("backend", ["native", "custom_integrator"])
def test_walkers_go_the_same_way_with_every_force(kind, backend):
    slots, reference = (moved_slots(force, backend, "Reference", 20, 10) for force in (kind, "python"))
    np.testing.assert_allclose(slots.positions(), reference.positions(), atol=1e-6)
    np.testing.assert_allclose(slots.log_weights(), reference.log_weights(), atol=1e-4)
    assert np.abs(reference.log_weights()).max() > 0.3


@pytest.mark.parametrize("backend", ["native", "custom_integrator"])
def test_walkers_left_out_keep_their_weights(kind, backend, platform):
    seen = []

    def observer(positions):
        seen.append(positions)
        return np.arange(20) if len(seen) <= 3 else np.arange(0, 20, 2)

    slots = moved_slots(kind, backend, platform, 20, 3, observer)
    before = slots.log_weights().copy()
    slots.step(3)
    unchanged = slots.log_weights() == before
    assert len(seen) == 6 and unchanged[1::2].all() and not unchanged[::2].any()


def test_slots_absorb_walkers_alike_with_every_force(kind):
    if reason := why_not("native", "Reference"):
        pytest.skip(f"the native integrator: {reason}")
    start = lj7.build().positions + np.random.default_rng(2).normal(scale=0.04, size=(40, 7, 3)) * [1.0, 1.0, 0.0]
    ends = []
    for force in (kind, "python"):
        target, bias = lj7_bias(force)
        slots = absorbing_slots(target, 40, Machine("Reference", "native"), 7, bias)
        ends.append(slots.advance(Frames(start), np.zeros(40, dtype=np.int64), 20))
    moved, reference = ends
    assert 5 < (moved.status > 0).sum() < 35
    np.testing.assert_array_equal(moved.status, reference.status)
    np.testing.assert_array_equal(moved.steps, reference.steps)
    np.testing.assert_allclose(moved.log_weights, reference.log_weights, atol=1e-3)


def test_python_is_what_runs_the_backend_python():
    target, bias = lj7_bias("python")
    assert type(make_dynamics(target, 2, 1, bias)).__name__ == "HostNoiseDynamics"
    if not why_not("native", "Reference"):
        target, bias = lj7_bias("native")
        assert type(make_dynamics(target, 2, 1, bias)).__name__ == "CustomIntegratorDynamics"


def test_auto_takes_the_plugin_where_it_knows_the_features():
    assert auto_force(FastImportance(CommittorModel({"kind": "pair_distances"}, 3))) == "native"
    assert auto_force(FastImportance(CommittorModel({"kind": "dihedrals", "atoms": [[0, 1, 2, 3]]}, 4))) == "python"
    assert auto_force(TorchImportance(Plane())) == "python"


# --------------------------------------------------------------------------------------------------------- refusals


class Module(torch.nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, positions):
        return self.function(positions)


BAD_MODULES = {
    "one number for all": (lambda x: x.sum(), r"must return ln I of shape \(4,\) for as many walkers; it returned \(\)"),
    "a column": (lambda x: x[:, 0, :1], r"it returned \(4, 1\)"),
    "no tensor": (lambda x: 1.0, "it returned float"),
    "coupled": (lambda x: x[:, 0, 0] - x[:, 0, 0].mean(), "ln I of every walker by itself"),
    "single precision": (lambda x: x[:, 0] @ torch.ones(3), r"does not take positions of shape \(4, 3, 3\) in double"),
    "another shape": (lambda x: x[:, 5, 0], "does not take positions"),
}


@pytest.mark.parametrize("make", [torch_force, python_torch_force])
@pytest.mark.parametrize("name", BAD_MODULES)
def test_modules_that_do_not_fit_are_refused(imitation, make, name):
    function, complaint = BAD_MODULES[name]
    with pytest.raises(ValueError, match=complaint):
        make(Module(function), np.zeros((3, 3)), 4, -2.0)


def test_modules_that_cannot_be_traced_are_refused(imitation):
    branching = Module(lambda x: x[:, 0, 0] if float(x[0, 0, 0].detach()) > 0.0 else 2.0 * x[:, 0, 0])
    with pytest.warns(torch.jit.TracerWarning), pytest.raises(ValueError, match="differs from the module at other positions"):
        torch_force(branching, np.zeros((3, 3)), 1, -2.0)
    assert python_torch_force(branching, np.zeros((3, 3)), 1, -2.0).getForceGroup() == 0


@pytest.mark.parametrize("make", [torch_force, python_torch_force])
@pytest.mark.parametrize(
    ("importance", "positions", "n_walkers", "scale", "complaint"),
    [
        (object(), np.zeros((3, 3)), 4, -2.0, "needs a torch module that returns ln I, or a FastImportance, not object"),
        (Plane(), np.zeros((3, 3)), 0, -2.0, "n_walkers = 0 must be at least 1"),
        (Plane(), np.zeros((4, 3, 3)), 4, -2.0, r"positions have shape \(4, 3, 3\); allowed: \(n_atoms, 3\)"),
        (Plane(), np.zeros((3, 3)), 4, 2.0 * unit.nanometer, "scale"),
        (Plane(), np.zeros((3, 3)), 4, np.nan, "scale"),
    ],
)
def test_bad_arguments_are_named(imitation, make, importance, positions, n_walkers, scale, complaint):
    with pytest.raises(ValueError, match=complaint):
        make(importance, positions, n_walkers, scale)


def test_unknown_forces_and_importance_functions_are_refused():
    with pytest.raises(ValueError, match="'jax' is unknown; choose auto or one of native, python, torch, python_torch"):
        Bias(TorchImportance(Plane()), force="jax")
    with pytest.raises(ValueError, match=r"is a Plane, which has no log_importance_gradient; .*TorchImportance\(module\)"):
        Bias(Plane())
    with pytest.raises(ValueError, match="native needs a FastImportance, not TorchImportance; choose the force python"):
        make_bias_force("native", TorchImportance(Plane()), np.zeros((3, 3)), 4, KT)


@pytest.mark.parametrize("make", [torch_force, python_torch_force])
def test_openmmtorch_is_missing(monkeypatch, make):
    monkeypatch.setitem(sys.modules, "openmmtorch", None)
    with pytest.raises(ImportError, match=r"needs openmmtorch, .*pip install .*torch==2\.9\.0 openmmtorch==1\.5"):
        make(Plane(), np.zeros((3, 3)), 4, -2.0)
    assert why_not.__wrapped__("torch", "Reference").startswith("openmmtorch is not installed. In an environment of its own")


def test_a_release_of_openmmtorch_has_no_python_torch_force(monkeypatch):
    monkeypatch.setitem(sys.modules, "openmmtorch", SimpleNamespace())
    with pytest.raises(ImportError, match="has no PythonTorchForce"):
        python_torch_force(Plane(), np.zeros((3, 3)), 4, -2.0)


# ----------------------------------------------------------------------------------------------------------- trials


def test_a_trial_that_kills_its_process_is_a_reason(monkeypatch):
    monkeypatch.setattr(bias_force.importlib.util, "find_spec", lambda name: object())
    died = subprocess.CompletedProcess([], 127, "", "first\nsymbol lookup error: undefined symbol\n")
    monkeypatch.setattr(bias_force.subprocess, "run", lambda *arguments, **options: died)
    reason = why_not.__wrapped__("torch", "OpenCL")
    assert reason.startswith("A trial ended its process with status 127 (symbol lookup error: undefined symbol): ")


def test_a_trial_finds_wrong_forces(monkeypatch):
    assert why_not.__wrapped__("python", "Reference") == ""
    monkeypatch.setattr(bias_force, "PythonBias", lambda importance, kt, *others: PythonBias(importance, 1.0001 * kt, *others))
    assert "differ from those of torch by 0.0001" in why_not.__wrapped__("python", "Reference")


def test_a_force_that_fails_its_trial_is_refused(monkeypatch):
    monkeypatch.setattr(bias_force, "why_not", lambda kind, platform: "It is broken.")
    with pytest.raises(ValueError, match="torch cannot be used on platform CPU: It is broken. Or choose the force python"):
        check_force("torch", "CPU")
    check_force("auto", "CPU")
    target, bias = lj7_bias("torch")
    with pytest.raises(ValueError, match="It is broken"):
        SlotContext(target, 2, Machine("CPU", "python"), 1, bias)


def test_doctor_says_which_forces_work(monkeypatch):
    monkeypatch.setattr(doctor, "why_not", lambda kind, platform: "Broken." if kind == "torch" or platform != "CPU" else "")
    rows = dict(doctor.diagnose())["Bias forces"]
    assert ("python", "works on CPU") in rows and ("torch", "works on no platform") in rows
    assert any(label == "problem" and text.startswith("Reference, CPU") and text.endswith(": Broken.") for label, text in rows)
