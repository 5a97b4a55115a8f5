"""Side by side, at 4, 8 and 16 fine steps: Verlet, a direct predictor, the bare midpoint map and the sandwich.

python examples/action/tables.py chain discs ethane --out runs/action_tables
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import openmm

from openmm_rare.action.checking.kinetics import Kinetics, NormalModes, PairModes
from openmm_rare.action.checking.map_check import MapCheck, MapRow, Method, compared, methods_of
from openmm_rare.action.data import ActionData
from openmm_rare.action.direct import DirectPredictor, PairInputs
from openmm_rare.action.features.pair_features import PairFeatures
from openmm_rare.action.features.pair_types import PairTypes
from openmm_rare.action.linear_action import LinearAction
from openmm_rare.action.midpoint_map import MidpointMap
from openmm_rare.action.mlp import Training
from openmm_rare.action.phase_space import ContextPotential
from openmm_rare.action.sampling import canonical_starts
from openmm_rare.io.files import write_json
from openmm_rare.io.progress import TerminalProgress
from openmm_rare.units import KB

sys.path.insert(0, str(Path(__file__).parent))
import ethane
import models

STRIDES = (4, 8, 16)
DURATIONS = {"chain": 60.0, "discs": 20.0, "ethane": 0.4}  # ps
_NAMES = {"verlet": "Verlet", "direct": "direct predictor", "midpoint": "bare midpoint", "action": "sandwich"}


def model_of(name: str) -> models.Model:
    """One of the three systems."""
    if name != "ethane":
        return {"chain": models.chain, "discs": models.discs}[name]()
    system = ethane.system()
    return models.Model(system, ethane.positions(), PairTypes.of_system(system), KB * 300.0, 0.00025, 3, 1.6, {})


def checked(name: str, samples: int, trajectories: int, seed: int, progress: TerminalProgress) -> dict[int, MapCheck]:
    """The comparison at each stride, from the same points."""
    model = model_of(name)
    data = ActionData.from_simulation(
        model.system,
        model.positions,
        temperature=model.temperature,
        timestep=model.fine,
        strides=STRIDES,
        samples=samples,
        hotter=model.hotter,
        num_dimensions=model.num_dimensions,
        seed=seed,
        progress=progress,
    )
    features = PairFeatures.fitting(model.types, data.space, data.q, data.p, **model.features)
    context = openmm.Context(model.system, openmm.VerletIntegrator(model.fine), openmm.Platform.getPlatformByName("Reference"))
    potential = ContextPotential(context, data.space)
    kinetics: Kinetics = NormalModes(data.space, potential) if name == "chain" else PairModes(features)
    starts, single = (
        canonical_starts(model.system, data.space, model.temperature, model.fine, n, stream, "Reference")
        for n, stream in zip((trajectories, 8 * trajectories), np.random.SeedSequence(seed + 100).spawn(2), strict=True)
    )
    found: dict[int, MapCheck] = {}
    tolerance = 1e-6 * float(np.sqrt(model.kt))
    for stride in STRIDES:
        ridge = 1e-8 if name == "discs" else 1e-9
        action = LinearAction.fit(data, stride, features, ridge=ridge)
        bare = LinearAction.fit(data, stride, features, "midpoint", ridge=ridge)
        how = Training(1000, 64, 5e-3, seed)
        direct = DirectPredictor.fit(data, stride, PairInputs(features), width=64, how=how, progress=progress)
        methods = methods_of(action, potential, stride, direct, tolerance)
        methods["midpoint"] = Method(MidpointMap(bare, potential, tolerance, 40).step, action.timestep, bare)
        if stride != STRIDES[0]:
            del methods["fine"]
        found[stride] = compared(methods, potential, starts, single, DURATIONS[name], model.kt, kinetics, progress=progress)
        print(
            f"{name} {stride}: own {action.report.own:.4f}, bare {bare.report.own:.4f}, direct {direct.error:.3f}", flush=True
        )
    return found


def lines(name: str, found: dict[int, MapCheck]) -> list[str]:
    """A table in Markdown."""
    modes = list(found[STRIDES[0]].rows["fine"].course.temperatures)
    head = ["steps", "method", "lost", "drift (kT/ps)", "rms (kT)", "accepted", "comes back to", "dS", *modes]
    made = [f"| {' | '.join(head)} |", f"|{'--|' * len(head)}"]
    made.append(_line("1", "fine Verlet", found[STRIDES[0]].rows["fine"], modes))
    for stride, check in found.items():
        made += [_line(str(stride), label, check.rows[method], modes) for method, label in _NAMES.items()]
    return made


def _line(stride: str, label: str, row: MapRow, modes: list[str]) -> str:
    course = row.course
    drift = f"{course.drift:.2g} ± {course.drift_stderr:.1g}" if np.isfinite(course.drift) else "–"
    back = f"{row.irreversibility:.0e}" if np.isfinite(row.irreversibility) else "–"
    rms = f"{course.rms:.2g}" if np.isfinite(course.rms) else "–"
    temperatures = [f"{course.temperatures[mode]:.2f}" if np.isfinite(course.temperatures[mode]) else "–" for mode in modes]
    its = f"{course.evaluations:.1f}" if course.evaluations else "–"
    accepted = f"{row.acceptance:.3f}" if label != "direct predictor" else "–"
    lost = f"{course.lost}/{course.trajectories}"
    return f"| {' | '.join([stride, label, lost, drift, rms, accepted, back, its, *temperatures])} |"


def main() -> None:
    """Make the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=["chain", "discs", "ethane"])
    parser.add_argument("--samples", type=int, default=800)
    parser.add_argument("--trajectories", type=int, default=24)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("runs/action_tables"))
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    for name in given.names:
        with TerminalProgress() as progress:
            found = checked(name, given.samples, given.trajectories, given.seed, progress)
        table = "\n".join(lines(name, found))
        (given.out / f"{name}.md").write_text(table + "\n", encoding="utf8")
        rows = {stride: {key: row.to_dict() for key, row in check.rows.items()} for stride, check in found.items()}
        write_json(given.out / f"{name}.json", rows)
        print(f"\n{name}\n\n{table}\n", flush=True)


if __name__ == "__main__":
    main()
