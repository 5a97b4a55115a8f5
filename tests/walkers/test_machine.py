"""The machine is chosen once: what cannot be used is refused when it is made, and what is made can be used."""

import pickle
from dataclasses import FrozenInstanceError, replace

import openmm
import pytest

from openmm_rare import BruteForceRate, ImportanceSamplingRate
from openmm_rare.dynamics import native
from openmm_rare.settings.rates import RateSettings
from openmm_rare.systems import double_well_1d
from openmm_rare.walkers import machine as module
from openmm_rare.walkers.machine import BACKENDS, Machine


def properties(machine):
    system = openmm.System()
    system.addParticle(1.0)
    context = machine.context(system, openmm.VerletIntegrator(0.001))
    platform = context.getPlatform()
    return platform.getName(), {name: platform.getPropertyValue(context, name) for name in platform.getPropertyNames()}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"platform": "Quantum"}, "'Quantum' is not available here; this machine has Reference"),
        ({"backend": "abacus"}, "'abacus' is unknown; choose one of native, python, custom_integrator, or auto"),
        ({"threads": -1}, "threads = -1"),
        ({"precision": "half"}, "'half' is unknown; choose one of single, mixed, double"),
    ],
)
def test_what_does_not_exist_is_refused(arguments, said):
    with pytest.raises(ValueError, match=said):
        Machine(**arguments)
    with pytest.raises(ValueError, match=said):
        replace(Machine(), **arguments)


def test_the_fastest_backend_is_found(monkeypatch):
    expected = "native" if "Reference" in native.plugin().platforms else "python"
    assert Machine().backend == Machine.choose().backend == Machine.choose("Reference", "auto").backend == expected
    monkeypatch.setattr(module, "_native_problem", lambda platform: "kernels are broken.")
    assert Machine().backend == "python"
    with pytest.raises(ValueError, match="native backend cannot be used on platform Reference: kernels are broken. Or choose"):
        Machine("Reference", "native")


def test_a_given_machine_is_taken_as_it_is():
    given = Machine("CPU", "python", threads=2)
    assert Machine.choose(given) is given and Machine.choose(given, "python") is given
    with pytest.raises(ValueError, match="backend = 'custom_integrator', but the given machine has 'python'"):
        Machine.choose(given, "custom_integrator")
    assert pickle.loads(pickle.dumps(given)) == given != given.one_thread
    with pytest.raises(FrozenInstanceError):
        given.platform = "Reference"


def test_contexts_have_the_threads_and_the_precision(platform):
    name, found = properties(Machine(platform, "python", threads=1))
    assert name == platform and found.get("Threads", "1") == "1" and found.get("Precision", "mixed") == "mixed"
    if platform == "CPU":  # negative control
        assert properties(Machine("CPU", "python", threads=2))[1]["Threads"] == "2"
    if "Precision" in found:
        assert properties(Machine(platform, "python", precision="single"))[1]["Precision"] == "single"


@pytest.mark.parametrize("rate", [ImportanceSamplingRate, BruteForceRate])
def test_a_rate_takes_a_machine_or_the_name_of_a_platform(rate):
    problem = double_well_1d.build(temperature=900.0)
    for backend in BACKENDS[1:]:
        assert rate(problem, RateSettings(backend=backend)).machine == Machine("Reference", backend)
        run = rate(problem, machine=Machine("CPU", backend))
        assert (run.machine.platform, run.settings.backend) == ("CPU", backend)
    assert rate(problem, machine="CPU").machine.platform == "CPU"
    with pytest.raises(ValueError, match="the given machine has 'python'"):
        rate(problem, RateSettings(backend="custom_integrator"), machine=Machine("Reference", "python"))
