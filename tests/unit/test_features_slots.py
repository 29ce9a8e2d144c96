from conversations import ask, tool, user, values

from router_model.features.slots import MAX_SLOTS, MAX_VALUES, SLOT_FEATURES, read_slots
from router_model.features.tools import tool_facts
from router_model.types import ToolSpec

TRANSFER = tool(
    "transfer_money",
    "Transfers money.",
    amount={"type": "number"},
    times={"type": "integer"},
    recipient_name={"type": "string"},
    tags={"type": "array", "items": {"type": "string"}},
    currency={"enum": ["EUR", "US dollar"]},
)


def test_the_required_parameters_of_the_best_tool_are_counted_by_type() -> None:
    found = values(ask(user("Transfer money."), tools=(tool("other"), TRANSFER)))
    assert found["best_tool_n_numeric"] == 2
    assert found["best_tool_n_strings"] == 1
    assert found["best_tool_n_arrays"] == 1


def test_optional_parameters_are_no_slots_to_fill() -> None:
    slots = read_slots({"a": {"type": "integer"}, "b": {"type": "string"}}, ["b"])
    assert (slots.n_numeric, slots.n_strings, len(slots.words)) == (0, 1, 1)


def test_types_of_other_languages_count_as_what_they_are() -> None:
    types = ("int", "Long", "double", "ArrayList", "tuple", "String", "INTEGER", "ARRAY")
    slots = read_slots({t: {"type": t} for t in types}, types)
    assert (slots.n_numeric, slots.n_strings, slots.n_arrays) == (4, 1, 3)


def test_types_that_json_schema_does_not_have_are_counted_over_all_tools() -> None:
    java = ToolSpec("a", schema=b'{"properties": {"x": {"type": "HashMap"}, "y": {"type": "any"}}}')
    python = tool("b", x={"type": "float"}, y={"type": "string"}, z={})
    google = tool("c", x={"type": "STRING"}, y={"type": ["string", "null"]})
    assert values(ask(user("Go."), tools=(java, python, google)))["n_foreign_types"] == 3


def test_numbers_in_the_text_are_set_in_relation_to_the_slots_for_them() -> None:
    found = values(ask(user("Transfer money, 20 and 30 and 40"), tools=(TRANSFER,)))
    assert abs(found["numbers_per_numeric_slot"] - 3 / 2.5) < 1e-6
    assert found["numbers_per_slot"] == 1
    without = values(ask(user("Send 2 mails"), tools=(tool("send_mail"),)))
    assert without["numbers_per_numeric_slot"] == without["numbers_per_slot"] * 2 == 2 * 1


def test_a_named_value_of_an_enumeration_is_noticed() -> None:
    for text, n in (
        ("Transfer money in eur", 1),
        ("Transfer money, US-Dollars", 1),
        ("Transfer money to Europe", 0),
        ("Transfer money to us", 0),
    ):
        assert values(ask(user(text), tools=(TRANSFER,)))["best_tool_n_enums_named"] == n


def test_short_values_match_whole_words_only() -> None:
    grade = tool("grade", level={"enum": ["a", 1, True, None, ""]})
    assert values(ask(user("grade b 12"), tools=(grade,)))["best_tool_n_enums_named"] == 0
    assert values(ask(user("grade A"), tools=(grade,)))["best_tool_n_enums_named"] == 1
    assert values(ask(user("grade 1"), tools=(grade,)))["best_tool_n_enums_named"] == 1


def test_the_share_of_slots_whose_name_is_used_counts_long_words_only() -> None:
    found = values(ask(user("Transfer an amount to the recipients"), tools=(TRANSFER,)))
    assert abs(found["best_tool_slots_named"] - 2 / 5) < 1e-6
    city = tool("find", to={"type": "string"})
    assert values(ask(user("find it, to be"), tools=(city,)))["best_tool_slots_named"] == 0


def test_without_tools_all_slot_values_are_zero() -> None:
    found = values(ask(user("Transfer 20 euros")))
    assert [found[feature.name] for feature in SLOT_FEATURES] == [0.0] * len(SLOT_FEATURES)


def test_what_is_no_schema_is_passed_over() -> None:
    odd = b'{"properties": {"a": 3, "b": {"type": 7, "enum": "x"}}, "required": ["a", 1, "b", "z"]}'
    found = values(ask(user("a b"), tools=(ToolSpec("odd", schema=odd),)))
    assert found["best_tool_n_strings"] == found["n_foreign_types"] == 0


def test_a_giant_tool_is_read_within_bounds() -> None:
    names = [f"parameter{i}" for i in range(500)]
    node = {"type": "integer", "enum": list(range(5_000))}
    slots = read_slots(dict.fromkeys(names, node), names)
    assert slots.n_numeric == len(slots.words) == len(slots.values) == MAX_SLOTS
    assert {len(values) for values in slots.values} == {MAX_VALUES}


def test_slots_are_read_once_for_a_tool_set() -> None:
    first, second = (tool_facts((tool("read_once", x={"type": "int"}),)) for _ in range(2))
    assert first.shapes[0].slots is second.shapes[0].slots


def test_what_is_remembered_of_texts_and_tools_is_never_that_of_others() -> None:
    texts = [f"Transfer {n} EUR to recipient {'again ' * n}" for n in range(70)]
    sets = (TRANSFER,), (tool("other"), TRANSFER), (tool("transfer", euro={"type": "string"}),)
    calls = [ask(user(text), tools=tools) for text in texts for tools in sets]
    first = [values(call) for call in calls]
    for tools in sets:
        tool_facts(tools).overlaps.clear()
    assert [values(call) for call in reversed(calls)] == first[::-1]


def test_capitalised_words_are_counted_and_acronyms_are_not() -> None:
    assert values(ask(user("Fly from Rome to Oslo, NOT via USA or eBay")))["n_capitalised"] == 3
