"""The gateways that run the shipped Lua, and the paths that its clients call."""

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
from gateway_envoy import requires_envoy, serving_envoy
from gateway_nginx import requires_nginx, serving_nginx
from gateway_processes import Gateway

Serving = Callable[..., AbstractContextManager[Gateway]]
GATEWAYS = [
    pytest.param(serving_nginx, marks=requires_nginx, id="nginx"),
    pytest.param(serving_envoy, marks=requires_envoy, id="envoy"),
]

PATHS = {
    "openai.chat": "/v1/chat/completions",
    "openai.responses": "/v1/responses",
    "anthropic.messages": "/v1/messages",
    "gemini": "/v1beta/models/auto:generateContent",
}
