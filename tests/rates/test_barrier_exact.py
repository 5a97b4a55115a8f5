"""Windows along a logit without any noise: their stationary distributions on a grid, and what MBAR makes of them."""

import numpy as np
import openmm
import pytest

pytest.importorskip("pymbar")

from openmm_rare.committor.model import CommittorModel
from openmm_rare.rates.barrier.coordinate import PARAMETERS, LogitCoordinate
from openmm_rare.rates.barrier.free_energy import FreeEnergy, Sample
from openmm_rare.rates.barrier.windows import Window, shift_of_stiff_windows
from openmm_rare.systems import double_well_1d
from openmm_rare.units import KB

T, STEEP = 600.0, 13.0
KT = KB * T
MOBILITY = double_well_1d.TIMESTEP / (double_well_1d.MASS * double_well_1d.FRICTION)
SPREAD = np.sqrt(2.0 * KT * MOBILITY)
X = np.arange(-0.85, 0.85, SPREAD / 4.0)
ENERGY = double_well_1d.energy(X, 25.0)
FIRST, TOP = -2.6, Window.gaussian(0.0, 0.54, KT)
N = 1000


class Chain:
    """The dynamics of walkers in windows along asinh(13 x), as transition probabilities; forces are those of OpenMM."""

    def __init__(self):
        problem = double_well_1d.build(temperature=T)
        about = problem.descriptor_spec(), 1, (), T, problem.fingerprint()
        model = CommittorModel(*about, check_interval=problem.check_interval)
        tensors = {"network.0.weight": [[STEEP * problem.descriptor_spec()["scale"]]], "network.0.bias": [0.0]}
        model.set_tensors(model.tensors() | {name: np.array(value, np.float32) for name, value in tensors.items()})
        self.positions = np.zeros((len(X), 1, 3))
        self.positions[:, 0, 0] = X
        coordinate = LogitCoordinate(model)
        self.s = coordinate(self.positions)
        system = openmm.System()
        for _ in X:
            system.addParticle(1.0)
        system.addForce(coordinate.hold(1, len(X)))
        platform = openmm.Platform.getPlatformByName("Reference")
        self.context = openmm.Context(system, openmm.VerletIntegrator(0.001), platform)
        self.context.setPositions(self.positions.reshape(-1, 3))

    def stationary(self, window):
        """Of walkers in a window, and the mean square change of the coordinate in a step."""
        for name, value in zip(PARAMETERS, (window.stiffness, window.low, window.high), strict=True):
            self.context.setParameter(name, value)
        held = self.context.getState(forces=True).getForces(asNumpy=True)._value[:, 0]
        drift = MOBILITY * (held - 400.0 * X * (4.0 * X**2 - 1.0))
        step = np.exp(-0.5 * ((X[None, :] - (X + drift)[:, None]) / SPREAD) ** 2)
        step /= step.sum(axis=1, keepdims=True)
        matrix = step.T - np.eye(len(X))
        matrix[0] = 1.0
        found = np.maximum(np.linalg.solve(matrix, np.eye(len(X))[0]), 0.0)
        return found, found @ (step * (self.s[None, :] - self.s[:, None]) ** 2).sum(axis=1)

    def error(self, spacing, spring=1.0):
        """ln Z_b/p_A by MBAR less that of Boltzmann's distribution, and what is expected of stiff windows."""
        places = np.arange(FIRST, 1.3, spacing)
        windows = [Window.spring(place, spacing, KT) for place in places]
        windows = [windows[0].opened(-1), *windows[1:], TOP]
        parts, squares = [], []
        for number, window in enumerate(windows):
            p, square = self.stationary(Window(window.place, window.low, window.high, spring * window.stiffness))
            s = np.interp((np.arange(N) + 0.5) / N, np.cumsum(p) - 0.5 * p, self.s)
            parts.append(Sample(s, np.zeros(N), np.full(N, number), np.zeros(N, dtype=int)))
            squares.append(square)
        free, everyone = FreeEnergy(parts[0].join(*parts[1:]), windows, KT, None), np.ones(N * len(windows), dtype=bool)
        weights = np.exp(free.log_weights(everyone, free.solve(everyone)))
        found = np.log(self.ratio(free.sample.s, weights) / self.ratio(self.s, np.exp(-ENERGY / KT)))
        near = int(np.argmin(np.abs(places - TOP.place)))
        return found, shift_of_stiff_windows(windows[0].stiffness, [squares[0], squares[near]], 1, KT)

    @staticmethod
    def ratio(s, weights):
        """Population of the top over that of A's side."""
        return (weights * np.exp(-TOP.energy(s) / KT)).sum() / (weights * (s < 0.0)).sum()


@pytest.fixture(scope="module")
def chain():
    return Chain()


def test_wide_windows_give_the_populations_of_the_potential(chain):
    """The force of a window is that of the energy which MBAR is told; with springs a third stiffer it is not."""
    error, expected = chain.error(0.8)
    assert abs(error) < 0.02 and expected < 0.02
    wrong, _ = chain.error(0.8, spring=4.0 / 3.0)  # negative control
    assert abs(wrong) > 0.1


@pytest.mark.parametrize("spacing", [0.4, 0.3])
def test_what_stiff_windows_are_off_by_is_known(chain, spacing):
    """Finite steps sample another energy where springs are stiff, and a logit is stiffest at the barrier."""
    error, expected = chain.error(spacing)
    assert error < -0.03  # negative control: there is something to correct
    assert abs(error + expected) < 0.25 * expected
