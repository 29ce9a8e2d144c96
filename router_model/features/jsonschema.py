"""Size and shape of a JSON schema, read without interpreting it."""

from functools import lru_cache
from typing import Any

import msgspec

from router_model.features.slots import Slots, read_slots

MAX_NODES = 3_000
"""Nodes that are visited; what lies beyond in a giant schema is not counted."""

MAX_ABOUT = 400
"""Characters that are kept of the parameters' names and descriptions."""

MAX_PARAMETERS = 64
"""Parameters whose names are kept."""

_UNIONS = ("anyOf", "oneOf", "allOf")
_MAPS = ("properties", "$defs", "definitions", "patternProperties")


class SchemaShape(msgspec.Struct, frozen=True, gc=False):
    """Counts over one schema. `depth` is 1 for flat properties, 0 for no properties.

    `about` holds the names and descriptions of the parameters, cut to `MAX_ABOUT` characters.
    """

    depth: int = 0
    n_properties: int = 0
    n_required: int = 0
    n_top_required: int = 0
    n_enums: int = 0
    n_unions: int = 0
    n_arrays: int = 0
    n_objects: int = 0
    n_nodes: int = 0
    is_closed: bool = False
    parameters: tuple[str, ...] = ()
    slots: Slots = Slots()
    about: str = ""


class _Counter:
    """Mutable counts during one walk."""

    def __init__(self) -> None:
        self.depth = self.properties = self.required = self.enums = 0
        self.unions = self.arrays = self.objects = self.nodes = 0

    def visit(self, node: dict[str, Any], depth: int) -> list[tuple[Any, int]]:
        """Count one schema node; its children with their depths."""
        self.nodes += 1
        self.depth = max(self.depth, depth)
        kind = node.get("type")
        self.enums += "enum" in node or "const" in node
        self.required += _length(node.get("required"))
        if isinstance(kind, list):
            self.unions += len(kind) > 1
        elif depth > 0:
            self.arrays += kind in ("array", "ARRAY")
            self.objects += kind in ("object", "OBJECT")
        return self._children(node, depth)

    def _children(self, node: dict[str, Any], depth: int) -> list[tuple[Any, int]]:
        children: list[tuple[Any, int]] = []
        for key in _UNIONS:
            if isinstance(options := node.get(key), list):
                self.unions += 1
                children += [(option, depth) for option in options]
        for key in _MAPS:
            if isinstance(members := node.get(key), dict):
                self.properties += len(members) if key == "properties" else 0
                children += [(member, depth + 1) for member in members.values()]
        for key in ("items", "additionalProperties"):
            if isinstance(inner := node.get(key), dict):
                children.append((inner, depth))
        return children


def _length(value: object) -> int:
    return len(value) if isinstance(value, list) else 0


@lru_cache(maxsize=2048)
def _cached_shape(schema: bytes) -> SchemaShape:
    return _shape(schema)


def schema_shape(schema: bytes) -> SchemaShape:
    """The shape of a JSON schema; all zero when it is empty or no JSON object.

    >>> shape = schema_shape(b'{"properties": {"a": {"enum": [1, 2]}}, "required": ["a"]}')
    >>> shape.depth, shape.n_properties, shape.n_required, shape.n_enums, shape.parameters
    (1, 1, 1, 1, ('a',))
    """
    # Large schemas are rare; keeping them as cache keys would cost memory.
    return _cached_shape(schema) if len(schema) <= 16_384 else _shape(schema)


def _shape(schema: bytes) -> SchemaShape:
    try:
        root = msgspec.json.decode(schema) if schema else None
    except (msgspec.DecodeError, RecursionError):
        root = None
    if not isinstance(root, dict):
        return SchemaShape()
    counter = _Counter()
    pending: list[tuple[Any, int]] = [(root, 0)]
    while pending and counter.nodes < MAX_NODES:
        node, depth = pending.pop()
        if isinstance(node, dict):
            pending += counter.visit(node, depth)
    found = root.get("properties")
    properties = found if isinstance(found, dict) else {}
    required = root.get("required")
    return SchemaShape(
        depth=counter.depth,
        n_properties=counter.properties,
        n_required=counter.required,
        n_top_required=_length(root.get("required")),
        n_enums=counter.enums,
        n_unions=counter.unions,
        n_arrays=counter.arrays,
        n_objects=counter.objects,
        n_nodes=counter.nodes,
        is_closed=root.get("additionalProperties") is False,
        parameters=tuple(properties)[:MAX_PARAMETERS],
        slots=read_slots(properties, required if isinstance(required, list) else ()),
        about=_about(properties),
    )


def _about(properties: dict[str, Any]) -> str:
    """Names and descriptions of the parameters, in their order."""
    texts: list[str] = []
    for name, node in list(properties.items())[:MAX_PARAMETERS]:
        described = node.get("description") if isinstance(node, dict) else None
        texts.append(
            f"{name[:MAX_ABOUT]} {described[:MAX_ABOUT]}"
            if isinstance(described, str)
            else name[:MAX_ABOUT]
        )
    return " ".join(texts)[:MAX_ABOUT]
