"""The catalog that a state folder's service prices with."""

from pathlib import Path

from router_data.prices import shipped_catalog
from router_model.catalog import Catalog, load_catalog


def current_catalog(state: Path, *overlays: Path) -> Catalog:
    """The exported artifact's catalog, else the shipped one, with overlays on top."""
    exported = state / "artifact" / "catalog.toml"
    if exported.is_file():
        return load_catalog(exported, *overlays)
    return shipped_catalog(*overlays)
