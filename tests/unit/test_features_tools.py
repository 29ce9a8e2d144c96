from conversations import SHELL_TOOLS, ask, tool, user, values

from router_model.features.jsonschema import MAX_NODES, schema_shape
from router_model.features.tools import MAX_TOOLS, tool_facts
from router_model.tokens import estimate_request_tokens
from router_model.types import Request, ToolSpec

NESTED = b"""{"type": "object", "additionalProperties": false, "required": ["items"],
"properties": {"items": {"type": "array", "items": {"type": "object", "required": ["id", "kind"],
"properties": {"id": {"type": ["string", "null"]}, "kind": {"enum": ["a", "b"]},
"more": {"anyOf": [{"type": "string"}, {"type": "object", "properties": {"x": {}}}]}}}}}}"""


def test_the_shape_of_a_nested_schema_is_counted() -> None:
    shape = schema_shape(NESTED)
    assert shape.depth == 3
    assert shape.n_properties == 5
    assert (shape.n_required, shape.n_top_required) == (3, 1)
    assert (shape.n_enums, shape.n_unions, shape.n_arrays, shape.n_objects) == (1, 2, 1, 2)
    assert shape.is_closed
    assert shape.parameters == ("items",)


def test_a_schema_that_is_no_json_object_counts_as_empty() -> None:
    for schema in (b"", b"[]", b"{", b"true", b'{"properties": [], "required": 3}'):
        assert schema_shape(schema).n_properties == 0


def test_a_giant_schema_is_read_within_bounds() -> None:
    member = b'{"type": "string"}'
    properties = b", ".join(b'"p%d": %s' % (i, member) for i in range(3 * MAX_NODES))
    assert schema_shape(b'{"properties": {%s}}' % properties).n_nodes <= MAX_NODES


def test_the_tools_of_a_request_are_summed_up() -> None:
    tools = (*SHELL_TOOLS, ToolSpec(name="nested", schema=NESTED, is_strict=True))
    found = values(ask(user("Go."), tools=tools))
    assert found["n_tools"] == 4
    assert found["n_properties"] == 9
    assert found["schema_depth_max"] == 3
    assert found["strict_share"] == found["closed_share"] == 0.25
    assert found["has_shell_tool"] == found["has_edit_tool"] == found["has_read_tool"] == 1
    assert found["has_web_tool"] == found["has_task_tool"] == 0


def test_a_provider_tool_is_known_by_its_kind() -> None:
    found = values(ask(user("Go."), tools=(ToolSpec(name="web_search", kind="web_search"),)))
    assert found["n_provider_tools"] == found["has_web_tool"] == 1


def test_tools_with_nearly_the_same_name_are_noticed() -> None:
    alike = (tool("get_user_orders"), tool("get_user_order_items"), tool("send_mail"))
    found = values(ask(user("Go."), tools=alike))
    assert found["n_similar_tool_pairs"] == 0
    assert abs(found["tool_similarity_max"] - 0.4) < 1e-6
    twins = values(ask(user("Go."), tools=(tool("get_user"), tool("getUser"))))
    assert (twins["tool_similarity_max"], twins["n_similar_tool_pairs"]) == (1, 1)


def test_the_best_matching_tool_is_found_with_its_distance_to_the_second() -> None:
    tools = (
        tool("get_weather", "Weather of a city.", city={"type": "string"}),
        tool("book_flight", "Books a flight.", origin={}, destination={}, date={}),
    )
    found = values(ask(user("Book a flight from Rome to Oslo on this date"), tools=tools))
    assert found["best_tool_n_required"] == 3
    assert found["best_tool_name_share"] == 1
    assert found["overlap_best"] > found["overlap_second"] == 0
    assert found["overlap_gap_share"] == 1
    both = values(ask(user("The weather of the city and a flight"), tools=tools))
    assert both["n_tools_named"] == 2
    assert 0 < both["overlap_gap_share"] < 1


def test_plurals_match_their_singular() -> None:
    tools = (tool("list_orders"),)
    assert values(ask(user("Show my last order"), tools=tools))["n_tools_named"] == 1
    assert values(ask(user("Show my orders"), tools=(tool("find_order"),)))["n_tools_named"] == 1


def test_clauses_are_set_in_relation_to_the_tools() -> None:
    text = "Get the weather and then book a flight, also send a mail"
    found = values(ask(user(text), tools=SHELL_TOOLS))
    assert found["n_clauses"] == 4
    assert abs(found["clauses_per_tool"] - 4 / 3) < 1e-6


def test_ten_thousand_tools_are_counted_and_read_within_bounds() -> None:
    tools = tuple(tool(f"tool_{i}", "Does it.", a={"type": "string"}) for i in range(10_000))
    facts = tool_facts(tools)
    assert len(facts.shapes) == MAX_TOOLS
    assert facts.values[0] == 10_000
    assert facts.tokens > 10_000 * 10


def test_both_ways_to_estimate_the_tokens_of_a_request_agree() -> None:
    request = Request(
        messages=(user("Fix it. " * 300),), tools=SHELL_TOOLS, system="Be kind. " * 99
    )
    total = values(request)["total_tokens"]
    assert abs(total / estimate_request_tokens(request) - 1) < 0.02
