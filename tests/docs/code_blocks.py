"""Code of pages, run as readers run it: fenced blocks, with what comments before them say.

Comments are ``<!-- test: replace 'THIS' by 'THAT' -->`` (cheaper numbers), ``add '--OPTION'`` (to each command of openmm-rare),
``expect PATH`` (that a block must leave), ``status N`` (of its last command), ``copy FOLDER`` (of the repository, with files of
which the page speaks), ``first COMMAND`` (of a shell), ``skip, WHY``; and ``<!-- file: NAME -->``: the block is written to the
end of that file, and not run.
"""

import contextlib
import io
import json
import re
import runpy
import shlex
import shutil
import subprocess
import tomllib
from dataclasses import dataclass
from pathlib import Path

from click.testing import CliRunner

from openmm_rare import RateSettings
from openmm_rare.cli.main import main

ROOT = Path(__file__).parents[2]
CHEAP = {
    "hidden": (24, 24),
    "n_slots": 200,
    "flux_walkers": 200,
    "flux_steps": 200,
    "training_flux_walkers": 100,
    "training_flux_steps": 200,
    "training_exits": 200,
    "training_roots": 80,
    "training_walkers": 150,
    "training_path_length": 400,
    "first_stage_rounds": 4,
    "stage_rounds": 2,
    "last_stage_rounds": 2,
    "updates": 30,
    "sweeps": 1,
    "last_updates": 20,
    "ladder_ratio": 0.5,
    "pilot_roots": 80,
    "production_roots": 200,
    "min_ess": 5.0,
}
"""Settings of rates for what is to run, and not to be right."""

_COMMENTED = re.compile(r"((?:<!-- (?:test|file): [^\n]* -->\n)*)^```(python|toml|console)\n(.*?)^```$", re.M | re.S)
_COMMENT = re.compile(r"<!-- (test|file): (.*?) -->")
_REPLACE = re.compile(r"replace '(.+?)' by '(.*?)'$")
KNOWN = ("replace", "add", "expect", "status", "copy", "first", "skip,")


@dataclass
class Block:
    """One block: its language, its code, where it goes, and what the comments say."""

    language: str
    code: str
    file: str
    said: list[tuple[str, str]]

    def values(self, word):
        """What follows a word in the comments."""
        return [rest for first, rest in self.said if first == word]

    @property
    def is_skipped(self):
        """Whether it is not run, for a reason that the page gives."""
        return bool(self.values("skip,"))

    @property
    def shrunk(self):
        """Its code with what is to be replaced."""
        code = self.code
        for rest in self.values("replace"):
            old, new = _REPLACE.match(f"replace {rest}").groups()
            assert code.count(old) == 1, f"{old!r} stands {code.count(old)} times in the block, not once:\n{code}"
            code = code.replace(old, new.replace("\\n", "\n"))
        if self.language == "toml":
            code = code.replace(", CHEAP", "\n" + "\n".join(f"{key} = {json.dumps(value)}" for key, value in CHEAP.items()))
        return code


def blocks_of(text):
    """All fenced blocks of Python, TOML and console of a page, in order."""
    found = []
    for comments, language, code in _COMMENTED.findall(text):
        said = _COMMENT.findall(comments)
        words = [tuple(rest.partition(" ")[::2]) for kind, rest in said if kind == "test"]
        unknown = [word for word, _ in words if word not in KNOWN]
        assert not unknown, f"a comment says {unknown[0]!r}, which is none of {KNOWN}"
        found.append(Block(language, code, "".join(rest for kind, rest in said if kind == "file"), words))
    return found


def commands_of(code):
    """(command, expected output) of a console block; a command goes on while a quote is open, or past a backslash."""
    lines, found = code.splitlines(), []
    while lines:
        line = lines.pop(0)
        if not line.startswith("$ "):
            assert found, f"output before any command: {line!r}"
            found[-1][1].append(line)
            continue
        command = line[2:]
        while not _is_whole(command):
            command += "\n" + lines.pop(0)
        found.append((command, []))
    return [(command, "\n".join(output)) for command, output in found]


def _is_whole(command):
    try:
        shlex.split(command, comments=True)
    except ValueError:
        return False
    return not command.endswith("\\")


def _run_command(command, added, status):
    """Standard output of a command; those of ours and Python run in this process, which is ten times cheaper."""
    words = shlex.split(command.replace("\\\n", " "), comments=True)
    if words[0] == "openmm-rare":
        words += [word for options in added for word in shlex.split(options.strip("'"))]
        done = CliRunner().invoke(main, words[1:], catch_exceptions=False)
        assert done.exit_code == status, f"{command}\n{done.output}"
        return done.stdout
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        if words[:2] == ["python", "-c"]:
            exec(compile(words[2], "<page>", "exec"), {"__name__": "__main__"})
        elif words[0] == "python":
            runpy.run_path(words[1], run_name="__main__")
        else:
            print(subprocess.run(["bash", "-c", command], check=True, capture_output=True, text=True).stdout, end="")
    return said.getvalue()


def run_page(text):
    """Run all blocks of a page in the current folder, in order; returns how many were run."""
    names, count = {"__name__": "page", "CHEAP": RateSettings(**CHEAP)}, 0
    for block in blocks_of(text):
        if block.is_skipped:
            continue
        for folder in block.values("copy"):
            shutil.copytree(ROOT / folder, ".", dirs_exist_ok=True)
        for command in block.values("first"):
            subprocess.run(["bash", "-c", command], check=True)
        if block.file:
            with open(block.file, "a", encoding="utf8") as stream:
                stream.write(block.shrunk)
        elif block.language == "toml":
            tomllib.loads(block.shrunk)
        elif block.language == "python":
            exec(compile(block.shrunk, "<page>", "exec"), names)
        else:
            status = int((block.values("status") or ["0"])[0])
            commands = commands_of(block.shrunk)
            for number, (command, expected) in enumerate(commands, 1):
                said = _run_command(command, block.values("add"), status if number == len(commands) else 0)
                assert not expected or said.strip("\n") == expected.strip("\n"), f"{command}\n{said}"
        for path in block.values("expect"):
            assert Path(path).exists(), f"{path} was not made by\n{block.code}"
        count += 1
    return count
