"""CPU time and bytes written per trial as a run of path sampling gets longer: neither may grow with what is already there.

python path_sampling_growth.py [--trials 2000] [--stages 8] [--out FOLDER]

Runs `openmm-rare tps jung_42d` in stages, each resuming the last, and prints for each what its trials took. What starting and
ending a run takes is measured by a stage that adds one round, and subtracted.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

COMMAND = [sys.executable, "-c", "from openmm_rare.cli.main import main; main()", "tps", "jung_42d", "--seed", "1"]
ROUND = 5  # trials, the default of trials_per_round


def used():
    """CPU seconds and MB written by all processes that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime, usage.ru_oublock * 512 / 1e6


def extend(folder, trials):
    """What it takes to bring the run to so many trials."""
    before = used()
    command = [*COMMAND, "--platform", "Reference", "--trials", str(trials), "--out", str(folder), "--resume"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return [after - start for after, start in zip(used(), before, strict=True)]


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--stages", type=int, default=8)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder, each = arguments.out or Path(temporary) / "run", arguments.trials // arguments.stages
        for stage in range(arguments.stages):
            done = stage * each
            cpu, written = extend(folder, done + each - ROUND)
            cpu_of_round, written_of_round = extend(folder, done + each)
            trials = each - 2 * ROUND
            milliseconds, kilobytes = 1e3 * (cpu - cpu_of_round) / trials, 1e3 * (written - written_of_round) / trials
            print(f"trials {done + 1:5d} to {done + each:5d}: {milliseconds:7.1f} ms, {kilobytes:7.1f} kB a trial", flush=True)
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6
        print(f"in all {used()[0]:.0f} CPU-s, {used()[1]:.0f} MB written, {size:.0f} MB kept")


if __name__ == "__main__":
    main()
