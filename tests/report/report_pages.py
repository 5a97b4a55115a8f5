"""Pages of every kind, of invented runs: what is long in them is as long as it gets."""

import json
from types import SimpleNamespace

import numpy as np

import fabricated
from openmm_rare.action.checking.energy_course import EnergyCourse
from openmm_rare.action.checking.map_check import MapCheck, MapRow
from openmm_rare.config.run import parse_config
from openmm_rare.mechanism.atoms import AtomContributions
from openmm_rare.mechanism.findings import Mechanism
from openmm_rare.mechanism.formula import Formula, FormulaFront
from openmm_rare.mechanism.relevance import Relevance
from openmm_rare.mechanism.validation import calibrate
from openmm_rare.paths.ensemble import PathEnsemble
from openmm_rare.paths.statistics import path_statistics
from openmm_rare.report.action import write_action_report
from openmm_rare.report.latent import write_latent_report
from openmm_rare.report.mechanism import write_mechanism_report
from openmm_rare.report.rate import write_rate_report
from openmm_rare.report.scan import write_scan_report
from openmm_rare.systems import licl

WARNING = (
    "The tail of the weights is heavy (Pareto k 0.83): a_rather_long_word_without_any_place_to_break_it_in_two_lines, too."
)


def levels(fall, error=0.1):
    """A curve along a direction that falls to exp(fall)."""
    along = np.linspace(-1.0, 0.0, 40)
    return {"levels": along.tolist(), "rate_per_ps": np.exp(fall * (along + 1.0)).tolist(), "along": along, "error": error}


def curve(fall, **more):
    """One of result.json."""
    found = levels(fall)
    rate = np.array(found["rate_per_ps"])
    about = {"direction": "the distance between A and B", "key": "variable r", "stderr": (0.1 * rate).tolist()}
    return about | {"levels": found["levels"], "rate_per_ps": rate.tolist()} | more


def rate(folder):
    """By importance sampling, with all of its figures."""
    known = [{"label": "Kramers-Langer", "rate_per_ps": 0.26}]
    return write_rate_report(fabricated.run_folder(folder, references=known, warnings=[WARNING], reliable=False))


def unfinished(folder):
    """While it goes on."""
    missing = {"missing": "production has just begun", "complete": False, "rate_below_per_ps": None}
    return write_rate_report(fabricated.run_folder(folder, learned=False, **missing))


def splitting(folder):
    """With crossing curves, beside those of other runs."""
    found = levels(-9.0)
    probability = np.array(found["rate_per_ps"])
    plain = np.where(found["along"] < -0.6, probability, 0.0)
    crossing = {
        "direction": "the distance between A and B",
        "levels": found["levels"],
        "look_ahead_ps": 0.5,
        "ess_blocks": 40.0,
    }
    crossing |= {"blocks": 64, "probability": probability.tolist(), "stderr": (0.1 * probability).tolist()}
    crossing |= {"plain": plain.tolist(), "plain_stderr": (0.2 * plain).tolist()}
    beside = [curve(-8.7, label="barrier, from a folder with a long name"), curve(-9.2, label="importance")]
    about = {"crossing": crossing, "curve": curve(-9.0, beside=beside)}
    return write_rate_report(fabricated.run_folder(folder, learned=False, method="splitting", **about))


def barrier(folder):
    """From windows and shots."""
    along, rng = np.linspace(0.2, 0.8, 60), np.random.default_rng(2)
    profile = (12.0 - 130.0 * (along - 0.5) ** 2).tolist()
    errors = {"error_A": [0.2] * 60, "error_B": [0.3] * 60}
    found = {
        **{
            "z_b_over_p_a": 2e-6,
            "z_b_over_p_a_relative_error": 0.06,
            "along": "the logit of the model",
            "unit": "",
            "place": 0.5,
        },
        **{"width": 0.03, "windows": np.linspace(0.2, 0.8, 16).tolist(), "least_overlap": 0.08, "points": 400},
        **{"overlap": np.exp(-0.5 * np.subtract.outer(np.arange(16), np.arange(16)) ** 2).tolist(), "transition_paths": 180},
        **{"path_ps": 1.2, "of_sets": {"A": 2e-6, "B": 2.1e-6}, "relative_errors_of_sets": {"A": 0.06, "B": 0.07}},
        **{"sets_differ_kt": 0.05, "profile": {"s": along.tolist(), "from_A": profile, "from_B": profile, **errors}},
        **{"log_weights": rng.normal(-3.0, 0.8, 180).tolist()},
    }
    return write_rate_report(fabricated.run_folder(folder, learned=False, method="barrier", barrier=found, curve=curve(-9.0)))


def scan(folder):
    """Over temperatures."""
    folder.mkdir()
    temperatures = [600.0, 500.0, 400.0, 300.0]
    estimates = [
        fabricated.result(
            temperature_k=t, rate_per_ps=float(np.exp(9.0 - 6000.0 / t)), rate_stderr=0.05 * float(np.exp(9.0 - 6000.0 / t))
        )
        for t in temperatures
    ]
    known = {
        "label": "Kramers-Langer",
        "temperature_k": temperatures,
        "rate_per_ps": [np.exp(9.2 - 6000.0 / t) for t in temperatures],
    }
    counted = [fabricated.result(temperature_k=600.0, rate_per_ps=0.36, rate_stderr=0.05)]
    about = {"system": "lj7", "estimates": estimates, "brute_force": counted, "known": known}
    (folder / "scan.json").write_text(json.dumps(about))
    return write_scan_report(folder)


def latent(folder):
    """A free energy of three coordinates."""
    folder.mkdir()
    rng = np.random.default_rng(3)
    frames = rng.normal([0.5, 0.6, 0.4], 0.05, (2000, 3))
    counts, edges = np.histogramdd(frames, 12)
    density = {"frames": counts / counts.sum(), "model": counts / counts.sum(), "shown": frames[::50]}
    np.savez(folder / "densities.npz", **density, **{f"edges_{axis}": each for axis, each in enumerate(edges)})
    result = {
        **{"system": "alanine", "temperature_k": 600.0, "coordinates": ["r ACE-CB", "r ACE-NME", "r CB-NME"], "unit": "nm"},
        **{"condition": {"verdict": "admissible: violated by 0.3 %, 5 % at most"}, "metric": "pair_distances", "notes": []},
        **{
            "fit": {"held_out_loss": 1.23, "without_model": 4.56},
            "frames": 600,
            "runs": 2,
            "autoencoder": None,
            "warnings": [],
        },
        "comparison": {
            "kl": 0.02,
            "kl_floor": 0.01,
            "kl_uniform": 2.0,
            "half_l1": 0.05,
            "outside": 1e-4,
            "kl_pairs": {"a,b": 0.01},
        },
        "left_out": [{"run": 0, "kl_model": 0.03, "kl_histogram": 0.2}],
        "sampling": {
            "propagator": "metropolis",
            "n_walkers": 64,
            "n_steps": 1000,
            "acceptance": 0.93,
            "rejected": {},
            "kl": 0.01,
        },
        **{"committor": {"none": "no frame is in B"}, "versions": {"openmm": "8.6.1"}},
    }
    (folder / "latent.json").write_text(json.dumps(result))
    return write_latent_report(folder)


def action(folder):
    """Long steps, compared."""
    (folder / "figures").mkdir(parents=True)
    times, rng = np.linspace(0.0, 20.0, 50), np.random.default_rng(4)
    modes = {
        name: 1.0 + 0.05 * rng.normal() for name in ("bonds", "angles", "torsions", "translation", "rotation", "ring puckers")
    }
    errors = dict.fromkeys(modes, 0.03)
    rows = {
        name: MapRow(
            EnergyCourse(lost, 6, drift, 1e-3, 0.2, modes, errors, 3.2, times.tolist(), (drift * times).tolist()),
            0.98,
            1e-9,
            1e-7,
            0.2,
        )
        for name, lost, drift in (
            ("fine", 0, 1e-4),
            ("verlet", 0, 0.02),
            ("direct", 2, 0.3),
            ("midpoint", 0, 0.01),
            ("action", 0, 2e-3),
        )
    }
    training = {"system": "alanine dipeptide", "temperature_k": 300.0, "own": 0.02, "own_training": 0.015, "value": 0.1}
    training |= {"fine_timestep_ps": 1e-3, "timestep_ps": 8e-3, "n_features": 120, "dropped": 3}
    config = parse_config(
        '[system]\nname = "double_well_1d"\n\n[action]\nstride = 8\nsamples = 60\nfeatures = "coordinates"\n', folder
    )
    return write_action_report(folder, training, MapCheck(rows, 8e-3, 20.0), config)


def mechanism(folder):
    """Of an ion pair in water, with long names and long formulas."""
    folder.mkdir()
    rng, problem = np.random.default_rng(5), licl.build()
    apart = np.linspace(0.0, 0.25, 30)
    paths = []
    for _ in range(6):
        frames = np.repeat(problem.positions[None], 30, 0) + rng.normal(0.0, 0.005, (30, *problem.positions.shape))
        frames[:, 1] += apart[:, None] * [0.0, 0.6, 0.8]
        paths.append(frames)
    ensemble = PathEnsemble(paths, np.ones(6), np.zeros(6), 0.02)
    logits = [np.linspace(-4.0, 4.0, 30) + rng.normal(0.0, 0.2, 30) for _ in paths]
    names = [f"symmetry function {n} of LI-1 with all of the oxygens of water" for n in range(40)]
    increase = np.r_[0.3, 0.12, 0.05, np.full(37, 1e-5)]
    relevance = Relevance(names, [[n] for n in range(40)], increase, 0.1 * increase + 1e-3, 4e-3, 0.53, "noise")
    long = " + ".join(
        f"{n}.{n}1 × exp(−{n}.72 × symmetry function {n} of LI-1 with all of the oxygens of water)" for n in range(1, 6)
    )
    formulas = [
        Formula(SimpleNamespace(), text, size, loss, loss + 0.01, 0.01, gap, 0.004)
        for text, size, loss, gap in (("1.2", 1, 0.69, 0.16), ("2.3 × r − 1.1", 5, 0.58, 0.05), (long, 41, 0.535, 0.003))
    ]
    n_b = rng.binomial(20, 1.0 / (1.0 + np.exp(-np.linspace(-3.0, 3.0, 30))))
    share = np.full(len(problem.positions), 1e-6)
    share[[0, 1, 2, 3, 4, 8]] = 0.4, 0.3, 0.1, 0.05, 0.05, 0.1
    found = Mechanism(
        relevance,
        path_statistics(ensemble, logits),
        AtomContributions(share, 0.1 * share, 0, 5),
        [f"{atom.residue.name}{atom.residue.id}-{atom.name}" for atom in problem.topology.atoms()],
        None,
        FormulaFront(formulas, 2, 0.001, 0.53, 0.01, tuple(names[:3])),
        *(calibrate(np.linspace(-3.0, 3.0, 30), 20 - n_b, n_b) for _ in range(2)),
        warnings=[WARNING],
    )
    return write_mechanism_report(folder, problem, found, ensemble, np.stack([path[15] for path in paths]), logits)


PAGES = (rate, unfinished, splitting, barrier, scan, latent, action, mechanism)
