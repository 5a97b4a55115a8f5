"""What tests have done in a process of its own: a module that imports nothing heavy."""

import ctypes
import os

import numpy as np


def crash():
    ctypes.string_at(0)


def never_end():
    while True:
        pass


def take_memory():
    return {"array": np.ones(10**9)}


def fail():
    raise KeyError("in two\nlines")


def leave():
    os._exit(3)


def talk(number):
    os.write(1, b"libraries print what they like\n")
    print(number)
    return {
        "number": number,
        "none": None,
        "array": np.arange(6.0).reshape(2, 3),
        "scalar": np.array(2.5),
        "empty": np.zeros((0, 3)),
    }
