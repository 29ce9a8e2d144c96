import pytest

from router_model.images import image_correction, image_tokens
from router_model.outline import outline_of
from router_model.tokens import IMAGE_TOKENS
from router_model.types import Message, ModelCard, Part, Request

# Usage counts of JOHNISKING/image-token-cost (Hugging Face) less the tokens of the call around the
# image. Claude 4.5: 65, and 32 more where the image is far too large; Claude 5.5: 77, and 40 more;
# Gemini: 1; GPT: none.
MEASURED = [
    # size, Claude Haiku 4.5, Claude Opus 5.5, Gemini 3.x, GPT-6, GPT-5.5
    ((256, 256), 165 - 65, 177 - 77, 1_090 - 1, 77, 77),
    ((512, 512), 426 - 65, 438 - 77, 1_090 - 1, 308, 308),
    ((768, 768), 849 - 65, 861 - 77, 1_090 - 1, 692, 692),
    ((1_024, 1_024), 1_434 - 65, 1_446 - 77, 1_090 - 1, 1_229, 1_229),
    ((1_280, 720), 1_261 - 65, 1_273 - 77, 1_101 - 1, 1_104, 1_104),
    ((1_920, 1_080), 1_625 - 65, 2_768 - 77, 1_101 - 1, 2_448, 2_448),
    ((1_080, 1_920), 1_625 - 65, 2_768 - 77, 1_101 - 1, 2_448, 2_448),
    ((2_560, 1_440), 1_657 - 97, 3_069 - 117, 1_101 - 1, 4_320, 4_320),
    ((3_840, 2_160), 1_657 - 97, 3_069 - 117, 1_101 - 1, 9_792, 9_792),
    ((4_032, 3_024), 1_661 - 97, 4_005 - 117, 1_065 - 1, 14_364, 11_868),
]


@pytest.mark.parametrize("row", MEASURED, ids=lambda row: f"{row[0][0]}x{row[0][1]}")
def test_the_rules_give_the_tokens_that_were_billed(row: tuple[tuple[int, int], int]) -> None:
    (width, height), *billed = row
    asked = [
        ("anthropic", "claude-haiku-4-5"),
        ("anthropic", "claude-opus-5-5"),
        ("google", "gemini-3.8-flash"),
        ("openai", "gpt-6-astra"),
        ("openai", "gpt-5.5"),
    ]
    assert [image_tokens(p, width, height, model=m) for p, m in asked] == billed


@pytest.mark.parametrize(
    ("provider", "model", "size", "tokens"),
    [
        # OpenAI's guide, tiles: 1024x1024 has four, 2048x4096 six after scaling to 768x1536.
        ("openai", "gpt-4o", (1_024, 1_024), 85 + 4 * 170),
        ("openai", "gpt-4o", (2_048, 4_096), 85 + 6 * 170),
        ("openai", "gpt-4o-mini", (512, 512), 2_833 + 5_667),
        ("openai", "gpt-5", (1_024, 1_024), 70 + 4 * 140),
        # patches: 1024x1024 has 1,024; 1800x2400 is shrunk to 33 by 44.
        ("openai", "gpt-5-mini", (1_024, 1_024), 1_659),  # 1,024 * 1.62 = 1,658.88
        ("openai", "o4-mini", (1_800, 2_400), 2_498),  # 1,452 * 1.72 = 2,497.44
        # 2,048 pixels long: 64 by 36 patches, 2,304 * 1.2 = 2,764.8
        ("openai", "gpt-5.4", (2_560, 1_440), 2_765),
        # Gemini's guide, before 3: up to 384 pixels one tile, 960x540 is cut into 3 by 2.
        ("google", "gemini-2.5-flash", (384, 384), 258),
        ("google", "gemini-2.5-pro", (960, 540), 6 * 258),
        # xAI's guide: (tiles + 1) * 256, fewer than 1,792 or as many.
        ("xai", "grok-4.7", (448, 448), 512),
        ("xai", "grok-4.7", (4_000, 4_000), 1_792),
        # mistral-common: a token per patch and one per row.
        ("mistral", "mistral-large-4", (1_540, 1_540), 56 * 55),
        ("mistral", "mistral-large-4", (28, 28), 2),
    ],
)
def test_published_rules(provider: str, model: str, size: tuple[int, int], tokens: int) -> None:
    assert image_tokens(provider, *size, model=model) == tokens


@pytest.mark.parametrize("provider", ["anthropic", "openai", "google", "xai", "mistral", "other"])
def test_an_unknown_size_or_provider_costs_the_usual(provider: str) -> None:
    assert image_tokens(provider, 0, 0) == IMAGE_TOKENS
    assert image_tokens("other", 640, 480) == IMAGE_TOKENS


@pytest.mark.parametrize("provider", ["anthropic", "openai", "google", "xai", "mistral"])
@pytest.mark.parametrize("size", [(1, 1), (1, 100_000), (2**31, 1), (2**31, 2**31)])
@pytest.mark.parametrize("model", ["", "claude-3-haiku", "gemini-1.5-pro", "gpt-4o", "gpt-5.5"])
def test_odd_shapes_cost_something_finite(provider: str, size: tuple[int, int], model: str) -> None:
    assert 1 <= image_tokens(provider, *size, model=model) <= 15_000_000


def test_a_requests_images_are_added_up_for_each_model() -> None:
    parts = (Part("text", "look"), Part("image", width=1_024, height=1_024), Part("image"))
    request = Request(messages=(Message("user", parts), Message("tool", (Part("image"),))))
    card = ModelCard(
        id="gpt-4o",
        provider="openai",
        snapshot="",
        family="",
        context_window=1,
        max_output_tokens=1,
    )
    assert outline_of(request).images == ((1_024, 1_024), (0, 0), (0, 0))
    assert image_correction(outline_of(request).images, card) == 765 - IMAGE_TOKENS
    assert image_correction((), card) == 0
