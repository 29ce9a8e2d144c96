from pathlib import Path

import msgspec
import pytest

from router_model.catalog import Catalog, catalog_of, load_catalog, model_ids, unknown_models
from router_model.catalog_toml import dumps
from router_model.errors import CatalogError
from router_model.types import Capabilities, ModelCard, PriceCard, PriceTier, ServiceTier

BASE = """
as_of = "2026-11-23"

[models."big-1"]
provider = "acme"
snapshot = "big-1-20261101"
is_snapshot_pinned = true
context_window = 200000
max_output_tokens = 32000
aliases = ["Big", "big-latest"]
price = { input = 3.0, output = 15.0, cache_read = 0.3, tiers = [
  { above_input_tokens = 100000, input = 6.0, output = 22.5 },
], service_tiers = [
  { name = "batch", input = 1.5, output = 7.5, cache_write_1h = 3.0, max_input_tokens = 150000 },
] }
cache_block_tokens = 128
long_cache_ttl_s = 3600
capabilities = { tools = true, vision = true, caching = "marked" }

[models."small-1"]
provider = "acme"
context_window = 32000
max_output_tokens = 4096
"""


def write(folder: Path, text: str, name: str = "models.toml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return load_catalog(write(tmp_path, BASE))


def error_for(folder: Path, change: str) -> str:
    base, overlay = write(folder, BASE), write(folder, change, "overlay.toml")
    with pytest.raises(CatalogError) as caught:
        load_catalog(base, overlay)
    return str(caught.value)


def test_a_catalog_keeps_the_order_of_its_file(catalog: Catalog) -> None:
    assert list(catalog.models) == ["big-1", "small-1"]
    assert catalog.as_of == "2026-11-23"


def test_a_model_without_a_snapshot_is_called_by_its_id_and_not_pinned(catalog: Catalog) -> None:
    card = catalog.models["small-1"]
    assert (card.snapshot, card.is_snapshot_pinned, card.family) == ("small-1", False, "small")


def test_a_missing_price_is_unknown_and_a_stated_zero_is_free(
    tmp_path: Path, catalog: Catalog
) -> None:
    assert catalog.models["small-1"].price is None
    overlay = '[models."small-1"]\nprice = { input = 0.0, output = 0.0 }'
    free = load_catalog(write(tmp_path, BASE), write(tmp_path, overlay, "o.toml"))
    assert free.models["small-1"].price == PriceCard(input=0.0, output=0.0)


@pytest.mark.parametrize(
    "name", ["big-1", "BIG-1", "big", "big-latest", "big-1-20261101", "acme/big-1"]
)
def test_a_model_is_found_by_id_alias_snapshot_and_with_a_provider(
    catalog: Catalog, name: str
) -> None:
    found = catalog.resolve(name)
    assert found is not None
    assert found.id == "big-1"


def test_unknown_names_are_listed_in_order(catalog: Catalog) -> None:
    assert unknown_models(catalog, ["zzz", "big", "aaa"]) == ("zzz", "aaa")
    assert unknown_models(catalog, None) == ()
    assert catalog.get("big") is None


def test_names_are_turned_into_ids(catalog: Catalog) -> None:
    assert model_ids(catalog, ["BIG", "zzz", "acme/small-1"]) == ("big-1", "small-1")


def test_an_overlay_changes_single_fields_and_adds_models(tmp_path: Path) -> None:
    overlay = """
    [models."big-1"]
    max_output_tokens = 16000
    capabilities = { vision = false, seed = true }
    [models."mine"]
    provider = "self"
    context_window = 8192
    max_output_tokens = 2048
    """
    catalog = load_catalog(write(tmp_path, BASE), write(tmp_path, overlay, "overlay.toml"))
    card = catalog.models["big-1"]
    assert card.max_output_tokens == 16000
    assert card.context_window == 200000
    assert card.capabilities == Capabilities(tools=True, seed=True, caching="marked")
    assert list(catalog.models) == ["big-1", "small-1", "mine"]


def test_an_overlaid_price_replaces_the_old_one_as_a_whole(tmp_path: Path) -> None:
    overlay = '[models."big-1"]\nprice = { input = 1.0, output = 2.0 }'
    catalog = load_catalog(write(tmp_path, BASE), write(tmp_path, overlay, "overlay.toml"))
    assert catalog.models["big-1"].price == PriceCard(input=1.0, output=2.0)


def test_a_disabled_model_stays_known_but_is_not_enabled(tmp_path: Path) -> None:
    overlay = '[models."big-1"]\nenabled = false'
    catalog = load_catalog(write(tmp_path, BASE), write(tmp_path, overlay, "overlay.toml"))
    assert [card.id for card in catalog.enabled] == ["small-1"]
    assert catalog.resolve("big") is not None


def test_the_version_follows_the_content_and_not_the_layout(
    tmp_path: Path, catalog: Catalog
) -> None:
    same = load_catalog(write(tmp_path, "# a comment\n" + BASE.replace("  ", " ")))
    assert same.version == catalog.version
    other = load_catalog(write(tmp_path, BASE.replace("15.0", "15.5")))
    assert other.version != catalog.version
    assert len(catalog.version) == 12


def test_a_catalog_written_as_toml_reads_back_the_same(tmp_path: Path, catalog: Catalog) -> None:
    again = load_catalog(write(tmp_path, dumps(catalog, header="# made\n"), "again.toml"))
    assert again.models == catalog.models
    assert again.version == catalog.version


def test_a_catalog_as_json_holds_version_and_models(catalog: Catalog) -> None:
    decoded = msgspec.json.decode(catalog.to_json())
    assert decoded["version"] == catalog.version
    assert [card["id"] for card in decoded["models"]] == ["big-1", "small-1"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ('[models."big-1"]\ncontext_window = "wide"', "context_window: got 'wide', expected int"),
        ('[models."big-1"]\ncontext_window = 0', "context_window: got 0, expected an integer"),
        ('[models."big-1"]\nmax_input_tokens = -1', "max_input_tokens: got -1"),
        ('[models."big-1"]\ncontextwindow = 1', "unknown field 'contextwindow', allowed: provider"),
        (
            '[models."big-1"]\nprice = { input = 1.0 }',
            "price.output: is missing, a model needs it",
        ),
        ('[models."big-1"]\nprice = { input = -1.0, output = 1.0 }', "price.input: got -1.0"),
        (
            '[models."big-1"]\nprice = { input = inf, output = 1.0 }',
            "price.input: got inf, expected dollars",
        ),
        (
            '[models."big-1"]\nprice = { inptu = 1.0, output = 1.0 }',
            "unknown field 'price.inptu', allowed: input, output",
        ),
        (
            '[models."big-1"]\nprice = { input = 1.0, output = 1.0, tiers = [{ above = 1 }] }',
            "unknown field 'price.tiers.above'",
        ),
        (
            '[models."big-1"]\nprice = { input = 1, output = 1, tiers = ['
            "{ above_input_tokens = 9, input = 1, output = 1 },"
            "{ above_input_tokens = 9, input = 1, output = 1 }] }",
            "price.tiers[1].above_input_tokens: got 9, expected more than 9",
        ),
        (
            '[models."big-1"]\nprice = { input = 1, output = 1, cache_write_1h = -2.0 }',
            "price.cache_write_1h: got -2.0, expected dollars",
        ),
        (
            '[models."big-1"]\nprice = { input = 1, output = 1, service_tiers = [{ nam = "x" }] }',
            "unknown field 'price.service_tiers.nam', allowed: name, input",
        ),
        (
            '[models."big-1"]\nprice = { input = 1, output = 1, service_tiers = ['
            '{ name = "Batch", input = 1, output = 1 }] }',
            "price.service_tiers[0].name: got 'Batch', expected a lower-case name",
        ),
        (
            '[models."big-1"]\nprice = { input = 1, output = 1, service_tiers = ['
            '{ name = "flex", input = 1, output = 1 }, { name = "flex", input = 2, output = 1 }] }',
            "price.service_tiers[1].name: got 'flex' twice",
        ),
        (
            '[models."big-1"]\nprice = { input = 1, output = 1, service_tiers = ['
            '{ name = "flex", input = 1, output = nan }] }',
            "price.service_tiers[0].output: got nan",
        ),
        (
            '[models."big-1"]\nprice = { input = 1, output = 1, service_tiers = ['
            '{ name = "flex", input = 1, output = 1, max_input_tokens = 0 }] }',
            "price.service_tiers[0].max_input_tokens: got 0",
        ),
        ('[models."big-1"]\ncache_block_tokens = 0', "cache_block_tokens: got 0"),
        (
            '[models."big-1"]\ncapabilities = { caching = "always" }',
            "capabilities.caching: got 'always'",
        ),
        ('[models."big-1"]\nreleased = "last year"', "released: got 'last year', expected a date"),
        ('[models."big-1"]\nprovider = " "', "provider: got ' ', expected a name"),
        ('[models."new"]\nprovider = "x"', "context_window: is missing"),
        ('[models."new"]\nid = "other"', "id is the name of the table"),
        ('[models]\nnew = "x"', "got 'x', expected a table"),
    ],
)
def test_a_wrong_entry_is_named_with_file_model_field_value_and_what_is_allowed(
    tmp_path: Path, change: str, said: str
) -> None:
    message = error_for(tmp_path, change)
    assert said in message
    assert "overlay.toml" in message
    assert "'big-1'" in message or "'new'" in message


def test_a_file_that_is_no_toml_or_is_missing_is_named(tmp_path: Path) -> None:
    assert "not valid TOML" in error_for(tmp_path, "[models")
    assert "unknown key 'model', allowed: as_of, models" in error_for(tmp_path, "[model.x]")
    assert "models: expected tables" in error_for(tmp_path, "models = 1")
    with pytest.raises(CatalogError, match=r"absent\.toml: can't be read"):
        load_catalog(tmp_path / "absent.toml")


def test_two_models_can_not_share_an_id_or_an_alias(tmp_path: Path) -> None:
    card = ModelCard(
        id="a", provider="p", snapshot="a", family="f", context_window=1, max_output_tokens=1
    )
    with pytest.raises(CatalogError, match="'a' occurs twice"):
        catalog_of([card, card], as_of="")
    message = error_for(tmp_path, '[models."small-1"]\naliases = ["big"]')
    assert "'big' is already a name of 'big-1'" in message


def test_tiers_come_from_toml_as_tiers(catalog: Catalog) -> None:
    price = catalog.models["big-1"].price
    assert price is not None
    assert price.tiers == (PriceTier(above_input_tokens=100000, input=6.0, output=22.5),)


def test_service_tiers_and_cache_facts_come_from_toml(catalog: Catalog) -> None:
    card = catalog.models["big-1"]
    assert card.price is not None
    batch = ServiceTier(
        name="batch", input=1.5, output=7.5, cache_write_1h=3.0, max_input_tokens=150000
    )
    assert card.price.service_tiers == (batch,)
    assert (card.cache_block_tokens, card.long_cache_ttl_s) == (128, 3600)
    plain = catalog.models["small-1"]
    assert (plain.cache_block_tokens, plain.long_cache_ttl_s) == (1, None)
