from pathlib import Path

import msgspec
from routers import router
from served_engine import BODY, Served

from router_data.log import SEGMENTS, SegmentWriter
from router_data.store import Store
from router_model import fallback
from router_model.policy import CheapestAdequate
from router_model.replay import replay
from router_model.types import Caller, PolicyOverrides
from router_serving.call import Call
from router_serving.canary import CanaryMonitor
from router_serving.rollout import Rollout
from router_serving.rollout_file import RolloutFile

CALL = Call(body=BODY, wire_format=None, caller=Caller(), overrides=PolicyOverrides(), headers={})


def test_a_call_that_waited_up_to_the_deadline_is_predicted_for() -> None:
    served = Served(router())
    answer = served.answered(CALL, waited_ms=999.9).answer
    assert answer.policy != fallback.NAME
    assert answer.expected.p_adequate > 0.0


def test_a_call_that_waited_longer_is_answered_by_the_fallback_which_says_so() -> None:
    served = Served(router())
    answered = served.answered(CALL, waited_ms=1312.4)
    assert answered.answer.policy == fallback.NAME
    assert answered.answer.reason == "fallback_deadline: waited 1312 of 1000 ms"
    assert answered.stages["wait"] == 1_312_400_000
    assert answered.stages["total"] >= answered.stages["wait"]


def test_what_was_logged_of_it_comes_out_again_and_is_not_learned_from(tmp_path: Path) -> None:
    asked = router()
    served = Served(asked)
    served.answered(CALL, waited_ms=1312.4)
    (row,) = served.rows()
    assert row["embedding"] is None
    assert replay(msgspec.json.decode(msgspec.json.encode(row)), asked).is_identical
    segments = SegmentWriter(tmp_path / "log" / SEGMENTS, "test")
    segments.append([row])
    segments.close()
    with Store(tmp_path / "log") as store:
        assert store.query("select embedding, reason from decisions") == [
            {"embedding": None, "reason": "fallback_deadline: waited 1312 of 1000 ms"}
        ]
        assert store.query("select * from quarantine") == []


def test_what_another_artifact_would_have_done_is_not_predicted_either() -> None:
    served = Served(router())
    file = RolloutFile(mode="shadow", artifact="c")
    other = router(policy=CheapestAdequate(failure_cost_usd=0.0), version="new")
    served.engine.use_rollout(Rollout(file, other, CanaryMonitor(file.promise)))
    served.answered(CALL, waited_ms=1e4)
    (row,) = served.rows()
    assert row["shadow"]["model"] is not None
    assert row["shadow"]["p_adequate"] != row["shadow"]["p_adequate"]  # no number
