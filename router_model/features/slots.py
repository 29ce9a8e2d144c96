"""What a tool asks for, slot by slot, and how much of it the user's text seems to give."""

from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Struct

from router_model.features.kinds import name_words
from router_model.features.lexicon import word_set
from router_model.features.schema import Feature
from router_model.features.text import TextFacts, plain_words

SLOT_FEATURES = (
    Feature("best_tool_n_numeric", "count", "its required parameters that are numbers"),
    Feature("best_tool_n_strings", "count", "its required parameters that are strings"),
    Feature("best_tool_n_arrays", "count", "its required parameters that are lists"),
    Feature("numbers_per_numeric_slot", "ratio", "numbers in the text / (its numeric slots + 0.5)"),
    Feature("numbers_per_slot", "ratio", "numbers in the text / its numeric and list slots"),
    Feature("best_tool_n_enums_named", "count", "its enumerated parameters with a value named"),
    Feature("best_tool_slots_named", "share", "its required parameters with a word of theirs used"),
)
"""All are about the tool that the user's words match best."""

MAX_SLOTS = 32
"""Parameters of a tool that are looked at."""

MAX_VALUES = 32
"""Values of an enumerated parameter that are looked for."""

_MAX_NAME = 120
_MAX_VALUE = 60
_MIN_WORD = 4
_NUMERIC = word_set("integer number float int double long")
_LISTS = word_set("array list tuple arraylist")
_JSON_TYPES = word_set("string integer number boolean array object null")
# Google's dialect writes them in capitals.
_KNOWN_TYPES = _JSON_TYPES | {name.upper() for name in _JSON_TYPES}

Needles = tuple[bytes, ...]


class Slots(Struct, frozen=True, gc=False):
    """The top-level parameters of one tool.

    `words` are the search patterns for each required parameter's name, `values` those for each
    enumerated one's values, both made for `TextFacts.padded`.
    """

    n_numeric: int = 0
    n_strings: int = 0
    n_arrays: int = 0
    n_foreign_types: int = 0
    words: tuple[Needles, ...] = ()
    values: tuple[Needles, ...] = ()


def read_slots(properties: Mapping[str, Any], required: Iterable[object]) -> Slots:
    """The slots of a schema's top level; what is no schema there is passed over.

    >>> slots = read_slots({"n": {"type": "integer"}, "map": {"type": "HashMap"}}, ["n"])
    >>> slots.n_numeric, slots.n_foreign_types
    (1, 1)
    """
    wanted = {name for name in required if isinstance(name, str)}
    read = [(k, v) for k, v in list(properties.items())[:MAX_SLOTS] if isinstance(v, dict)]
    types = {name: _type(node) for name, node in read}
    lowered = [types[name].lower() for name, _ in read if name in wanted]
    enums = [node["enum"] for _, node in read if isinstance(node.get("enum"), list)]
    return Slots(
        n_numeric=sum(kind in _NUMERIC for kind in lowered),
        n_strings=lowered.count("string"),
        n_arrays=sum(kind in _LISTS for kind in lowered),
        n_foreign_types=sum(bool(kind) and kind not in _KNOWN_TYPES for kind in types.values()),
        words=tuple(_name_needles(name) for name, _ in read if name in wanted),
        values=tuple(_value_needles(values) for values in enums),
    )


def slot_values(slots: Slots, text: TextFacts) -> tuple[float, ...]:
    """Values of `SLOT_FEATURES` for the best matching tool."""
    n_named = sum(any(word in text.padded for word in words) for words in slots.words)
    return (
        slots.n_numeric,
        slots.n_strings,
        slots.n_arrays,
        text.n_numbers / (slots.n_numeric + 0.5),
        text.n_numbers / max(1, slots.n_numeric + slots.n_arrays),
        sum(any(value in text.padded for value in values) for values in slots.values),
        n_named / max(1, len(slots.words)),
    )


def _type(node: Mapping[str, Any]) -> str:
    """The type of a parameter, "" where none or several are named."""
    kind = node.get("type")
    return kind if isinstance(kind, str) else ""


def _name_needles(name: str) -> Needles:
    words = dict.fromkeys(name_words(name[:_MAX_NAME]))
    return tuple(f" {word}".encode() for word in words if len(word) >= _MIN_WORD)


def _value_needles(values: Iterable[object]) -> Needles:
    needles: dict[bytes, None] = {}
    for value in list(values)[:MAX_VALUES]:
        if isinstance(value, str | int | float) and not isinstance(value, bool):
            words = plain_words(str(value)[:_MAX_VALUE])
            # A word may go on, as in "mile" and "miles"; a single letter or digit may not.
            needles[b" " + words + (b" " if len(words) < _MIN_WORD else b"")] = None
    return tuple(needle for needle in needles if needle.strip())
