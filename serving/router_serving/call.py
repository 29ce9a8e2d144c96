"""One call as it was sent: the client's body, who calls, and the limits it sets."""

from collections.abc import Mapping

from msgspec import Struct, structs

from router_model.types import Caller, PolicyOverrides, WireFormat

Headers = Mapping[str, str]


class Call(Struct, frozen=True, kw_only=True):
    """One call, taken apart but not yet parsed.

    `path` is the client's own path where a gateway forwarded it (the Gemini model stands there);
    `is_packed`: the body is not the client's, but a digest of it.
    `prefix` is what to put before the name of a field of `body` in an error. `bound_key` is the id
    of an API key that speaks for one tenant only.
    """

    body: bytes
    wire_format: WireFormat | None
    caller: Caller
    overrides: PolicyOverrides
    headers: Headers
    is_packed: bool = False
    path: str | None = None
    prefix: str = ""
    bound_key: str | None = None

    @property
    def payer(self) -> Caller:
        """The caller as limits and switches know it: a bound key goes by no other name there."""
        if self.bound_key is None:
            return self.caller
        return structs.replace(self.caller, key=self.bound_key)
