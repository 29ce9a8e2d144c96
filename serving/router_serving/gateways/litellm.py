"""The callback that makes LiteLLM's proxy ask the router, and report to it.

In the proxy's configuration:

    litellm_settings:
      callbacks: router_serving.gateways.litellm.handler

It is imported where LiteLLM is installed, and needs nothing of the service. How it is set is in
`settings`; what LiteLLM promises of its hooks is in its `integrations/custom_logger.py`.
"""

import logging
import os
import uuid
from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from typing import Any, Final

from litellm.integrations.custom_logger import CustomLogger

from router_model.types import Caller
from router_serving.gateways.asking import Asker, Asking
from router_serving.gateways.errors import RefusedError, UnavailableError, where
from router_serving.gateways.first_call import FirstCall, watched
from router_serving.gateways.litellm_calls import DECISION, FALLBACK, Call, Calls, note, noted
from router_serving.gateways.litellm_reports import Reports
from router_serving.gateways.litellm_request import (
    FORMATS,
    body_of,
    caller_of,
    group_of,
    groups_of,
    named_to_router,
    session_headers,
)
from router_serving.gateways.settings import GatewaySettings, read_settings

STREAM_END_S: Final = 1.0
_log = logging.getLogger(__name__)


class LearnedRouter(CustomLogger):  # type: ignore[misc]  # LiteLLM is not there to be checked
    """Sets the model of calls to `auto`, and reports how each attempt at them went.

    Nothing it does may fail a client's call, except a limit of the router that is passed on.
    """

    def __init__(self, settings: GatewaySettings) -> None:
        super().__init__()
        self.settings = settings
        self._asker = Asker(settings)
        self._calls = Calls()
        self._reports = Reports(settings)

    # --- before a call

    async def async_pre_call_hook(
        self, user_api_key_dict: Any, cache: Any, data: dict[str, Any], call_type: str
    ) -> dict[str, Any]:
        """The data of a call, with the model that the router has chosen."""
        asked_for = data.get("model")
        if call_type not in FORMATS or not self.settings.is_auto(asked_for):
            return data
        try:
            call, asking = self._opened(user_api_key_dict, data, call_type, str(asked_for))
            await self._decide(call, asking, data)
        except RefusedError as error:
            if self.settings.pass_refusals:
                raise _as_http(error) from None
            self._fall_back(data, None, f"status_{error.status}")
        except Exception as error:  # noqa: BLE001  # a defect of ours must not fail the call
            _log.error("call.not_routed error=%s", where(error))
            self._fall_back(data, None, "failed")
        return data

    def _opened(
        self, key: Any, data: Mapping[str, Any], kind: str, asked_for: str
    ) -> tuple[Call, Asking]:
        """What is to be asked, and the call to remember."""
        names, access = _proxy_models()
        models = groups_of(names, key, settings=self.settings, access=access)
        own = named_to_router(asked_for, models, settings=self.settings)
        headers = session_headers(data)
        caller = caller_of(data, key, settings=self.settings, headers=headers)
        decision_id = f"ll-{uuid.uuid4().hex}"
        body = body_of(data, FORMATS[kind], model=own)
        call = Call(
            decision_id=decision_id,
            kind=kind,
            wire_format=FORMATS[kind],
            body=body,
            group=asked_for,
            models=models,
            headers=headers,
            caller=Caller(**caller),
            tenant=caller.get("tenant"),
        )
        asking = Asking(
            body=body,
            wire_format=FORMATS[kind],
            caller={**caller, "decision_id": decision_id},
            models=tuple(models),
            headers=headers,
        )
        return call, asking

    async def _decide(self, call: Call, asking: Asking, data: dict[str, Any]) -> None:
        try:
            decided = await self._asker.ask(asking)
        except UnavailableError as error:
            self._fall_back(data, call if error.may_be_logged else None, error.reason)
            return
        group = group_of(decided.model, call.models, asked_for=call.group)
        if group is None:  # as the incumbent of a tenant may be
            self._fall_back(data, call, "foreign_model")
            return
        call.group = data["model"] = group
        following = [call.models[name] for name in decided.fallbacks if name in call.models]
        if self.settings.next_models and following:
            data["fallbacks"] = following[: self.settings.next_models]
        self._remember(call, data)

    def _fall_back(self, data: dict[str, Any], call: Call | None, reason: str) -> None:
        """Let the fallback answer; reported only where the router may have decided all the same."""
        data["model"] = self.settings.fallback or data["model"]
        note(data, FALLBACK, reason)
        if call is not None:
            call.group = data["model"]
            self._remember(call, data)

    def _remember(self, call: Call, data: dict[str, Any]) -> None:
        self._calls.add(call)
        note(data, DECISION, call.decision_id)

    # --- around its attempts

    async def async_pre_call_deployment_hook(
        self, kwargs: dict[str, Any], call_type: Any
    ) -> dict[str, Any] | None:
        """Take that an attempt begins."""
        call = self._calls.of(kwargs)
        if call is not None and _kind(call_type) == call.kind:
            call.begin(noted(kwargs, "model_group"))
        return None

    async def async_post_call_failure_deployment_hook(
        self,
        request_data: Mapping[str, Any],
        exception: Exception,
        call_type: Any,
        fallback_depth: int | None = None,
    ) -> None:
        """Report an attempt that failed before it was answered."""
        call = self._calls.of(request_data)
        if call is not None and _kind(call_type) == call.kind:
            self._reports.failed(call, exception)

    def async_post_call_streaming_iterator_hook(
        self, user_api_key_dict: Any, response: Any, request_data: dict[str, Any]
    ) -> AsyncIterator[Any]:
        """The stream, watched for its first complete tool call."""
        call = self._calls.of(request_data)
        if call is None:
            return response  # type: ignore[no-any-return]  # an iterator, as it came
        call.first_call = FirstCall(call.wire_format)
        return watched(response, call.first_call)

    async def async_post_call_response_headers_hook(
        self,
        data: dict[str, Any],
        user_api_key_dict: Any,
        response: Any,
        request_headers: Any = None,
        litellm_call_info: Any = None,
    ) -> dict[str, str] | None:
        """The decision, in headers of the response."""
        call = self._calls.of(data)
        reason = noted(data, FALLBACK)
        fallback = {} if reason is None else {"x-router-fallback": reason}
        if call is None:
            return fallback or None
        decision = {"x-router-decision-id": call.decision_id, "x-routed-model": call.group}
        return {**decision, **fallback}

    # --- after it

    async def async_log_success_event(
        self, kwargs: Mapping[str, Any], response_obj: Any, start_time: Any, end_time: datetime
    ) -> None:
        """Report an attempt that was answered; of a stream, once it is over."""
        call = self._calls.of(kwargs.get("litellm_params"))
        if call is not None:
            logged = kwargs.get("standard_logging_object") or {}
            if call.first_call is not None:  # LiteLLM may log before the last of it has gone out
                await call.first_call.over(within_s=STREAM_END_S)
            self._reports.answered(call, logged=logged, response=response_obj, ended=end_time)
            self._calls.end(call.decision_id)

    async def async_log_failure_event(
        self, kwargs: Mapping[str, Any], response_obj: Any, start_time: Any, end_time: Any
    ) -> None:
        """Report a first attempt that broke off; LiteLLM tells of the first failure alone."""
        call = self._calls.of(kwargs.get("litellm_params"))
        if call is not None and len(call.attempts) == 1:
            error = kwargs.get("exception")
            self._reports.failed(call, error if isinstance(error, Exception) else Exception())

    async def async_post_call_failure_hook(
        self,
        request_data: dict[str, Any],
        original_exception: Exception,
        user_api_key_dict: Any,
        traceback_str: str | None = None,
    ) -> None:
        """Report the last attempt of a call that failed as a whole, if nothing else did."""
        call = self._calls.of(request_data)
        if call is not None:
            self._reports.failed(call, original_exception)
            self._calls.end(call.decision_id)


def _kind(call_type: Any) -> str:
    """The kind of a call as text; LiteLLM gives it as that or as a member of an enumeration."""
    return str(getattr(call_type, "value", call_type))


def _proxy_models() -> tuple[list[str], Mapping[str, list[str]]]:
    """The names of the proxy's models, and its access groups."""
    from litellm.proxy.proxy_server import llm_router

    if llm_router is None:
        return [], {}
    return list(llm_router.model_names), llm_router.get_model_access_groups()


def _as_http(error: RefusedError) -> Exception:
    """The refusal as the proxy answers it, in the client's dialect."""
    from fastapi import HTTPException

    told = {name: error.problem[name] for name in ("code", "limit") if name in error.problem}
    detail = {"error": str(error), **told}
    return HTTPException(error.status, detail=detail, headers=dict(error.headers))


handler = LearnedRouter(read_settings(os.environ))
