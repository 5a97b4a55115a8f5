"""CPU time of path sampling with storage: two wells and 20 oscillators, a frame at every step, as in the peer's notebook.

python path_sampling_speed.py [--trials 300] [--seeds 3] [--selector lorentzian] [--no-storage]

Runs `openmm-rare tps` as a user would, and counts the CPU time of all its processes, training, storage and checkpoints
included. What it takes to start Python and to import everything is measured by a run of one round, and told apart.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

CONFIG = """
[system]
name = "jung_42d"
[system.parameters]
n_oscillators = 20
[sampling]
seed = {seed}
[path_sampling]
trials = {trials}
selector = "{selector}"
steps_per_frame = 1
trials_per_round = 10
storage = {storage}
"""


def cpu_seconds():
    """CPU time of all processes that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def run(folder, **settings):
    """CPU seconds and result of one run."""
    config = Path(folder) / "config.toml"
    config.write_text(CONFIG.format(**settings))
    out, before = Path(folder) / "run", cpu_seconds()
    command = [sys.executable, "-c", "from openmm_rare.cli.main import main; main()", "tps", str(config), "--out", str(out)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return cpu_seconds() - before, json.loads((out / "result.json").read_text())


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--selector", default="lorentzian")
    parser.add_argument("--no-storage", action="store_true")
    arguments = parser.parse_args()
    settings = {"selector": arguments.selector, "storage": str(not arguments.no_storage).lower()}
    total_trials, total_seconds, total_start = 0, 0.0, 0.0
    for seed in range(1, arguments.seeds + 1):
        with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as many:
            start, little = run(one, seed=seed, trials=10, **settings)
            seconds, result = run(many, seed=seed, trials=arguments.trials, **settings)
        trials = result["trials"] - little["trials"]
        print(
            f"seed {seed}: {trials / (seconds - start):5.1f} trials per CPU-second ({seconds:.1f} s, {start:.1f} s of it "
            f"for the first {little['trials']} and the start), {result['frames'] / result['trials']:.0f} frames per trial, "
            f"yield {result['yield']:.2f}",
            flush=True,
        )
        total_trials, total_seconds = total_trials + trials, total_seconds + seconds - start
        total_start += start
    everything = (total_trials + 10 * arguments.seeds) / (total_seconds + total_start)
    print(f"all: {total_trials / total_seconds:.1f} trials per CPU-second; {everything:.1f} with the start of Python counted")


if __name__ == "__main__":
    main()
