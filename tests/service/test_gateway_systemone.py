"""LiteLLM's complexity router with this service as its classifier."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from gateway_processes import PATIENT_MS, Gateway, free_port, placed, running
from litellm_proxy import ENV, START_S, requires_litellm
from serving_process import ANTHROPIC, CHAT, requires_starter, serving
from upstream import serving_upstream

pytestmark = [pytest.mark.service, requires_starter, requires_litellm]

TIERS = {
    "SIMPLE": ["gpt-6-luna"],
    "MEDIUM": ["gpt-5.4"],
    "COMPLEX": ["gpt-6-astra"],
    "REASONING": ["gpt-6.1-sol"],
}
MODELS = {model for models in TIERS.values() for model in models}


@contextmanager
def serving_litellm(folder: Path, *, router: str, upstream: str) -> Iterator[Gateway]:
    port = free_port()
    replaced = {
        "http://127.0.0.1:8080": router.rstrip("/"),
        "http://127.0.0.1:4000": upstream,
        "timeout_ms: 500": f"timeout_ms: {PATIENT_MS}",
    }
    copy = placed(folder, "litellm-systemone", replaced=replaced)
    own = ["--config", "config.yaml", "--host", "127.0.0.1", "--port", str(port)]
    with running(
        [str(ENV / "bin" / "litellm"), *own],
        port=port,
        log=folder / "litellm.log",
        cwd=copy,
        ready="/health/liveliness",
        seconds=START_S,
        environment={
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",
        },
    ) as gateway:
        yield gateway


def test_the_gateway_takes_the_model_of_the_tier_that_is_answered(tmp_path: Path) -> None:
    tiers = json.dumps(TIERS)
    with (
        serving(tmp_path / "state", systemone_tiers=tiers) as router,
        serving_upstream() as upstream,
        serving_litellm(
            tmp_path / "gateway", router=str(router.http.base_url), upstream=upstream.url
        ) as gateway,
    ):
        calls = [
            ("/v1/chat/completions", CHAT),
            ("/v1/chat/completions", {**CHAT, "stream": True}),
            ("/v1/messages", ANTHROPIC),
        ]
        for path, body in calls:
            response = gateway.http.post(path, json=body)
            assert response.status_code == 200, response.text
        router.http.get("/decisions/none")  # waits for the log
        rows = router.rows("select model from decisions order by ts_ms")
        assert [row["model"] for row in rows] == upstream.models
        assert {row["model"] for row in rows} <= MODELS
        assert len(rows) == len(calls)
        router.stop()
        response = gateway.http.post("/v1/chat/completions", json=CHAT)
        assert response.status_code == 200, response.text
        assert upstream.models[-1] in MODELS
