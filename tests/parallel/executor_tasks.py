"""Tasks for tests of executors, in a module that processes can import."""

import os
import signal
import time
from pathlib import Path

import numpy as np

from openmm_rare.errors import DynamicsError
from openmm_rare.parallel.executors import SentOnce

made = []


def where(number, wait=0.0):
    """The process that computes."""
    time.sleep(wait)
    return number, os.getpid()


class Common(SentOnce):
    """Counts how often a process has made one."""

    def __init__(self, numbers):
        self.numbers = numbers

    def __setstate__(self, state):
        raise AssertionError("it is made by itself")


def sum_of(common, number):
    """Something of what tasks have in common, and whether this process has met the same object before."""
    known = bool(made) and made[-1] is common
    made.append(common)
    return sum(common.numbers) + number, known


def failing(number):
    """One of them fails."""
    if number == 1:
        raise ValueError("number 1")
    time.sleep(0.1)
    return number


def breaking(number):
    """Dynamics that breaks down."""
    raise DynamicsError(f"NaN in {number}")


def noise(seed, n):
    """Random numbers that depend on the task alone."""
    return np.random.default_rng(seed).normal(size=n)


def noise_and_death(folder, seed, n, deaths=1):
    """The same, in a process that is killed in the middle of a task the first times; says who began it."""
    begun = Path(folder, f"begun-{seed}.txt")
    with begun.open("a") as log:
        log.write(f"{os.getpid()}\n")
    if len(begun.read_text().split()) <= deaths:
        os.kill(os.getpid(), signal.SIGKILL)
    return noise(seed, n)


def greedy(number):
    """Takes more memory than there is for a worker."""
    taken = []
    while True:
        taken.append(np.ones(2_000_000))
        time.sleep(0.01)


def leaving():
    """Ends its process by itself."""
    os._exit(3)


def device_of_a_context():
    """Where a Context of this process computes that says nothing about it."""
    import openmm

    from openmm_rare.walkers.machine import Machine

    system = openmm.System()
    system.addParticle(1.0)
    context = Machine("OpenCL", "python").context(system, openmm.VerletIntegrator(0.001))
    return context.getPlatform().getPropertyValue(context, "DeviceIndex")
