"""The command that checks a GPU: a row for everything, and no check that fails, hangs or crashes stops another."""

import json
import sys
from pathlib import Path

import pytest

from openmm_rare.dynamics import native

FOLDER = Path(__file__).parents[1] / "examples" / "validation" / "gpu"
sys.path.append(str(FOLDER))

import gpu_check  # noqa: E402
from gpu_check import Row  # noqa: E402

pytestmark = pytest.mark.skipif(not native.plugin().available, reason="; ".join(native.plugin().problems))


def test_the_table_of_a_few_checks(tmp_path, capsys, monkeypatch):
    rows = (
        Row("E[w] = 1", "mean_weight", 120.0),
        Row("a check that crashes", "no_such_check", 60.0),
        Row("a check that hangs", "lj7_rate", 2.0 / gpu_check._SLOWER),
        Row("left out", "lj7_rate", 60.0),
    )
    monkeypatch.setattr(gpu_check, "ROWS", rows)
    arguments = ["--platform", "Reference", "--platform", "Nowhere", "--quick", "--together", "1", "--only", "E[w]", "a check"]
    with pytest.raises(SystemExit) as ended:
        gpu_check.main([*arguments, "--out", str(tmp_path / "gpu.json")])
    assert ended.value.code == 1
    text, written = capsys.readouterr().out, json.loads((tmp_path / "gpu.json").read_text())
    found = {(row["platform"], row["check"]): (row["result"], row["figure"]) for row in written["rows"]}
    assert len(found) == 6 and "left out" not in text
    for row in rows[:3]:
        assert found["Nowhere", row.title] == ("skipped", "OpenMM has no such platform here")
    result, figure = found["Reference", "E[w] = 1"]
    assert result == "pass" and "E[w] = " in figure and f"| E[w] = 1 | Reference | pass | {figure} |" in text
    assert found["Reference", "a check that crashes"] == ("FAIL", "KeyError: 'no_such_check'")
    assert found["Reference", "a check that hangs"] == ("FAIL", "not done after 2 s")
    assert "1 pass, 2 FAIL, 3 skipped" in text
    about = written["environment"]["numbers"]
    assert "Reference" in about["works"] and "openmm" in about["versions"]


def test_every_row_has_a_check():
    named = {path: (FOLDER / path).read_text(encoding="utf8") for path in ("checks.py", "measured.py")}
    for row in gpu_check.ROWS:
        assert any(f"def {row.check}(where: Where)" in text for text in named.values()), row.check
    assert sum(row.seconds for row in gpu_check.ROWS if row.alone) < 340  # of 480, one after the other


def test_nothing_begins_when_no_time_is_left(tmp_path, capsys):
    arguments = ["--platform", "Reference", "--minutes", "0", "--only", "native", "--out", str(tmp_path / "gpu.json")]
    with pytest.raises(SystemExit) as ended:
        gpu_check.main(arguments)
    assert ended.value.code == 0 and "| skipped | no time left |" in capsys.readouterr().out
