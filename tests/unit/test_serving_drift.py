import json
from pathlib import Path

import pytest

from router_serving.drift import DriftFile
from router_serving.telemetry import Metrics

REPORT = {
    "psi_max": 0.31,
    "calibration_gap": None,
    "outcome_rate_change_max": 0.05,
    "price_changes": 2,
    "new_clients": ["a", "b", "c"],
    "alarm": True,
    "as_of_ms": 1_795_000_000_000,
    "schema": 1,
    "psi": {"n_tools": 0.31, "n_turns": None, 'a "b"': 0.1},
}


def test_the_numbers_of_the_report_are_gauges_until_the_file_is_gone(tmp_path: Path) -> None:
    path, counts = tmp_path / "drift.json", list[str]()
    drift = DriftFile(path, counted=counts.append)
    metrics = Metrics()

    def shown() -> dict[str, float]:
        text = metrics.exposition(queue_rows=0, sessions=0, drift=drift.read()).decode()
        lines = [line for line in text.splitlines() if line.startswith("router_drift_")]
        pairs = [line.removeprefix("router_drift_").rpartition(" ") for line in lines]
        return {name: float(value) for name, _, value in pairs}

    assert shown() == {}
    path.write_text(json.dumps(REPORT))
    assert shown() == {
        "psi_max": 0.31,
        "outcome_rate_change_max": 0.05,
        "price_changes": 2.0,
        "new_clients": 3.0,
        "alarm": 1.0,
        "as_of_ms": 1_795_000_000_000.0,
        'psi{of="n_tools"}': 0.31,
        r'psi{of="a \"b\""}': 0.1,
    }
    path.write_text(json.dumps(REPORT | {"alarm": False, "psi_max": 0.1}))
    assert (shown()["alarm"], shown()["psi_max"]) == (0.0, 0.1)
    path.unlink()
    assert shown() == {}
    assert counts == []


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"psi_max": "high"}', '{"a b": 1}', '{"psi": {"a": {}}}']
)
def test_a_malformed_report_is_ignored_and_counted_once(tmp_path: Path, text: str) -> None:
    path, counts = tmp_path / "drift.json", list[str]()
    path.write_text(text)
    drift = DriftFile(path, counted=counts.append)
    assert (drift.read(), drift.read()) == ({}, {})
    assert counts == ["refused"]
