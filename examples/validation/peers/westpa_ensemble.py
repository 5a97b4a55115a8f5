"""The weighted ensemble as WESTPA 2022 runs it: its resampling, its recycling, its files; walkers of ours, bins of the problem.

The progress coordinate of a segment has progress first and all positions after it, so that a segment begins where its parent
ended without further files.
"""

from __future__ import annotations

import os
import sys
import tempfile
from argparse import Namespace
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path

import h5py
import numpy as np
import westpa
from forward_flux import Found
from problems import PeerProblem
from weighted_ensemble import steady_rate
from westpa.core.binning import FuncBinMapper
from westpa.core.propagators import WESTPropagator
from westpa.core.segment import Segment
from westpa.core.states import BasisState, TargetState
from westpa.core.systems import WESTSystem
from westpa.work_managers import SerialWorkManager

from openmm_rare.dynamics.frames import Frames
from openmm_rare.states.states import IN_B
from openmm_rare.walkers.machine import Machine
from openmm_rare.walkers.population import Walkers
from openmm_rare.walkers.propagator import Propagator

__all__ = ["NativeWalkers", "OneProblem", "westpa_ensemble"]

_ARRIVED = 1e9  # progress of those that have come to B
_CONFIGURATION = """
west:
  system: {{driver: westpa_ensemble.OneProblem}}
  propagation:
    max_total_iterations: {iterations}
    propagator: westpa_ensemble.NativeWalkers
    gen_istates: false
    block_size: 1000000
  data: {{west_data_file: west.h5, datasets: []}}
"""


class _Now:
    """What WESTPA, which makes its objects from names in a file, cannot be told: the problem, and what moves its walkers."""

    problem: PeerProblem
    propagator: Propagator
    steps: int


def _assign(coords: np.ndarray, mask: np.ndarray, output: np.ndarray, edges: np.ndarray) -> None:
    """Bins by progress; WESTPA pickles this function."""
    output[mask] = np.searchsorted(edges, coords[mask, 0], side="right")


class OneProblem(WESTSystem):
    """The bins of the problem, and one more for B."""

    def initialize(self) -> None:
        """As WESTPA calls it."""
        problem = _Now.problem
        edges = np.append(problem.bins, 0.5 * _ARRIVED)
        self.pcoord_ndim, self.pcoord_len, self.pcoord_dtype = 1 + problem.walkers.positions.size, 2, np.float64

        self.bin_mapper = FuncBinMapper(_assign, len(edges) + 1, kwargs={"edges": edges})
        self.bin_target_counts = [problem.per_bin] * (len(edges) + 1)


class NativeWalkers(WESTPropagator):
    """Segments moved by the native integrator until they have come to B, at most tau steps."""

    def get_pcoord(self, state: BasisState) -> None:
        """As WESTPA calls it: all begin at the one structure in A."""
        positions = _Now.problem.walkers.positions
        state.pcoord = np.append(_Now.problem.progress(positions[None]), positions)

    def propagate(self, segments: Sequence[Segment]) -> Sequence[Segment]:
        """As WESTPA calls it."""
        problem, begins = _Now.problem, np.array([segment.pcoord[0, 1:] for segment in segments])
        frames = Frames(begins.reshape(len(segments), -1, 3))
        block = _Now.propagator.advance(Walkers.start(frames, np.arange(len(frames))), problem.tau)
        _Now.steps += block.walker_steps
        positions = block.walkers.frames.positions
        progress = np.where(block.status == IN_B, _ARRIVED, problem.progress(positions))
        for segment, value, place in zip(segments, progress, positions, strict=True):
            segment.pcoord[-1] = np.append(value, place)
            segment.status = Segment.SEG_STATUS_COMPLETE
        return segments


def westpa_ensemble(problem: PeerProblem, effort: float, seed: int) -> Found:
    """As :func:`weighted_ensemble.weighted_ensemble`, whose error bar this is too."""
    noise, *choices = np.random.SeedSequence(seed).spawn(3)
    iterations, before = max(20, round(effort * problem.iterations)), Path.cwd()
    slots = (len(problem.bins) + 2) * problem.per_bin
    _Now.problem, _Now.steps = problem, 0
    _Now.propagator = Propagator(problem.only_b, None, slots, Machine(), noise)
    sys.path.append(str(Path(__file__).parent))
    with tempfile.TemporaryDirectory() as folder, open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
        os.chdir(folder)
        try:
            Path("west.cfg").write_text(_CONFIGURATION.format(iterations=iterations), encoding="utf8")
            _run([np.random.default_rng(each) for each in choices])
            flux = _recycled(Path("west.h5"), iterations)
        finally:
            os.chdir(before)
    return steady_rate(flux / (problem.tau * problem.walkers.timestep), _Now.steps)


def _run(generators: Sequence[np.random.Generator]) -> None:
    """What w_init and w_run do."""
    rc = westpa.rc = westpa.core._rc.WESTRC()
    rc.process_args(Namespace(verbosity="quiet", rcfile="west.cfg"))
    rc.work_manager = SerialWorkManager()
    manager, driver, system = rc.get_sim_manager(), rc.get_we_driver(), rc.get_system_driver()
    manager.rng, driver.rng = generators
    manager.data_manager.system = driver.system = manager.system = system
    target = TargetState("B", np.append(_ARRIVED, np.zeros(system.pcoord_ndim - 1)))
    manager.initialize_simulation([BasisState("A", 1.0)], [target], [], segs_per_state=_Now.problem.per_bin)
    with rc.work_manager:
        manager.load_plugins()
        manager.prepare_run()
        manager.run()
        manager.finalize_run()


def _recycled(path: Path, iterations: int) -> np.ndarray:
    """Weight that came to B in each iteration."""
    with h5py.File(path) as file:
        rows = [file[f"iterations/iter_{number:08d}/seg_index"][:] for number in range(1, iterations + 1)]
    return np.array([each["weight"][each["endpoint_type"] == Segment.SEG_ENDPOINT_RECYCLED].sum() for each in rows])
