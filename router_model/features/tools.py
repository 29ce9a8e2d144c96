"""Features of the offered tools, and the word index that matches a text against them.

Both depend on nothing but the tools, which an agent repeats on every call, so they are kept in
a bounded cache keyed on the tools themselves.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from msgspec import Struct, field

from router_model.features.jsonschema import SchemaShape, schema_shape
from router_model.features.kinds import name_words, tool_kind
from router_model.features.lexicon import word_set
from router_model.features.schema import Feature
from router_model.tokens import MESSAGE_TOKENS, estimate_many
from router_model.types import ToolSpec

MAX_TOOLS = 512
"""Tools that are read; only the count and the token estimate go on beyond."""

MAX_TEXTS = 32
"""Tools whose meaning is compared with the text's."""

_MAX_COMPARED = 64
_MAX_DESCRIPTION = 200
_MAX_TEXT = 400
_MAX_CACHED_BYTES = 131_072

TOOL_FEATURES = (
    Feature("n_tools", "count", "tools offered"),
    Feature("tool_tokens", "tokens", "estimated tokens of all tool definitions"),
    Feature("schema_depth_max", "levels", "deepest nesting of properties over the tools"),
    Feature("schema_depth_mean", "levels", "mean over the tools of the nesting of properties"),
    Feature("n_properties", "count", "properties in all tool schemas, nested ones included"),
    Feature("n_properties_max", "count", "properties of the largest tool"),
    Feature("n_required", "count", "required properties in all tool schemas"),
    Feature("required_share", "share", "required of all properties"),
    Feature("n_enums", "count", "enumerated or constant values in all tool schemas"),
    Feature("n_unions", "count", "anyOf, oneOf, allOf and lists of types"),
    Feature("n_foreign_types", "count", "parameters of a type that JSON Schema does not have"),
    Feature("n_nested_arrays", "count", "properties that are arrays"),
    Feature("n_nested_objects", "count", "properties that are objects"),
    Feature("strict_share", "share", "tools marked strict"),
    Feature("closed_share", "share", "tools that forbid additional properties"),
    Feature("n_provider_tools", "count", "tools built into a provider, without a function schema"),
    Feature("description_tokens_mean", "tokens", "mean length of a tool's description"),
    Feature("tool_similarity_max", "share", "highest word overlap of two tool names"),
    Feature("n_similar_tool_pairs", "count", "pairs of tools that share half of their name words"),
    Feature("has_shell_tool", "flag", "a tool runs shell commands"),
    Feature("has_edit_tool", "flag", "a tool edits or writes files"),
    Feature("has_read_tool", "flag", "a tool reads files"),
    Feature("has_search_tool", "flag", "a tool searches or lists files"),
    Feature("has_web_tool", "flag", "a tool searches or fetches the web"),
    Feature("has_task_tool", "flag", "a tool keeps plans or starts subagents"),
)

_STOP_WORDS = word_set(
    """
    the and for from with that this into your you are not all any can will has have its use used
    using when which what where how who get set given returns return value values name list data
    based specific provided specified optional default should must may name type string number
    integer boolean array object parameter parameters example format
    """
)
_NAME_WEIGHT = 4
_PARAMETER_WEIGHT = 2
_DESCRIPTION_WEIGHT = 1
_MAX_DESCRIPTION_WORDS = 60
WEIGHT_UNITS = 64
"""One matched description word that no other tool has weighs this much."""


class ToolTexts(NamedTuple):
    """What the first `MAX_TEXTS` tools say of themselves, at three lengths, all in their order.

    `names` as words; `described` adds the beginning of the description; `full` also names and
    descriptions of the parameters.
    """

    names: tuple[str, ...] = ()
    described: tuple[str, ...] = ()
    full: tuple[str, ...] = ()


class ToolFacts(Struct, frozen=True):
    """What is computed once for a set of tools.

    `index` maps a word to (tool, weight) pairs; `name_words` to the tools having it in their
    name; `parameter_words` to the tools having it in a parameter's name. `overlaps` remembers how
    the last texts matched.
    """

    values: tuple[float, ...]
    tokens: float
    index: Mapping[bytes, tuple[tuple[int, int], ...]]
    name_index: Mapping[bytes, tuple[int, ...]]
    parameter_index: Mapping[bytes, tuple[int, ...]]
    n_name_words: tuple[int, ...]
    shapes: tuple[SchemaShape, ...]
    texts: ToolTexts
    overlaps: dict[tuple[bytes, int], tuple[float, ...]] = field(default_factory=dict)


def tool_facts(tools: tuple[ToolSpec, ...]) -> ToolFacts:
    """Features, token estimate and word index of a set of tools."""
    n_bytes = sum(len(t.schema) + len(t.description) for t in tools)
    return _cached_facts(tools) if n_bytes <= _MAX_CACHED_BYTES else _facts(tools)


@lru_cache(maxsize=128)
def _cached_facts(tools: tuple[ToolSpec, ...]) -> ToolFacts:
    return _facts(tools)


def _facts(tools: tuple[ToolSpec, ...]) -> ToolFacts:
    read = tools[:MAX_TOOLS]
    shapes = tuple(schema_shape(tool.schema) for tool in read)
    texts = [f"{tool.name} {tool.schema.decode('utf-8', 'replace')}" for tool in tools]
    descriptions = estimate_many([tool.description for tool in tools])
    tokens = sum(estimate_many(texts)) + sum(descriptions) + MESSAGE_TOKENS * len(tools)
    words = [frozenset(name_words(tool.name[:120])) for tool in read]
    return ToolFacts(
        values=_values(tools, shapes, tokens, sum(descriptions), words),
        tokens=tokens,
        index=_word_index(read, shapes, words),
        name_index=_inverted([_forms(w) for w in words]),
        parameter_index=_inverted([_forms(_parameter_words(shape)) for shape in shapes]),
        n_name_words=tuple(max(1, len(w - _STOP_WORDS)) for w in words),
        shapes=shapes,
        texts=_texts(read[:MAX_TEXTS], shapes),
    )


def _texts(tools: Sequence[ToolSpec], shapes: Sequence[SchemaShape]) -> ToolTexts:
    names = tuple(" ".join(name_words(tool.name[:120])) for tool in tools)
    described = tuple(
        f"{name} {tool.description[:_MAX_DESCRIPTION]}".strip()
        for name, tool in zip(names, tools, strict=True)
    )
    full = tuple(
        f"{text} {shape.about}"[:_MAX_TEXT].strip()
        for text, shape in zip(described, shapes[: len(tools)], strict=True)
    )
    return ToolTexts(names, described, full)


def _values(
    tools: tuple[ToolSpec, ...],
    shapes: Sequence[SchemaShape],
    tokens: float,
    description_tokens: float,
    words: Sequence[frozenset[str]],
) -> tuple[float, ...]:
    n = max(1, len(shapes))
    n_properties = sum(shape.n_properties for shape in shapes)
    n_required = sum(shape.n_required for shape in shapes)
    kinds = {tool_kind(f"{tool.name}_{tool.kind}") for tool in tools[:MAX_TOOLS]}
    kinds |= {tool_kind(tool.name) for tool in tools[:MAX_TOOLS]}
    similarity, n_pairs = _similarity(words[:_MAX_COMPARED])
    return (
        len(tools),
        tokens,
        max((shape.depth for shape in shapes), default=0),
        sum(shape.depth for shape in shapes) / n,
        n_properties,
        max((shape.n_properties for shape in shapes), default=0),
        n_required,
        min(1.0, n_required / max(1, n_properties)),
        sum(shape.n_enums for shape in shapes),
        sum(shape.n_unions for shape in shapes),
        sum(shape.slots.n_foreign_types for shape in shapes),
        sum(shape.n_arrays for shape in shapes),
        sum(shape.n_objects for shape in shapes),
        sum(tool.is_strict for tool in tools[:MAX_TOOLS]) / n,
        sum(shape.is_closed for shape in shapes) / n,
        sum(tool.kind != "function" for tool in tools[:MAX_TOOLS]),
        description_tokens / max(1, len(tools)),
        similarity,
        n_pairs,
        *(kind in kinds for kind in ("shell", "edit", "read", "search", "web", "task")),
    )


def _similarity(words: Sequence[frozenset[str]]) -> tuple[float, int]:
    """Highest Jaccard overlap of two names, and how many pairs reach one half."""
    highest, n_pairs = 0.0, 0
    for i, first in enumerate(words):
        for second in words[:i]:
            if shared := len(first & second):
                overlap = shared / len(first | second)
                highest = max(highest, overlap)
                n_pairs += overlap >= 0.5
    return highest, n_pairs


def _parameter_words(shape: SchemaShape) -> frozenset[str]:
    return frozenset(word for name in shape.parameters for word in name_words(name[:120]))


def _forms(words: frozenset[str]) -> list[bytes]:
    """The words worth matching, singular and plural, in a fixed order."""
    forms: set[str] = set()
    for word in words - _STOP_WORDS:
        if len(word) > 2:
            stem = word[:-1] if word[-1] == "s" and word[-2] != "s" else word
            forms.update((word, stem, stem + "s"))
    return sorted(form.encode() for form in forms)


def _inverted(words: Sequence[Sequence[bytes]]) -> dict[bytes, tuple[int, ...]]:
    index: dict[bytes, list[int]] = {}
    for tool, tool_words in enumerate(words):
        for word in tool_words:
            index.setdefault(word, []).append(tool)
    return {word: tuple(tools) for word, tools in index.items()}


def _word_index(
    tools: Sequence[ToolSpec], shapes: Sequence[SchemaShape], names: Sequence[frozenset[str]]
) -> dict[bytes, tuple[tuple[int, int], ...]]:
    """Word to (tool, weight); a word that many tools have weighs less for each."""
    index: dict[bytes, dict[int, int]] = {}
    for number, tool in enumerate(tools):
        described = frozenset(name_words(tool.description[:800])[:_MAX_DESCRIPTION_WORDS])
        for words, weight in (
            (described, _DESCRIPTION_WEIGHT),
            (_parameter_words(shapes[number]), _PARAMETER_WEIGHT),
            (names[number], _NAME_WEIGHT),
        ):
            for word in _forms(words):
                index.setdefault(word, {})[number] = weight
    return {
        word: tuple((tool, weight * WEIGHT_UNITS // len(tools)) for tool, weight in tools.items())
        for word, tools in index.items()
    }
