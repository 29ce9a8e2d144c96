import base64
import io
import json
import random
from typing import Any

import pytest

from router_model import formats
from router_model.formats.billing import longest_ttl_s
from router_model.formats.image_size import image_size
from router_model.types import Part, Request, WireFormat

PNG = b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR" + (640).to_bytes(4) + (480).to_bytes(4) + b"\x08\x02"
GIF = b"GIF89a" + (640).to_bytes(2, "little") + (480).to_bytes(2, "little") + b"\0" * 9
LOSSY = b"RIFF\0\0\0\0WEBPVP8 " + b"\0" * 10 + (640).to_bytes(2, "little") + b"\xe0\x01" + b"\0"
LOSSLESS = b"RIFF\0\0\0\0WEBPVP8L\0\0\0\0/" + (639 | 479 << 14).to_bytes(4, "little") + b"\0" * 9
EXTENDED = b"RIFF\0\0\0\0WEBPVP8X" + b"\0" * 8 + b"\x7f\x02\0" + b"\xdf\x01\0" + b"\0" * 4
FRAME = b"\xff\xc2\0\x11\x08" + (480).to_bytes(2) + (640).to_bytes(2) + b"\x03"
JPEG = b"\xff\xd8\xff\xe1\x20\x02" + b"\xff\xc0" * 0x1000 + b"\xff\xff\xc4\0\x04ab" + FRAME
IMAGES = {
    "png": PNG,
    "gif": GIF,
    "webp lossy": LOSSY,
    "webp lossless": LOSSLESS,
    "webp extended": EXTENDED,
    "jpeg": JPEG,
}


def encoded(image: bytes) -> str:
    return base64.b64encode(image).decode()


def body(dialect: WireFormat, data: str) -> dict[str, Any]:
    """A body with one inline image, as the dialect's clients send it."""
    url = f"data:image/png;base64,{data}"
    if dialect is WireFormat.OPENAI_CHAT:
        part: dict[str, Any] = {"type": "image_url", "image_url": {"detail": "high", "url": url}}
        return {"messages": [{"role": "user", "content": [part]}]}
    if dialect is WireFormat.OPENAI_RESPONSES:
        part = {"type": "input_image", "image_url": url}
        return {"input": [{"role": "user", "content": [part]}]}
    if dialect is WireFormat.ANTHROPIC_MESSAGES:
        source = {"type": "base64", "media_type": "image/png", "data": data}
        part = {"type": "image", "source": source}
        return {"max_tokens": 9, "messages": [{"role": "user", "content": [part]}]}
    return {"contents": [{"parts": [{"inlineData": {"mimeType": "image/png", "data": data}}]}]}


def parsed(dialect: WireFormat, content: dict[str, Any]) -> Request:
    return formats.parse(json.dumps(content).encode(), wire_format=dialect)


@pytest.mark.parametrize("name", IMAGES)
@pytest.mark.parametrize("dialect", WireFormat)
def test_the_size_of_an_inline_image_is_read_in_every_dialect(
    dialect: WireFormat, name: str
) -> None:
    request = parsed(dialect, body(dialect, encoded(IMAGES[name] + b"\0" * 100)))
    (part,) = request.messages[0].parts
    assert part == Part("image", width=640, height=480)


@pytest.mark.parametrize("dialect", WireFormat)
@pytest.mark.parametrize("data", ["", "AAAA", "!" * 40, encoded(b"%PDF-1.7 no image at all")])
def test_what_is_no_image_has_no_size(dialect: WireFormat, data: str) -> None:
    (part,) = parsed(dialect, body(dialect, data)).messages[0].parts
    assert (part.width, part.height) == (0, 0)


@pytest.mark.parametrize(
    "held",
    [
        b'"https://example.org/a.png"',
        b'{"url": "https://example.org/a.png?x=;base64"}',
        b'{"type": "file", "file_id": "file_12345678901234567890"}',
        b"null",
        b"",
        b"17",
    ],
)
def test_an_image_elsewhere_has_no_size(held: bytes) -> None:
    assert image_size(held) == (0, 0)


def test_escaped_slashes_and_url_safe_data_are_understood() -> None:
    # The frame header itself holds what base64 writes as a slash.
    plain = encoded(JPEG)
    assert "/" in plain
    escaped = b'"data:image/jpeg;base64,' + plain.replace("/", "\\/").encode() + b'"'
    assert image_size(escaped) == (640, 480)
    assert image_size(b'"' + base64.urlsafe_b64encode(JPEG) + b'"') == (640, 480)


def test_any_cut_of_an_image_has_its_size_or_none() -> None:
    for image in IMAGES.values():
        for end in range(0, min(len(image), 200)):
            assert image_size(f'"{encoded(image[:end])}"'.encode()) in ((0, 0), (640, 480))


def test_noise_is_never_an_error() -> None:
    draw = random.Random(7)
    for start in (b"", b"\xff\xd8\xff", b"RIFF\0\0\0\0WEBP", b"\x89PNG\r\n\x1a\n"):
        for _ in range(200):
            image_size(f'"{encoded(start + draw.randbytes(60))}"'.encode())


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP"])
def test_files_of_an_image_library_are_read(kind: str) -> None:
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    file = io.BytesIO()
    image.new("RGB", (1_234, 567), (9, 99, 199)).save(file, kind)
    assert image_size(f'"{encoded(file.getvalue())}"'.encode()) == (1_234, 567)


@pytest.mark.parametrize(
    ("dialect", "field"),
    [
        (WireFormat.OPENAI_CHAT, "service_tier"),
        (WireFormat.OPENAI_RESPONSES, "service_tier"),
        (WireFormat.ANTHROPIC_MESSAGES, "service_tier"),
        (WireFormat.GEMINI, "service_tier"),
        (WireFormat.GEMINI, "serviceTier"),
    ],
)
def test_the_asked_service_tier_is_kept_in_lower_case(dialect: WireFormat, field: str) -> None:
    plain = body(dialect, "")
    assert parsed(dialect, plain).service_tier is None
    assert parsed(dialect, {**plain, field: None}).service_tier is None
    assert parsed(dialect, {**plain, field: 3}).service_tier is None
    assert parsed(dialect, {**plain, field: "Flex"}).service_tier == "flex"


def test_the_fast_mode_of_anthropic_is_a_service_tier() -> None:
    plain = body(WireFormat.ANTHROPIC_MESSAGES, "")
    for extra, tier in (({"speed": "fast"}, "fast"), ({"speed": "standard"}, None)):
        assert parsed(WireFormat.ANTHROPIC_MESSAGES, {**plain, **extra}).service_tier == tier


@pytest.mark.parametrize(
    ("ttls", "seconds"),
    [((None,), None), (("5m",), 300), (("5m", "1h"), 3_600), (("1h", None), 3_600)],
)
def test_the_longest_life_of_a_cache_marker_is_kept(
    ttls: tuple[str | None, ...], seconds: int | None
) -> None:
    blocks = [
        {"type": "text", "text": f"part {n}", "cache_control": {"type": "ephemeral", "ttl": ttl}}
        if ttl
        else {"type": "text", "text": f"part {n}", "cache_control": {"type": "ephemeral"}}
        for n, ttl in enumerate(ttls)
    ]
    content = {"max_tokens": 9, "system": blocks, "messages": [{"role": "user", "content": "Hi"}]}
    request = parsed(WireFormat.ANTHROPIC_MESSAGES, content)
    assert (request.cache_ttl_s, request.n_cache_markers) == (seconds, len(ttls))
    chat = {"messages": [{"role": "user", "content": blocks}]}
    assert parsed(WireFormat.OPENAI_CHAT, chat).cache_ttl_s == seconds


def test_a_life_that_is_only_talked_about_is_not_asked_for() -> None:
    text = '{"cache_control": {"type": "ephemeral", "ttl": "1h"}}'
    talk = {"messages": [{"role": "user", "content": text}], "max_tokens": 9}
    assert longest_ttl_s(json.dumps(talk).encode()) is None
    assert longest_ttl_s(b'{"cache_control": {"ttl": "soon"}, "ttl": "1h"}') is None


@pytest.mark.parametrize("dialect", [WireFormat.OPENAI_CHAT, WireFormat.OPENAI_RESPONSES])
@pytest.mark.parametrize(("asked", "seconds"), [("24h", 86_400), ("in_memory", None), (9, None)])
def test_the_retention_of_openais_cache_is_kept(
    dialect: WireFormat, asked: object, seconds: int | None
) -> None:
    content = {**body(dialect, ""), "prompt_cache_retention": asked}
    assert parsed(dialect, content).cache_ttl_s == seconds
