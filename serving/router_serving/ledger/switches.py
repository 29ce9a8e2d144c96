"""The kill switches as one process knows them: a call is stopped from memory.

The ledger keeps them, so they hold through restarts, in every process and on every machine that
shares it. A process obeys one within the time between two refreshes. While the ledger can't be
read, the switches that are known go on holding.
"""

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, Protocol

from router_model.errors import InvalidRequestError
from router_model.types import Caller
from router_serving.envelope import refuse_secrets
from router_serving.errors import LimitExceededError
from router_serving.ledger.notices import Kind, Notices
from router_serving.ledger.subjects import EVERYBODY, key_subject, tenant_subject, user_subject
from router_serving.ledger.types import Switch

LIMIT: Final = "kill_switch"
RETRY_AFTER_S: Final = 60
MAX_REASON_CHARS: Final = 500
# Longer than anybody runs without a restart that would tell of the same switch again.
_TOLD_FOR_S: Final = 366 * 86_400.0


class SwitchStore(Protocol):
    """What knows, for all processes, which switches are on (a ledger store)."""

    def switches(self) -> Sequence[Switch]:
        """The switches that are on."""


class Switches:
    """The switches that are on, as of the last refresh.

    With `notices`, one process tells of each change, whoever made it.
    """

    def __init__(self, *, notices: Notices | None = None) -> None:
        self._notices = notices
        self._on: Mapping[str, Switch] = {}

    def refresh(self, store: SwitchStore) -> None:
        """Take over what the store says; LedgerError, and what is known stays, where it can't."""
        found = {switch.subject: switch for switch in store.switches()}
        before, self._on = self._on, found
        if found == before:
            return
        for subject, switch in found.items():
            if before.get(subject) != switch:
                self._tell("switch.on", switch)
        for subject, switch in before.items():
            if subject not in found:
                self._tell("switch.off", switch)

    def stopped_by(self, caller: Caller) -> Switch | None:
        """The switch that stops this caller's calls, the widest if there are several."""
        on = self._on
        if not on:
            return None
        tenant = caller.tenant
        found = on.get(EVERYBODY) or on.get(tenant_subject(tenant))
        if found is None and caller.key is not None:
            found = on.get(key_subject(tenant, caller.key))
        if found is None and caller.user is not None:
            found = on.get(user_subject(tenant, caller.user))
        return found

    def check(self, caller: Caller) -> None:
        """Raise LimitExceededError with the reason where the caller is stopped."""
        if (switch := self.stopped_by(caller)) is not None:
            raise LimitExceededError(
                f"{switch.subject} is stopped: {switch.reason}",
                limit=LIMIT,
                retry_after_s=RETRY_AFTER_S,
            )

    def _tell(self, kind: Kind, switch: Switch) -> None:
        if self._notices is None:
            return
        self._notices.tell(
            kind,
            subject=switch.subject,
            once=f"{kind}|{switch.subject}|{switch.since_s!r}",
            until_s=time.time() + _TOLD_FOR_S,
            reason=switch.reason,
            since=since_of(switch),
        )


def reason_of(value: object) -> str:
    """A reason as somebody gave it, without spaces around it; names the fault if it is none.

    >>> reason_of(" a loop in the nightly job ")
    'a loop in the nightly job'
    """
    text = value.strip() if isinstance(value, str) else ""
    if not 1 <= len(text) <= MAX_REASON_CHARS or not text.isprintable():
        allowed = f"a string of 1 to {MAX_REASON_CHARS} printable characters"
        raise InvalidRequestError("reason", value, allowed)
    refuse_secrets(text, "reason")
    return text


def since_of(switch: Switch) -> str:
    """When the switch was turned on.

    >>> since_of(Switch(subject="all", reason="", since_s=1_792_886_400.5))
    '2026-10-25T00:00:00Z'
    """
    return f"{datetime.fromtimestamp(switch.since_s, UTC):%Y-%m-%dT%H:%M:%SZ}"
