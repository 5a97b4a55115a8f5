"""What is tried on a platform, each check in a process of its own: python checks.py NAME WHERE.json OUTCOME.json"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from xml.etree import ElementTree

from verdicts import Failed, Outcome, Skipped, Where

__all__ = ["CHECKS", "main"]

_ROOT = Path(__file__).resolve().parents[3]
_TESTS = ("tests/dynamics/test_native_integrator.py", "tests/bias/test_committor_force.py")
_TRUTHS = {True: (0.405, 0.012), False: (2.953, 0.035)}
"""1/ps, by brute force (docs/benchmarks.md): full at 600 K, small at kT = 0.2 epsilon."""

Check = Callable[[Where], tuple[str, dict]]


def platforms(where: Where) -> tuple[str, dict]:
    """Versions, and which platform works on which device; the others with the reason why they do not."""
    import numpy
    import openmm
    import torch

    from openmm_rare.dynamics import native

    found, reasons = {}, {}
    system = openmm.System()
    system.addParticle(1.0)
    for number in range(openmm.Platform.getNumPlatforms()):
        platform = openmm.Platform.getPlatform(number)
        try:
            context = openmm.Context(system, openmm.VerletIntegrator(0.001), platform)
            names = platform.getPropertyNames()
            found[platform.getName()] = platform.getPropertyValue(context, "DeviceName") if "DeviceName" in names else ""
        except openmm.OpenMMException as error:
            reasons[platform.getName()] = str(error)
    for failure in openmm.Platform.getPluginLoadFailures():
        for name in ("CUDA", "OpenCL", "HIP"):
            if f"OpenMM{name}" in failure or f"lib{name}" in failure:
                reasons.setdefault(name, failure.strip())
    plugin = native.plugin()
    versions = {"openmm": openmm.version.short_version, "torch": torch.__version__, "numpy": numpy.__version__}
    about = {"works": found, "reasons": reasons, "native": list(plugin.platforms), "problems": list(plugin.problems)}
    if not plugin.platforms:
        raise Failed("the native plugin is not there: " + " ".join(plugin.problems))
    devices = ", ".join(f"{name} ({device})" if device else name for name, device in found.items())
    return f"{devices}; plugin on {', '.join(plugin.platforms)}", about | {"versions": versions}


def doctor(where: Where) -> tuple[str, dict]:
    """What evaluates the bias on the platform."""
    from openmm_rare.bias.force import FORCES, why_not

    reasons = {force: why_not(force, where.platform) for force in FORCES}
    working = [force for force, reason in reasons.items() if not reason]
    if "native" not in working:
        raise Failed(f"no native bias: {reasons['native']}")
    return f"bias forces: {', '.join(working)}", {"reasons": reasons}


def plugin_tests(where: Where) -> tuple[str, dict]:
    """Tests of the integrator and the bias of the plugin, those of this precision; small: the ones of weights and forces."""
    if find_spec("pytest") is None:
        raise Skipped("pytest is not installed")
    chosen = {"single": "single", "double": "double", "mixed": "not single and not double"}[where.precision]
    chosen = f"{where.platform} and {chosen}"
    if not where.full:
        chosen += " and (one_step or weights_are_exact or every_precision or energy_and_forces)"
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        options = ["-q", "-p", "no:cacheprovider", f"--junitxml={report}", "-k", chosen]
        done = subprocess.run([sys.executable, "-m", "pytest", *options, *_TESTS], cwd=_ROOT, capture_output=True, text=True)
        if not report.exists():
            raise Failed((done.stdout + done.stderr).strip()[-300:])
        suite = ElementTree.parse(report).getroot().find("testsuite")
    failed = [case.get("name") for case in suite.iter("testcase") if case.find("failure") is not None]
    failed += [case.get("name") for case in suite.iter("testcase") if case.find("error") is not None]
    n, skipped = int(suite.get("tests")), int(suite.get("skipped"))
    if failed or done.returncode:
        raise Failed(f"{len(failed)} of {n} fail: {', '.join(failed[:4])}" if failed else done.stdout.strip()[-200:])
    if n == skipped:
        raise Failed("no test ran")
    return f"{n - skipped} tests pass" + (f", {skipped} skipped" if skipped else ""), {"passed": n - skipped}


def lj7_rate(where: Where) -> tuple[str, dict]:
    """The rate of seven discs, trained and weighted, 10 % at 600 K; small: counted, 25 % at kT = 0.2 epsilon, since training
    takes a processor minutes."""
    from openmm_rare import BruteForceRate, ImportanceSamplingRate, Machine, RateSettings, Silent
    from openmm_rare.systems import lj7

    options = {"seed": 1, "machine": Machine(where.platform, precision=where.precision), "progress": Silent()}
    begun = time.perf_counter()
    if where.full:
        run = ImportanceSamplingRate(lj7.build(temperature=600.0), target_error=0.1, **options)
    else:
        few = RateSettings(flux_walkers=300, flux_steps=300)
        run = BruteForceRate(lj7.build(kt_over_epsilon=0.2), few, target_error=0.25, **options)
    found = run.run()
    took, (truth, its_error) = time.perf_counter() - begun, _TRUTHS[where.full]
    low, high = (math.log(value) for value in found.rate_ci95)
    error = math.hypot((high - low) / (2 * 1.96), its_error / truth)
    sigmas = ((low + high) / 2 - math.log(truth)) / error
    figure = f"k = {found.rate_per_ps:.3g} ± {found.rate_stderr:.1g} 1/ps, truth {truth:.3g} ± {its_error:.1g}"
    figure += f" ({sigmas:+.1f} sigma), {found.walker_steps / 1e6:.1f} M steps in {took:.0f} s"
    numbers = {"rate_per_ps": found.rate_per_ps, "sigmas": sigmas, "walker_steps": found.walker_steps, "wall_seconds": took}
    if abs(sigmas) > 4.0:
        raise Failed(figure)
    return figure, numbers


def alanine_paths(where: Where) -> tuple[str, dict]:
    """Trials of two-way shooting of alanine dipeptide in water; small: without the water, from the same path."""
    if find_spec("openpathsampling") is None:
        raise Skipped("OpenPathSampling is not installed")
    if not where.full and where.platform not in ("Reference", "CPU"):
        raise Skipped("for GPUs, or --full: where a processor imitates one, kernels are compiled for minutes")
    import numpy as np

    from openmm_rare import Machine, PathSampling, PathSettings, Silent
    from openmm_rare.systems import alanine_dipeptide, build

    problem = build("alanine_dipeptide", **({} if where.full else {"solvent": "none"}))
    n_trials = 40 if where.full else 2
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "path.npz"
        np.savez(path, positions=alanine_dipeptide.initial_path()[:, : len(problem.positions)])
        settings = PathSettings(trials=n_trials, chains=1, processes=1, initial_path=str(path))
        machine = Machine(where.platform, precision=where.precision)
        begun = time.perf_counter()
        found = PathSampling(problem, settings, seed=1, machine=machine, progress=Silent()).run()
    took, trials = time.perf_counter() - begun, int(found.result["trials"])
    figure = f"{trials} trials, {found.result['accepted']} accepted, {took / trials:.2f} s each"
    if trials < n_trials or not np.isfinite(found.shots.positions).all():
        raise Failed(figure)
    return figure, {"trials": trials, "seconds_per_trial": took / trials}


def _found(name: str) -> Check:
    """The check of this name; those of walkers and Contexts are loaded with NumPy and OpenMM."""
    if name in CHECKS:
        return CHECKS[name]
    import measured

    return measured.CHECKS[name]


CHECKS: dict[str, Check] = {each.__name__: each for each in (platforms, doctor, plugin_tests, lj7_rate, alanine_paths)}
"""The checks of this module by name."""


def main(name: str, where: str, out: str) -> None:
    """Try it, and write what it came to."""
    try:
        figure, numbers = _found(name)(Where(**json.loads(Path(where).read_text(encoding="utf8"))))
        outcome = Outcome("pass", figure, numbers)
    except Skipped as reason:
        outcome = Outcome("skipped", str(reason))
    except Failed as reason:
        outcome = Outcome("FAIL", " ".join(str(reason).split()))
    except Exception as error:
        traceback.print_exc()
        outcome = Outcome("FAIL", " ".join(f"{type(error).__name__}: {error}".split())[:300])
    Path(out).write_text(json.dumps(asdict(outcome)), encoding="utf8")


if __name__ == "__main__":
    main(*sys.argv[1:])
