"""What the log takes the model of an outcome to be."""

from pathlib import Path

import pytest
from log_samples import decision, outcome, write_log

from router_data.store import Store


@pytest.mark.parametrize(
    ("reason", "served"),
    [
        ("incumbent: the caller keeps its own model", "m"),
        ("incumbent_unknown: another stands in", "acme/m"),
    ],
)
def test_the_name_that_a_caller_keeps_is_the_model_that_it_stands_for(
    tmp_path: Path, reason: str, served: str
) -> None:
    kept = {"policy": "incumbent", "feedback": "observational", "reason": reason}
    made = decision(model="m", snapshot="m-1", requested_model="acme/m", **kept)
    write_log(tmp_path / "log", [made, outcome(model="acme/m")])
    with Store(tmp_path) as store:
        assert store.query("select model, propensity from rounds") == [
            {"model": served, "propensity": None}
        ]
