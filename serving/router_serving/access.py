"""Who may do what: the key of a call, its scopes and its tenant.

One message answers every key that is not good, and one every foreign tenant, whether or not such
a key, tenant or decision exists.
"""

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Final, cast

from fastapi import Request, Security
from fastapi.openapi.models import APIKey
from fastapi.security.base import SecurityBase
from msgspec import Struct

from router_serving.asgi import Scope as ASGIScope
from router_serving.asgi import headers_of
from router_serving.errors import ForbiddenError, KeysError, StartError, UnauthorizedError
from router_serving.keys import KeyRing, Scope, keys_path, load_keys
from router_serving.settings import Settings
from router_serving.watch import FileWatcher, state_of

if TYPE_CHECKING:
    from router_serving.parts import Running

HEADER: Final = "x-router-api-key"
TENANT_HEADER: Final = "x-router-tenant"


class Rights(Struct, frozen=True):
    """What a caller may speak for: `tenant` None is any; `key` None where no keys are asked for."""

    key: str | None = None
    tenant: str | None = None

    @property
    def bound_key(self) -> str | None:
        """The id of a key that speaks for one tenant; None for any other."""
        return None if self.tenant is None else self.key

    def check_tenant(self, given: object, field: str) -> None:
        """Raise ForbiddenError where a tenant is named that the key may not speak for."""
        if self.tenant is not None and given is not None and given != self.tenant:
            raise ForbiddenError(
                f"{field}: names another tenant, expected {self.tenant!r}, the only one of this "
                "key, or nothing"
            )

    def check_any_tenant(self) -> None:
        """Raise ForbiddenError for a key that is bound to one tenant."""
        if self.tenant is not None:
            raise ForbiddenError(
                f"{HEADER}: this key is bound to a tenant, expected one of any tenant: what is "
                "here is of all of them"
            )

    def check_bound(self) -> None:
        """Raise ForbiddenError for a key of any tenant."""
        if self.key is not None and self.tenant is None:
            raise ForbiddenError(
                f"{HEADER}: this key is of any tenant, expected one of a single tenant: clients "
                "hold it here, and could name any; create one by "
                "router-serve keys create --tenant NAME --scopes route,outcomes"
            )


ANYBODY: Final = Rights()
"""Where no keys are asked for, everybody may do everything."""


class Access:
    """Holds the one reference to the keys that a change of the file replaces."""

    def __init__(self, ring: KeyRing) -> None:
        self.ring = ring

    @property
    def is_keyless(self) -> bool:
        """True when no keys are asked for."""
        return not self.ring.known

    def rights(self, headers: Mapping[str, str], scope: Scope) -> Rights:
        """The rights of the key in lower-case headers, if it has the scope.

        Raises UnauthorizedError without a key that is good now, ForbiddenError for a scope or a
        tenant in `x-router-tenant` that the key does not have.
        """
        ring = self.ring
        if not ring.known:
            return ANYBODY
        text = key_in(headers)
        found = None if text is None else ring.find(text, now_s=time.time())
        if found is None:
            raise UnauthorizedError(
                f"{HEADER}: got no valid key, expected one here or in Authorization: Bearer"
            )
        if scope not in found.scopes:
            raise ForbiddenError(f"{HEADER}: the key lacks the scope {scope!r}")
        rights = Rights(found.id, found.tenant)
        rights.check_tenant(headers.get(TENANT_HEADER), TENANT_HEADER)
        return rights


def check_keyless(scope: ASGIScope) -> None:
    """Raise ForbiddenError for a call to an address that others than this machine can reach.

    The settings say nothing of it where another server than `router-serve` listens. A socket that
    has no address (None) is one of this machine.
    """
    host = (scope.get("server") or ("::1",))[0]
    if not host.startswith("127.") and host != "::1":
        raise ForbiddenError(
            f"address: got {host}, which others than this machine may reach, and the service has "
            "no keys; expected one (router-serve keys create), or ROUTER_ALLOW_KEYLESS=true"
        )


def checked_keys(settings: Settings) -> KeyRing:
    """The keys to start with.

    Raises KeysError for a file that can't be used, StartError where others than this machine could
    call without a key and nobody said that they may.
    """
    ring = load_keys(settings)
    if not ring.known and not settings.is_loopback and not settings.allow_keyless:
        raise StartError(
            f"--host {settings.host}: others than this machine could reach the service, and it "
            "has no keys; expected one (router-serve keys create), a loopback address, or "
            "--allow-keyless as well"
        )
    return ring


def key_in(headers: Mapping[str, str]) -> str | None:
    """The key that a call carries; an Authorization that is not ours is the provider's.

    >>> key_in({"authorization": "Bearer rk_a"}), key_in({"authorization": "Bearer sk-a"})
    ('rk_a', None)
    """
    if (text := headers.get(HEADER)) is not None:
        return text.strip()
    kind, _, text = headers.get("authorization", "").strip().partition(" ")
    text = text.strip()
    return text if kind.lower() == "bearer" and text.startswith("rk_") else None


def keys_watcher(
    settings: Settings, *, access: Access, counted: Callable[[str], None]
) -> FileWatcher:
    """Reads the file of keys again when it has changed.

    One that is gone or lists nothing is refused too: a service that asks for keys does so until it
    is started anew.
    """
    path = keys_path(settings)

    def take() -> Mapping[str, object]:
        ring = load_keys(settings)
        if not ring.known and not access.is_keyless:
            raise KeysError(f"{path}: lists no key any more, expected at least one")
        access.ring = ring
        return {"keys": len(ring)}

    return FileWatcher(
        "keys",
        path,
        seen=access.ring.fingerprint,
        state=lambda: state_of(path),
        take=take,
        counted=counted,
    )


class RightsTo(SecurityBase):
    """A dependency of a route: the caller's rights, if it has the scope."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        # What the description of the API says of it.
        self.scheme_name = "apiKey"
        self.model = APIKey.model_validate(
            {
                **{"in": "header", "name": HEADER},
                "description": "From `router-serve keys create`; asked for where there are any.",
            }
        )

    async def __call__(self, request: Request) -> Rights:
        """The rights of this request's key."""
        running = cast("Running", request.app.state.running)
        return running.access.rights(headers_of(request.scope), self.scope)


def needs(scope: Scope) -> Any:
    """The dependency that asks for a key with this scope, for the declaration of a route."""
    return Security(RightsTo(scope), scopes=[scope])


Asker = Annotated[Rights, needs("route")]
Reporter = Annotated[Rights, needs("outcomes")]
Reader = Annotated[Rights, needs("read")]
Admin = Annotated[Rights, needs("admin")]
