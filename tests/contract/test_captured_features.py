"""Real clients' bodies: their features alone bring the decision and the row of the whole body."""

import json
from collections import defaultdict
from functools import cache
from typing import Any

import pytest
from packed_calls import BothWays
from paths import CAPTURED, requires_captured
from serving_process import requires_starter

from router_model.artifact import STARTER
from router_model.router import Router

pytestmark = [requires_captured, requires_starter]

FILES = sorted(CAPTURED.glob("*.json")) if CAPTURED.is_dir() else []


@cache
def starter() -> Router:
    return Router.load(STARTER)


def calls() -> dict[str, list[dict[str, Any]]]:
    """Captured calls by client, in their order."""
    found = defaultdict(list)
    for path in FILES:
        found[path.stem.rpartition("-")[0]].append(json.loads(path.read_text()))
    return found


def raw(capture: dict[str, Any]) -> bytes:
    body = capture["body"]
    return body.encode() if isinstance(body, str) else json.dumps(body).encode()


@pytest.mark.parametrize("client", sorted({p.stem.rpartition("-")[0] for p in FILES}))
def test_features_decide_as_the_body_does_over_all_turns_of_a_client(client: str) -> None:
    both = BothWays(starter())
    for number, capture in enumerate(calls()[client]):
        caller = {"tenant": "acme", "user": "kim", "decision_id": f"d{number}"}
        headers = {k.lower(): v for k, v in capture["headers"].items() if isinstance(v, str)}
        ours = {k: v for k, v in headers.items() if not k.startswith("x-router-")}
        path = capture.get("path") or None
        both.sent(raw(capture), headers=ours, path=path, caller=caller)
    assert len(both.rows()) == len(both.sizes)
    assert max(small for _, small in both.sizes) < 4_000


def test_features_are_about_two_kilobytes_however_long_the_body() -> None:
    both = BothWays(starter())
    for captures in calls().values():
        body = raw(max(captures, key=lambda each: len(raw(each))))
        both.sent(body, caller={"decision_id": f"d{len(both.sizes)}"})
    sizes = sorted(small for _, small in both.sizes)
    assert sizes[len(sizes) // 2] < 2_300
