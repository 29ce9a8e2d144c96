"""An engine around a small router, with a log in memory."""

import asyncio
import json
import time
from collections.abc import Mapping
from typing import Any

from router_model.router import Router
from router_model.types import Caller, PolicyOverrides
from router_serving.answered import Answered
from router_serving.call import Call
from router_serving.engine import Engine
from router_serving.envelope import bare, is_envelope, opened
from router_serving.settings import Settings
from router_serving.telemetry import Metrics
from router_serving.writer import LogWriter

BODY = json.dumps({"messages": [{"role": "user", "content": "fix the test"}]}).encode()


class Rows:
    """A log in memory."""

    def __init__(self) -> None:
        self.rows: list[Mapping[str, Any]] = []

    def append(self, rows: Any) -> None:
        self.rows += rows

    def close(self) -> None:
        pass


class Served:
    """An engine, and what it logs."""

    def __init__(self, asked: Router, **settings: Any) -> None:
        self.log = Rows()
        self.metrics = Metrics()
        self.writer = LogWriter(self.log, max_rows=10_000, flush_s=10.0, metrics=self.metrics)
        self.engine = Engine(
            asked, settings=Settings(**settings), writer=self.writer, metrics=self.metrics
        )

    def ask(self, session: str = "s1", *, tenant: str = "acme") -> str:
        """The id of a decision for one small call."""
        call = Call(
            body=BODY,
            wire_format=None,
            caller=Caller(tenant=tenant, session=session),
            overrides=PolicyOverrides(),
            headers={},
        )
        return self.answered(call).answer.decision_id

    def sent(self, body: bytes, headers: Mapping[str, str] | None = None) -> Answered:
        """What is answered to a body as it comes in, in an envelope or alone."""
        found = opened if is_envelope(body) else bare
        return self.answered(found(body, headers or {}, catalog=self.engine.router.catalog))

    def answered(self, call: Call, *, waited_ms: float = 0.0) -> Answered:
        """What is answered to a call, and logged of it."""
        waited_ns = round(waited_ms * 1e6)
        started_ns = time.perf_counter_ns() - waited_ns
        answer = self.engine.answer(call, started_ns=started_ns, waited_ns=waited_ns)
        answered = asyncio.run(answer)
        self.engine.record(answered)
        return answered

    def rows(self) -> list[Mapping[str, Any]]:
        """Everything that was logged; nothing can be asked afterwards."""
        self.writer.start()
        self.writer.close()
        return self.log.rows
