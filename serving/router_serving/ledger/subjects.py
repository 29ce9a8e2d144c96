"""The names of what limits, budgets, counts and switches apply to.

"all" is everybody; "tenant:acme" a tenant; "key:acme/ci" and "user:acme/kim" a key and a user of
one. In names "%", "/", ":" and "|" are percent-encoded, so that no two callers share a subject,
and a subject can stand in the key of an account.
"""

import re

from router_model.errors import InvalidRequestError
from router_serving.envelope import refuse_secrets
from router_serving.redaction import MAX_NAME_CHARS

EVERYBODY = "all"
ALLOWED = (
    '"all", "tenant:TENANT", "key:TENANT/KEY" or "user:TENANT/USER", with "/" and "%" in a name '
    'written "%2F" and "%25"'
)
_N_NAMES = {"tenant": 1, "key": 2, "user": 2}
_ENCODE = {ord(char): f"%{ord(char):02X}" for char in "%/:|"}
_DECODE = {code: chr(char) for char, code in _ENCODE.items()}
_CODE = re.compile("|".join(_DECODE), re.IGNORECASE)
_NAME = re.compile(r"(?:[^%]|%25|%2F|%3A|%7C)+", re.IGNORECASE)


def tenant_subject(tenant: str) -> str:
    """The subject of a tenant.

    >>> tenant_subject("acme"), tenant_subject("a/b:c|100%")
    ('tenant:acme', 'tenant:a%2Fb%3Ac%7C100%25')
    """
    return "tenant:" + tenant.translate(_ENCODE)


def key_subject(tenant: str, key: str) -> str:
    """The subject of a tenant's key.

    >>> key_subject("acme", "ci"), key_subject("a/b", "c"), key_subject("a", "b/c")
    ('key:acme/ci', 'key:a%2Fb/c', 'key:a/b%2Fc')
    """
    return f"key:{tenant.translate(_ENCODE)}/{key.translate(_ENCODE)}"


def user_subject(tenant: str, user: str) -> str:
    """The subject of a tenant's user.

    >>> user_subject("acme", "kim")
    'user:acme/kim'
    """
    return f"user:{tenant.translate(_ENCODE)}/{user.translate(_ENCODE)}"


def subject_of(text: str) -> str:
    """The subject that somebody wrote, in its one spelling; names the fault if it is none.

    ":" and "|" may be written as they are; "/" within a name and "%" have to be encoded.

    >>> subject_of("tenant:a:b"), subject_of("key:a%2fb/c")
    ('tenant:a%3Ab', 'key:a%2Fb/c')
    """
    if text == EVERYBODY:
        return text
    refuse_secrets(text, "subject")
    kind, _, rest = text.partition(":")
    parts = rest.split("/")
    names = [_decoded(part) for part in parts]
    if (
        len(parts) != _N_NAMES.get(kind)
        or not all(map(_NAME.fullmatch, parts))
        or not text.isprintable()
        or max(map(len, names)) > MAX_NAME_CHARS
    ):
        raise InvalidRequestError("subject", text, ALLOWED)
    return f"{kind}:" + "/".join(name.translate(_ENCODE) for name in names)


def _decoded(part: str) -> str:
    return _CODE.sub(lambda found: _DECODE[found[0].upper()], part)
