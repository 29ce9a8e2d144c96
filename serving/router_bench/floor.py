"""The floor: a server that reads the body, parses it and always gives the same answer."""

import simdjson
from uvicorn._types import ASGIReceiveCallable, ASGISendCallable, Scope

ANSWER = b'{"model":"the-same","fallbacks":[]}'
HEADERS = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(ANSWER))]
_parser = simdjson.Parser()


async def app(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
    """Answer a call after a lazy parse of its body: no routing, no features, no choice."""
    assert scope["type"] == "http"
    chunks = []
    more = True
    while more:
        message = await receive()
        assert message["type"] == "http.request"
        chunks.append(message["body"])
        more = message["more_body"]
    document = _parser.parse(b"".join(chunks))
    assert document is not None
    # simdjson takes no new document while the one before is referenced.
    del document
    await send(
        {"type": "http.response.start", "status": 200, "headers": HEADERS, "trailers": False}
    )
    await send({"type": "http.response.body", "body": ANSWER, "more_body": False})
