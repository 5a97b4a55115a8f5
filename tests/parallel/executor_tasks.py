"""Tasks for test_executors.py, in a module that processes can import."""

import os
import time

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
