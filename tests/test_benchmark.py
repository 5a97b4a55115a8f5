"""The throughput table: shape and content, no speeds asserted."""

import json

from openmm_rare import benchmark


def test_rows_and_json(monkeypatch, tmp_path):
    monkeypatch.setattr(benchmark, "_SECONDS", 0.001)
    monkeypatch.setattr(benchmark, "_REPEATS", 1)
    monkeypatch.setattr(benchmark, "_variants", lambda platform: [(3, True, True)] if platform == "Reference" else [])
    seen = []
    rows = benchmark.run_benchmark(tmp_path / "rows.json", seen.append)
    assert rows == seen and len(rows) == 1
    (row,) = rows
    assert (row["system"], row["platform"], row["backend"], row["walkers"]) == ("lj7", "Reference", "python", 3)
    assert row["walker_steps_per_cpu_second"] > 0.0 and row["walker_steps_per_second"] > 0.0
    assert json.loads((tmp_path / "rows.json").read_text())["rows"] == rows
    assert len(benchmark.format_row(row).split()) == len(benchmark.HEADER.replace("k steps/", "").split())
