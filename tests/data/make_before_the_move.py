"""Write before_the_move.tar.xz anew: a run folder of a rate, and one of path sampling, as the code of today leaves them.

The archive in the repository was written when all modules of the package still lay in one folder. It is there to be read by
later versions, so making it anew defeats its purpose: do so only where formats are meant to change.
"""

import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
PROGRAM = (sys.executable, "-c", "from openmm_rare.cli.main import main; main(prog_name='openmm-rare')")
LEFT_OUT = {"report.html", "figures"}  # made from the rest

RATE = """
[system]
name = "double_well_1d"
temperature = "900 K"

[sampling]
target_error = 0.3
backend = "python"
hidden = [8]
training_walkers = 100
training_exits = 100
training_roots = 50
training_flux_walkers = 50
segment_length = 100
first_stage_rounds = 4
stage_rounds = 2
last_stage_rounds = 4
flux_walkers = 100
flux_steps = 200
pilot_roots = 100
production_roots = 200
"""

PATHS = """
[system]
name = "double_well_1d"
temperature = "900 K"

[path_sampling]
trials = 30
"""


def anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """Without whose and when, and without what is left out."""
    if LEFT_OUT & set(Path(member.name).parts):
        return None
    member.uid = member.gid = member.mtime = 0
    member.uname = member.gname = ""
    return member


def main() -> None:
    """Run both and pack their folders."""
    with tempfile.TemporaryDirectory() as name, tarfile.open(HERE / "before_the_move.tar.xz", "w:xz", preset=9) as archive:
        for command, text in (("rate", RATE), ("tps", PATHS)):
            config = Path(name, f"{command}.toml")
            config.write_text(text.lstrip())
            subprocess.run([*PROGRAM, command, str(config), "--seed", "1", "--out", str(Path(name, command))], check=True)
            archive.add(config, config.name, filter=anonymous)
            archive.add(Path(name, command), command, filter=anonymous)


if __name__ == "__main__":
    main()
