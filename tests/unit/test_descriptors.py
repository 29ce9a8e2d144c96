import math

import msgspec
import numpy as np
import pytest
from paths import DATA, requires_data

from router_data.descriptors import card_for, descriptors
from router_data.model_facts import facts_for
from router_data.model_names import closest, date_in, keys, plain_name
from router_data.prices import shipped_catalog
from router_model.descriptors import DESCRIPTOR_NAMES, FAMILIES, describe
from router_model.types import ModelCard, PriceCard

CATALOG = shipped_catalog()


def named(name: str) -> dict[str, float]:
    return dict(zip(DESCRIPTOR_NAMES, descriptors(name).tolist(), strict=True))


@pytest.mark.parametrize("model_id", list(CATALOG.models))
def test_training_and_serving_describe_a_catalog_model_bit_for_bit_alike(model_id: str) -> None:
    card = CATALOG.models[model_id]
    served = describe(card)
    assert served.dtype == np.float32
    for name in (model_id, card.snapshot, f"{card.provider}/{model_id}", f"{model_id} [agent]"):
        assert descriptors(name).tobytes() == served.tobytes()


def test_descriptors_are_logs_of_prices_and_limits_and_years_since_2023() -> None:
    row = named("claude-haiku-4-5")
    assert row["log_input_price"] == pytest.approx(math.log(1.0))
    assert row["log_output_price"] == pytest.approx(math.log(5.0))
    assert row["log_cache_read_price"] == pytest.approx(math.log(0.1))
    assert row["log_context_window"] == pytest.approx(math.log(200_000))
    assert row["log_max_output"] == pytest.approx(math.log(64_000))
    assert row["release_years"] == pytest.approx(1018 / 365.25, abs=1e-6)
    assert row["size_class"] == 2.0
    assert (row["thinks"], row["has_tools"], row["native_tools"]) == (1.0, 1.0, 1.0)
    assert math.isnan(row["effort"])


def test_a_free_model_has_a_finite_price_and_an_unknown_one_none() -> None:
    card = CATALOG.models["glm-5"]
    free = describe(msgspec.structs.replace(card, price=PriceCard(input=0.0, output=0.0)))
    assert np.isfinite(free[:3]).all()
    unknown = describe(msgspec.structs.replace(card, price=None, released=None))
    assert np.isnan(unknown[[0, 1, 2, 5]]).all()


def test_a_name_that_nobody_knows_is_described_as_unknown_and_not_as_zero() -> None:
    row = named("my-finetune-13b")
    assert math.isnan(row["log_input_price"])
    assert math.isnan(row["thinks"])
    assert math.isnan(row["has_tools"])
    assert row["log_params_b"] == pytest.approx(math.log(13.0))


@pytest.mark.parametrize(
    ("name", "column", "value"),
    [
        ("Claude 4.5 Opus (high reasoning)", "effort", 3.0),
        ("GPT-5 (2025-08-07) (medium reasoning)", "effort", 2.0),
        ("Claude 4.5 Opus medium (20251101)", "effort", 2.0),
        ("Claude 4.5 Opus medium (20251101)", "size_class", 5.0),
        ("mistral-medium-2312", "size_class", 3.0),
        ("claude-3-5-sonnet-20240620-FC", "native_tools", 1.0),
        ("mistral-large-2407-FC-Any", "native_tools", 1.0),
        ("yi-large-fc", "native_tools", 1.0),
        ("o1", "thinks", 1.0),
        ("DeepSeek V3.2 Reasoner", "thinks", 1.0),
        ("mistralai/Mixtral-8x7B-Instruct-v0.1", "log_params_b", math.log(56.0)),
        ("meta/llama-2-70b-chat", "log_params_b", math.log(70.0)),
        ("Qwen3-Coder 480B/A35B Instruct", "log_params_b", math.log(480.0)),
        ("WizardLM/WizardLM-13B-V1.2", "log_params_b", math.log(13.0)),
        ("deepseek-ai_deepseek-coder-6.7b-instruct", "log_params_b", math.log(6.7)),
        ("gpt-4.1-nano", "size_class", 0.0),
        ("gemini-2.5-flash-lite", "size_class", 1.0),
        ("Qwen3-Max", "size_class", 5.0),
        ("NousResearch_Hermes-2-Pro-Mistral-7B", "family_mistral", 1.0),
        ("o3 (2025-04-16)", "family_gpt", 1.0),
        ("google_gemma-7b-it", "family_gemini", 1.0),
        ("Kimi K2.5 (high reasoning)", "family_kimi", 1.0),
        ("mistralai/Mixtral-8x7B-Instruct-v0.1", "open_weights", 1.0),
    ],
)
def test_a_name_tells_effort_calling_convention_size_and_family(
    name: str, column: str, value: float
) -> None:
    assert named(name)[column] == pytest.approx(value, rel=1e-6)


def test_a_prompted_model_of_history_is_not_said_to_call_tools_natively() -> None:
    assert math.isnan(named("gpt-4-0613")["native_tools"])
    assert named("gpt-4-0613-FC")["native_tools"] == 1.0


@pytest.mark.parametrize(
    ("name", "input_price", "released"),
    [
        ("gpt-4-1106-preview", 10.0, "2023-11-06"),
        ("claude-3-5-sonnet-20240620-FC", 3.0, "2024-06-20"),
        ("Claude 4.5 Opus medium (20251101)", 5.0, "2025-11-01"),
        ("GPT-5-2 (high reasoning)", 1.75, "2025-12-11"),
        ("gpt-4o-2024-05-13", 5.0, "2024-05-13"),
        ("gpt-4o", 2.5, "2024-05-13"),
        ("mistral-large-2407-FC-Auto", 2.0, "2024-07-01"),
        ("ft:gpt-4.1-2025-04-14:sierra:tau2-full-sft:BzrYdMNm", 2.0, "2025-04-14"),
    ],
)
def test_prices_and_dates_are_found_under_the_messy_names_of_logs(
    name: str, input_price: float, released: str
) -> None:
    card = card_for(name)
    assert card.price is not None
    assert card.price.input == input_price
    assert card.released is not None
    assert card.released[:7] == released[:7]


def test_models_of_different_sizes_are_not_taken_for_each_other() -> None:
    assert closest("hermes-2-pro-llama-3-70b", {"2 3 8 b hermes llama pro": "x-8b"}) is None
    assert closest("7", {"7 9": "seven"}) is None
    assert facts_for("a-model-of-nobody") is None


def test_names_are_reduced_to_comparable_keys() -> None:
    assert keys("us.anthropic.claude-opus-4-5-20251101-v1:0") == keys("claude-opus-4-5-20251101")
    assert keys("accounts/fireworks/models/kimi-k2p6")[0] == keys("Kimi K2.6")[0]
    assert keys("qwen2.5:7b")[0] == keys("qwen2.5-7b")[0]
    assert plain_name("meetkai_functionary-small-v3.2-FC") == "functionary-small-v3.2"
    assert date_in("GPT-5.2 (2025-12-11) (high reasoning)") == "2025-12-11"


def test_there_is_a_column_for_each_family_and_one_name_for_each_column() -> None:
    assert len(set(DESCRIPTOR_NAMES)) == len(DESCRIPTOR_NAMES) == descriptors("gpt-4o").size
    assert [name for name in DESCRIPTOR_NAMES if name.startswith("family_")] == [
        f"family_{name}" for name in FAMILIES
    ]


def test_a_card_given_by_hand_is_described_with_the_marks_of_the_name() -> None:
    card = ModelCard(
        id="plain", provider="p", snapshot="s", family="f", context_window=10, max_output_tokens=5
    )
    row = dict(zip(DESCRIPTOR_NAMES, descriptors("plain (low reasoning)", card), strict=True))
    assert row["effort"] == 1.0
    assert row["thinks"] == 1.0


@requires_data
def test_most_names_of_the_real_logs_have_a_price_and_a_release_date() -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    names: set[str] = set()
    for path in DATA.glob("*/outcomes.parquet"):
        names.update(parquet.read_table(path, columns=["model"]).column(0).unique().to_pylist())
    cards = [card_for(name) for name in names]
    assert len(names) >= 140
    assert sum(card.price is not None for card in cards) >= 0.8 * len(names)
    assert sum(card.released is not None for card in cards) >= 0.95 * len(names)
