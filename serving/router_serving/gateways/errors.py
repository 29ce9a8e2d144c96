"""What keeps a gateway from using the router's decision.

RouterError
├── GatewaySettingsError     an environment variable that can't be used
├── UnavailableError         the router did not answer, or not with a decision
└── RefusedError             the router says that this call must not be made: a limit, or no model
"""

import traceback
from collections.abc import Mapping
from typing import Any

from router_model.errors import RouterError


class GatewaySettingsError(RouterError):
    """An environment variable that can't be used; names it, its value and what is allowed."""

    code = "invalid_settings"

    def __init__(self, name: str, value: str, allowed: str) -> None:
        super().__init__(f"{name}: got {value!r}, expected {allowed}")


class UnavailableError(RouterError):
    """No decision; `reason` is one word, `may_be_logged` says that one may be in the log."""

    code = "router_unavailable"

    def __init__(self, reason: str, *, may_be_logged: bool = False) -> None:
        super().__init__(f"no decision: {reason}")
        self.reason = reason
        self.may_be_logged = may_be_logged


class RefusedError(RouterError):
    """The router's refusal of a call, with its status, its problem document and its headers."""

    code = "refused"

    def __init__(
        self, status: int, problem: Mapping[str, Any], *, headers: Mapping[str, str]
    ) -> None:
        super().__init__(str(problem.get("detail") or problem.get("title") or "refused"))
        self.status = status
        self.problem = problem
        self.headers = headers


def where(error: BaseException) -> str:
    """The kind of an error and the line it came from; its text may hold what clients sent."""
    frames = traceback.extract_tb(error.__traceback__)
    last = f" at {frames[-1].name}:{frames[-1].lineno}" if frames else ""
    return type(error).__name__ + last
