import socket
from collections.abc import Iterator
from contextlib import closing

import pytest
from pydantic import SecretStr
from webhook_receiver import receiving

from router_serving.errors import StartError
from router_serving.ledger.webhook import DeliveryError, Webhook


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def silent_url() -> Iterator[str]:
    """An address that takes connections and never answers."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}/secret-token"


@pytest.mark.parametrize(
    "url",
    ["", "hooks.example/secret-token", "file:///etc/secret-token", "ftp://h/secret-token",
     "data:,secret-token", "http://", "https:///secret-token", "http://h:99999/secret-token",
     "http://user:secret-token@h/", "http://h/secret-token\r\nx: y", "http://h/secret token",
     "http://[::1/secret-token", "http://hü/secret-token"],
)  # fmt: skip
def test_an_address_that_is_none_is_refused_without_being_shown(url: str) -> None:
    with pytest.raises(StartError, match="ROUTER_WEBHOOK_URL: expected an http://") as caught:
        Webhook(SecretStr(url))
    assert "secret" not in str(caught.value)


def test_a_body_arrives_as_it_is() -> None:
    with receiving(204) as receiver:
        Webhook(SecretStr(receiver.url)).post(b'{"kind": "switch.on"}')
    assert receiver.bodies == [{"kind": "switch.on"}]


@pytest.mark.parametrize(
    ("status", "is_transient"), [(500, True), (503, True), (429, True), (404, False), (403, False)]
)
def test_only_what_may_go_away_is_worth_another_try(status: int, is_transient: bool) -> None:
    with receiving(status) as receiver, pytest.raises(DeliveryError, match=str(status)) as caught:
        Webhook(SecretStr(receiver.url)).post(b"{}")
    assert caught.value.is_transient == is_transient


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(status: int) -> None:
    with receiving(status) as receiver, pytest.raises(DeliveryError, match=str(status)) as caught:
        Webhook(SecretStr(receiver.url)).post(b"{}")
    assert receiver.paths == ["/hook/secret-token"]
    assert not caught.value.is_transient


def test_a_receiver_that_is_gone_or_silent_is_a_transient_error_without_the_address(
    silent_url: str,
) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        gone_url = f"http://127.0.0.1:{server.getsockname()[1]}/secret-token"
    for url in (gone_url, silent_url):
        with pytest.raises(DeliveryError) as caught:
            Webhook(SecretStr(url), timeout_s=0.2).post(b"{}")
        assert caught.value.is_transient
        assert "secret" not in str(caught.value)
        assert "127.0.0.1" not in str(caught.value)
        assert caught.value.__cause__ is None
