from datetime import datetime
from pathlib import Path

import msgspec
import numpy as np
import pytest
from log_samples import HashEncoder

from router_data.agents import simulate_agents
from router_data.dataset import load_rounds
from router_data.gateway_import import import_gateway_log
from router_data.simulated_gateway import write_gateway_log
from router_data.simulator import simulate
from router_data.store import Store
from router_model.errors import DatasetError


def test_one_line_is_written_per_call_with_what_came_back(tmp_path: Path) -> None:
    world = simulate_agents(5, seed=3)
    assert world.agents is not None
    path = tmp_path / "new" / "gateway.jsonl"
    cheap, dear = world.models[0], world.models[-1]
    assert write_gateway_log(world, path, side_model=cheap) == world.n_requests
    lines = [msgspec.json.decode(line) for line in path.read_bytes().splitlines()]
    assert len(lines) == world.n_requests
    for index, line in enumerate(lines):
        assert line["model"] == (cheap if world.task[index] == "side" else dear)
        assert datetime.fromisoformat(line["ts"]).timestamp() * 1_000 == world.ts_ms[index]
        assert line["request"] == msgspec.json.decode(world.chat_body(index))
        assert (line["tenant"], line["session"]) == (world.tenant[index], world.session[index])
        assert ("cost_usd" in line) == bool(world.agents.has_outcome[index])
        seen = world.agents.has_outcome[index] & world.agents.has_verdict[index]
        assert ("adequate" in line) == bool(seen)
        assert "propensity" not in line
    assert any("signals" in line for line in lines)


def test_the_log_can_be_imported_and_can_train_but_not_evaluate(tmp_path: Path) -> None:
    world = simulate_agents(5, n_tenants=2, seed=3)
    path, state = tmp_path / "gateway.jsonl", tmp_path / "state"
    write_gateway_log(world, path, side_model=world.models[0])
    report = import_gateway_log(path, state, encoder=HashEncoder(), progress=False)
    assert (report.n_decisions, report.problems) == (world.n_requests, {})
    with Store(state) as store:
        assert store.query("select distinct feedback from decisions") == [
            {"feedback": "observational"}
        ]
    rounds = load_rounds(state)
    assert sorted(rounds.step_type.tolist()) == sorted(world.step_type.tolist())
    assert set(rounds.tenant) == set(world.tenant)


def test_a_plain_world_can_be_written_too(tmp_path: Path) -> None:
    world = simulate(20, n_models=3)
    path = tmp_path / "log.jsonl"
    write_gateway_log(world, path, model="model-01")
    lines = [msgspec.json.decode(line) for line in path.read_bytes().splitlines()]
    told = [line["adequate"] for line in lines]
    np.testing.assert_array_equal(told, world.adequate[:, 1] == 1.0)


def test_an_unknown_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="model: got 'gpt-9', expected model-00"):
        write_gateway_log(simulate(2), tmp_path / "log.jsonl", model="gpt-9")
