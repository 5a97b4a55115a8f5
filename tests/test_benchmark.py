"""The throughput table: shape and content, no speeds asserted."""

import json

from openmm_rare import benchmark, native
from openmm_rare.settings import Settings


def test_rows_and_json(monkeypatch, tmp_path):
    monkeypatch.setattr(benchmark, "_SECONDS", 0.001)
    monkeypatch.setattr(benchmark, "_REPEATS", 1)
    monkeypatch.setattr(benchmark, "_YARDSTICK_WALKERS", 5)
    variants = [("python", 3, True, True), ("python", 2, False, False)]
    if "Reference" in native.plugin().platforms:
        variants.append(("native", 3, True, True))
    monkeypatch.setattr(benchmark, "_variants", lambda platform: variants if platform == "Reference" else [])
    yardsticks, brownian = [], benchmark._brownian

    def watched(target, n_slots, platform):
        yardsticks.append(platform)
        return brownian(target, n_slots, platform)

    monkeypatch.setattr(benchmark, "_brownian", watched)
    seen = []
    rows = benchmark.run_benchmark(tmp_path / "rows.json", seen.append)
    assert rows == seen and len(rows) == len(variants)
    assert yardsticks == ["Reference"]  # nothing is measured where there is nothing to compare
    row, unbiased = rows[:2]
    assert [each["backend"] for each in rows] == [variant[0] for variant in variants]
    assert (row["system"], row["platform"], row["backend"], row["walkers"]) == ("lj7", "Reference", "python", 3)
    assert row["bias_interval"] == Settings().bias_interval and "bias_interval" not in unbiased
    for each in rows:
        assert each["walker_steps_per_cpu_second"] > 0.0 and each["walker_steps_per_second"] > 0.0
        assert each["relative_to_brownian"] > 0.0
        assert len(benchmark.format_row(each).split()) == len(benchmark.HEADER.replace("k steps/", "").split())
    assert json.loads((tmp_path / "rows.json").read_text())["rows"] == rows
