"""What is known by other means stands beside what is computed, and never beside another problem."""

from dataclasses import replace

import numpy as np
import pytest

from openmm_rare.committor.model import CommittorModel
from openmm_rare.io.run_file import RunFile
from openmm_rare.systems import BUILDERS, build
from openmm_rare.systems.known_rates import reference_of
from openmm_rare.workflow.finishing import _record_plane


@pytest.mark.parametrize("name", BUILDERS)
def test_what_is_known_is_known_of_the_problem_as_it_was_built(name):
    problem = build(name)
    known = reference_of(problem)
    assert (known is not None) == (name in ("double_well_1d", "two_channel_2d", "rugged_14d", "lj7", "langevin_well"))
    if known is not None:
        assert 0.0 < known.rate(problem.temperature) and (known.plane is not None) == (name == "two_channel_2d")
        assert reference_of(replace(problem, temperature=2.0 * problem.temperature)) is known
        assert reference_of(replace(problem, friction=2.0 * problem.friction)) is None  # negative control
        assert reference_of(replace(problem, name="mine")) is None


def test_the_exact_solution_in_the_plane_is_recorded_once(tmp_path):
    problem, run = build("two_channel_2d"), RunFile.create(tmp_path / "run.nc")
    model = CommittorModel(problem.descriptor_spec(), 1, temperature=problem.temperature)
    known = reference_of(problem)
    for _ in range(2):
        _record_plane(run, problem, model, known)
    (record,) = run.load("plane")
    assert record["exact"].shape == record["learned"].shape == (len(record["x"]), len(record["y"]))
    shown = np.isfinite(record["learned"])
    assert (np.isfinite(record["exact"]) == shown).all() and shown.sum() > 1000 and (record["exact"][shown] < 0.0).all()
    _record_plane(RunFile.create(tmp_path / "none.nc"), problem, model, None)
    assert not RunFile.open(tmp_path / "none.nc").kinds


def test_what_is_known_of_a_well_with_momentum_follows_its_parameters():
    high, low = (reference_of(build("langevin_well", barrier=height, friction=20.0)) for height in (8.0, 5.0))
    temperature = build("langevin_well").temperature
    assert high.rate(temperature) == pytest.approx(1.0724e-4, rel=3e-3)  # from a finer grid
    assert low.rate(temperature) > 10.0 * high.rate(temperature)
    assert reference_of(build("langevin_well", bath=True)) is None
