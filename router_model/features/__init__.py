"""What is known about a request before a model is chosen, as numbers with names and units."""

from router_model.features.extract import SCHEMA, Context, extract
from router_model.features.schema import Feature, FeatureSchema
from router_model.features.tools import ToolTexts

__all__ = ["SCHEMA", "Context", "Feature", "FeatureSchema", "ToolTexts", "extract"]
