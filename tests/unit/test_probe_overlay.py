from pathlib import Path
from typing import Any

import pytest

from router_data.prices import shipped_catalog
from router_data.probe.overlay import widened, write_overlay
from router_model.errors import CatalogError

BASE: dict[str, Any] = {
    "provider": "self",
    "context_window": 4000,
    "max_output_tokens": 1024,
    "price": {"input": 0.0, "output": 0.0},
}
SEED = {"capabilities.seed": True}


def write(path: Path, model: str = "new-1", **more: Any) -> None:
    given: dict[str, Any] = {"facts": SEED, "base": BASE, "on": "2026-11-25"} | more
    write_overlay(path, model=model, **given)


def test_a_new_model_can_be_loaded_with_what_was_observed(tmp_path: Path) -> None:
    write(tmp_path / "deep" / "o.toml")
    catalog = shipped_catalog(tmp_path / "deep" / "o.toml")
    assert catalog.as_of == "2026-11-25"
    card = catalog.models["new-1"]
    assert card.capabilities.seed
    assert card.price is not None
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["o.toml"]


def test_a_known_model_keeps_what_was_not_observed(tmp_path: Path) -> None:
    known = next(iter(shipped_catalog().models.values()))
    facts = {"capabilities.seed": not known.capabilities.seed, "min_cache_tokens": 7}
    write(tmp_path / "o.toml", known.id, facts=facts, base={})
    card = shipped_catalog(tmp_path / "o.toml").models[known.id]
    assert card.capabilities.seed != known.capabilities.seed
    assert card.capabilities.tools == known.capabilities.tools
    assert (card.price, card.min_cache_tokens) == (known.price, 7)


def test_a_later_probe_replaces_its_own_facts_only(tmp_path: Path) -> None:
    path = tmp_path / "o.toml"
    write(path, facts={"capabilities.seed": True, "capabilities.tools": True})
    write(path, "new-2")
    write(path, facts={"capabilities.seed": False}, base=BASE | {"context_window": 1})
    models = shipped_catalog(path).models
    assert not models["new-1"].capabilities.seed
    assert models["new-1"].capabilities.tools
    assert models["new-1"].context_window == 4000
    assert models["new-2"].capabilities.seed


@pytest.mark.parametrize(
    "text",
    [
        "[models.'new-1']\nprovider = 'p'\n[models.'new-1'.capabilities]\nvision = true\n",
        "models = { 'new-1' = { provider = 'p', capabilities = { vision = true } } }\n",
        "models.'new-1'.provider = 'p'\nmodels.'new-1'.capabilities.vision = true\n",
    ],
)
def test_the_ways_to_write_a_table_are_all_merged_into(text: str, tmp_path: Path) -> None:
    path = tmp_path / "o.toml"
    path.write_text(text, encoding="utf-8")
    write(path)
    card = shipped_catalog(path).models["new-1"]
    assert card.provider == "p"
    assert card.capabilities.vision
    assert card.capabilities.seed


@pytest.mark.parametrize("text", ["models = 3\n", "[models", "[models.other]\nnonsense = 1\n"])
def test_a_file_that_can_not_be_an_overlay_stays_as_it_is(text: str, tmp_path: Path) -> None:
    path = tmp_path / "o.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(CatalogError):
        write(path)
    assert path.read_text(encoding="utf-8") == text
    assert list(tmp_path.iterdir()) == [path]


def test_a_window_only_grows_with_what_was_accepted(tmp_path: Path) -> None:
    write(tmp_path / "o.toml")
    card = shipped_catalog(tmp_path / "o.toml").models["new-1"]
    assert widened(card, largest=3999) == {}
    assert widened(card, largest=5000) == {"context_window": 5000}
    assert widened(None, largest=5000) == {}
