"""One POST of JSON to the address in ROUTER_WEBHOOK_URL, which is never shown.

The address often holds a token, so no error names it, and a redirect is not followed: it would
carry the notice elsewhere. HTTPS_PROXY and NO_PROXY are heeded.
"""

from http.client import HTTPException, HTTPMessage
from typing import IO, Final
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from pydantic import SecretStr

from router_serving.errors import StartError

TIMEOUT_S: Final = 5.0
# What may go away by itself; every other answer from 300 on is the receiver's last word.
_TRANSIENT: Final = frozenset({408, 425, 429})
_ALLOWED: Final = (
    "expected an http:// or https:// address with a host and without user and password "
    "(what it holds is not shown)"
)


class DeliveryError(Exception):
    """A POST that did not succeed; another try may where `is_transient`. It names no address."""

    def __init__(self, cause: str, *, is_transient: bool) -> None:
        super().__init__(cause)
        self.is_transient = is_transient


class Webhook:
    """Posts to one address; StartError when it is none."""

    def __init__(self, url: SecretStr, *, timeout_s: float = TIMEOUT_S) -> None:
        self._url = _checked(url)
        self._timeout_s = timeout_s
        self._opener = build_opener(_NoRedirects)

    def post(self, body: bytes) -> None:
        """Returns once the receiver has answered 2xx; DeliveryError says why it has not."""
        request = Request(
            self._url.get_secret_value(),
            data=body,
            method="POST",
            headers={"content-type": "application/json", "user-agent": "router-serve"},
        )
        try:
            with self._opener.open(request, timeout=self._timeout_s):
                pass
        except HTTPError as error:
            error.close()
            transient = error.code >= 500 or error.code in _TRANSIENT
            raise DeliveryError(f"answered {error.code}", is_transient=transient) from None
        except URLError as error:
            cause = type(error.reason).__name__
            raise DeliveryError(f"can't be reached: {cause}", is_transient=True) from None
        except (OSError, HTTPException) as error:
            cause = type(error).__name__
            raise DeliveryError(f"did not answer: {cause}", is_transient=True) from None


class _NoRedirects(HTTPRedirectHandler):
    def redirect_request(
        self,
        req: Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> None:
        return None


def _checked(url: SecretStr) -> SecretStr:
    text = url.get_secret_value()
    try:
        parts = urlsplit(text)
        is_address = parts.scheme in ("http", "https") and bool(parts.hostname)
        # `port` is read when asked for, and may be out of range.
        is_address = is_address and parts.username is None and parts.port != 0
    except ValueError:
        is_address = False
    if not is_address or not text.isascii() or not text.isprintable() or " " in text:
        raise StartError(f"ROUTER_WEBHOOK_URL: {_ALLOWED}")
    return url
