"""Says when a call is tied to the model before it, so that it is no place to try another one."""

from router_model.types import Request

PROVIDER_STATE, SIGNED = "provider_state", "signed"


def lock_of(request: Request) -> str | None:
    """Why the call is tied to what one provider holds or signed; None where it is free.

    A provider's kept state is of use with that provider only, and signed thinking or encrypted
    reasoning in the prefix can't be read by any other.

    >>> lock_of(Request(messages=(), has_provider_state=True))
    'provider_state'
    """
    if request.has_provider_state:
        return PROVIDER_STATE
    if any(part.is_signed for message in request.messages for part in message.parts):
        return SIGNED
    return None
