"""Invented records and results: fixtures for tests of files, figures and reports, without any physics in them."""

import json

import numpy as np

from openmm_rare.io.checksums import toml_with_checksum
from openmm_rare.io.files import write_json
from openmm_rare.io.run_file import RunFile

KNOWN = ({"label": "Kramers", "rate_per_ps": 0.4},)
CONFIG = '[system]\nname = "lj7"\ntemperature = "600.0 K"\n\n[sampling]\nseed = 1\n'


def result(**changes):
    values = {
        "system": "lj7",
        "method": "importance",
        "temperature_k": 600.0,
        "rate_per_ps": 4.41e-1,
        "rate_stderr": 1.9e-2,
        "rate_ci95": [4.05e-1, 4.80e-1],
        "flux_per_ps": 861.0,
        "flux_stderr": 6.3,
        "p_ab": 5.12e-4,
        "p_ab_stderr": 2.2e-5,
        "ess": 843.0,
        "pareto_k": 0.31,
        "n_roots": 5000,
        "n_exits": 71234,
        "strength": 1.0,
        "window_power": 0.85,
        "walker_steps": 48_200_000,
        "training_walker_steps": 31_000_000,
        "flux_walker_steps": 8_000_000,
        "pilot_walker_steps": 1_200_000,
        "production_walker_steps": 8_000_000,
        "wall_seconds": 312.4,
        "channels": {
            "direct, left": {"fraction": 0.334, "fraction_stderr": 0.021},
            "direct, right": {"fraction": 0.311, "fraction_stderr": 0.022},
            "through C1": {"fraction": 0.355, "fraction_stderr": 0.019},
        },
        "mean_weight": 1.003,
        "mean_weight_stderr": 0.006,
        "pool_relative_error": 0.028,
        "roots_relative_error": 0.032,
        "reliable": True,
        "warnings": [],
        "seed": 1,
        "platform": "Reference",
        "versions": {"openmm_rare": "0.1.0", "openmm": "8.6.1"},
        "rate_reduced": 2.21e-2,
        "rate_reduced_stderr": 0.95e-3,
        "no_reweighting": None,
    }
    return values | changes


def paths(rng, count=12, points=120):
    time = np.linspace(0.0, 1.0, points)
    values = []
    for _ in range(count):
        bend = rng.normal(scale=0.08)
        noise = 0.02 * np.cumsum(rng.normal(size=(points, 2)), axis=0) * (time * (1 - time))[:, None]
        values.append(np.c_[0.75 + 0.2 * np.sin(3 * time) * (1 + bend), 1.32 - 0.97 * time + bend * time] + noise)
    return {
        "path_values": np.concatenate(values),
        "path_ln_importance": np.tile(-9.0 * (1.0 - time) ** 1.5, count),
        "path_id": np.repeat(np.arange(count), points),
        "path_variables": "mu2,mu3",
    }


def run_folder(folder, seed=0, finished=True, planes=True, learned=True, references=KNOWN, **changes):
    """A run folder as the engine would leave it, with invented contents; less in it where no committor was learned."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.toml").write_text(toml_with_checksum(CONFIG), encoding="utf-8")
    attributes = {"config": CONFIG, "seed": 1, "variable_units": "mu2=,mu3="}
    disc = {"bounds": {"mu2": ["0.65", "0.85"], "mu3": ["1.22", "1.42"]}, "disc": True, "periods": {"mu2": None, "mu3": None}}
    box = disc | {"bounds": {"mu3": ["-inf", "0.4"]}, "disc": False}
    attributes["outlines"] = json.dumps({"A": disc, "B": box})
    run = RunFile.create(folder / "run.nc", attributes)
    for temperature, rounds in ((1012.0, 10), (779.0, 5), (600.0, 10)) if learned else ():
        for i in range(rounds):
            depth = 9.0 * 600.0 / temperature
            run.append(
                "training",
                {
                    "temperature_k": temperature,
                    "heldout_loss": 0.4 + 0.6 * np.exp(-0.3 * i) + 0.02 * rng.normal(),
                    "sd_log_importance": depth * (1 - np.exp(-0.4 * (i + 1))) / 3,
                    "residual": 0.05 + 0.2 * np.exp(-0.3 * i),
                    "walker_steps": 500_000,
                    "start": rng.normal(size=(50, 7, 3)).astype(np.float32),
                },
            )
    for i in range(8):
        contribution = 5.1e-4 * rng.lognormal(-0.5, 1.0, 600) * (rng.random(600) < 0.7)
        record = {
            "root": np.arange(600),
            "touched": np.arange(600 * i, 600 * (i + 1)),
            "contribution": contribution,
            "walker_steps": 1_000_000,
            "log_weights": np.log(contribution[contribution > 0]).astype(np.float32),
        }
        run.append("production", record | (paths(rng) if learned and i == 0 else {}))
    if planes and learned:
        x = np.linspace(-1.8, 1.8, 60)
        exact = -6.0 * (1.0 - np.tanh(2.0 * x))[:, None] / 2 * np.ones(60) - 0.3 * (x**2)[None, :]
        exact = np.where((x[:, None] ** 2 + x[None, :] ** 2) < 3.0, exact, np.nan)
        guess = exact + 0.2 * np.sin(3 * x)[None, :]
        centers = {"center_a": np.array([-1.0, 0.0]), "center_b": np.array([1.0, 0.0])}
        run.append("plane", {"x": x, "y": x, "learned": guess, "exact": exact, **centers})
    for reference in references:
        run.append("reference", reference)
    run.finalize()
    if finished:
        write_json(folder / "result.json", result(**changes), checked=True)
    return folder
