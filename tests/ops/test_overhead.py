"""What path sampling costs beyond the integrator, on alanine dipeptide in water at ten steps a frame."""

import importlib.util
import time
from pathlib import Path

import numpy as np
import pytest

from openmm_rare.systems import build

SCRIPT = Path(__file__).parents[2] / "examples" / "validation" / "engine_overhead.py"


@pytest.fixture(scope="module")
def overhead():
    """The script that makes the table of the benchmarks, as a module."""
    spec = importlib.util.spec_from_file_location("engine_overhead", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_frames_cost_at_most_a_twentieth_more_than_their_steps(overhead, monkeypatch):
    """CPU time outside of the steps against that inside, which a busy machine slows alike."""
    n_frames, inside = 6, []
    engines = []
    make_engine = overhead.make_engine
    monkeypatch.setattr(overhead, "make_engine", lambda *arguments: engines.append(make_engine(*arguments)) or engines[-1])
    calls = overhead.variants(build("alanine_dipeptide"), n_frames, 10)
    integrator = engines[0][0].integrator
    step = integrator.step

    def timed(n_steps):
        before = time.process_time()
        step(n_steps)
        inside.append(time.process_time() - before)

    monkeypatch.setattr(integrator, "step", timed)
    for name in ("generate() of OpenPathSampling", "shoot() of the engine"):
        calls[name]()  # warm
        shares = []
        for _ in range(2):
            inside.clear()
            before = time.process_time()
            assert calls[name]() == n_frames == len(inside)
            shares.append((time.process_time() - before) / sum(inside) - 1.0)
        assert 0.0 < min(shares) < 0.05, (name, shares)


def test_the_table(overhead):
    """One row for each call, and the first one is the yardstick."""
    rows = overhead.measure({"one": lambda: sum(range(200000)) and 2, "two": lambda: sum(range(400000)) and 2}, 5)
    assert [row["variant"] for row in rows] == ["one", "two"]
    assert rows[0]["overhead"] == 0.0 and 0.3 < rows[1]["overhead"] < 3.0
    assert np.isfinite([row["standard_error"] for row in rows]).all() and rows[0]["ms_per_frame"] > 0.0
