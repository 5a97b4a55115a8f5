"""The noise of the native integrator on Reference and CPU: normal, independent, and the same wherever it is made."""

import os
import subprocess
import sys

import numpy as np
import openmm
import pytest
from scipy import stats

from openmm_rare.dynamics import native
from openmm_rare.dynamics.native_integrator import BiasedOverdampedLangevinIntegrator
from openmm_rare.units import KB
from stats import assert_within

pytestmark = pytest.mark.skipif(not native.plugin().available, reason="; ".join(native.plugin().problems))

TEMPERATURE, FRICTION, TIMESTEP, MASS = 300.0, 2.0, 0.01, 5.0
SPREAD = np.sqrt(2 * KB * TEMPERATURE * TIMESTEP / (FRICTION * MASS))
N = 100_000
STEPS = 4


def noise(n=N, steps=STEPS, seed=1, platform="Reference", properties=None):
    """Normal numbers in the order in which they were drawn: the moves of n free particles."""
    system = openmm.System()
    for _ in range(n):
        system.addParticle(MASS)
    integrator = BiasedOverdampedLangevinIntegrator(TEMPERATURE, FRICTION, TIMESTEP, n_walkers=n, seed=seed)
    context = openmm.Context(system, integrator, openmm.Platform.getPlatformByName(platform), properties or {})
    numbers = []
    for _ in range(steps):
        context.setPositions(np.zeros((n, 3)))
        integrator.step(1)
        numbers.append(context.getState(positions=True).getPositions(asNumpy=True)._value.ravel() / SPREAD)
    return np.concatenate(numbers)


@pytest.fixture(scope="module")
def numbers():
    return noise()


def assert_normal(numbers):
    assert stats.kstest(numbers, "norm").pvalue > 1e-6


def assert_moments(numbers):
    for order in range(1, 9):
        powers = numbers**order
        truth = stats.norm.moment(order)
        assert_within(powers.mean(), truth, np.sqrt((stats.norm.moment(2 * order) - truth**2) / len(numbers)))
    for limit in (3.0, 4.0):
        expected = 2 * stats.norm.sf(limit)
        assert_within((np.abs(numbers) > limit).mean(), expected, np.sqrt(expected / len(numbers)))


def correlations(numbers, lags):
    """Of each number with that so many places before it; the standard error is 1/sqrt(n)."""
    centered = (numbers - numbers.mean()) / numbers.std()
    return np.array([(centered[lag:] * centered[:-lag]).mean() for lag in lags])


def assert_independent(numbers):
    """Neither the numbers nor their squares, in which the pairs of a Box-Muller method would show."""
    lags = [*range(1, 300), 1024, 3 * N]
    for values in (numbers, numbers**2, np.sign(numbers)):
        assert_within(correlations(values, lags), 0.0, 1.0 / np.sqrt(len(numbers)))


def test_numbers_are_normal(numbers):
    assert_normal(numbers)
    assert_moments(numbers)
    for wrong in (1.01 * numbers, numbers + 0.01, np.clip(numbers, -3.0, 3.0)):  # negative controls
        with pytest.raises(AssertionError):
            assert_normal(wrong)
            assert_moments(wrong)


def test_numbers_are_independent(numbers):
    assert_independent(numbers)
    pairs = numbers.copy()
    pairs[8:] += 0.01 * pairs[:-8]
    with pytest.raises(AssertionError):  # negative control
        assert_independent(pairs)


def test_a_seed_makes_the_same_numbers_and_another_makes_others():
    assert np.array_equal(noise(1000), noise(1000))
    first, second = noise(20_000, seed=1), noise(20_000, seed=2)
    assert_within(correlations(np.concatenate([first, second]), [len(first)]), 0.0, np.sqrt(2.0 / len(first)))
    with pytest.raises(AssertionError):  # negative control
        assert_within(correlations(np.concatenate([first, first]), [len(first)]), 0.0, np.sqrt(2.0 / len(first)))


@pytest.mark.parametrize("threads", ["1", "3"])
def test_threads_change_nothing(threads):
    assert np.array_equal(noise(1000, platform="CPU", properties={"Threads": threads}), noise(1000))


@pytest.mark.parametrize("variant", ["baseline", "avx2", "avx512"])
def test_every_instruction_set_makes_the_same_numbers(variant):
    code = "import sys, test_native_noise as t; sys.stdout.buffer.write(t.noise(1000).tobytes())"
    environment = {**os.environ, "OPENMM_RARE_SIMD": variant, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True)
    if b"this machine runs:" in done.stderr:
        pytest.skip(f"this machine does not run {variant}")
    assert done.returncode == 0, done.stderr.decode()
    assert np.array_equal(np.frombuffer(done.stdout), noise(1000))
