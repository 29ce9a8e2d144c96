"""The API's description is a reviewed file: `python tests/golden/test_openapi.py` rewrites it."""

import json
from pathlib import Path
from typing import Any

from router_serving.app import Service
from router_serving.errors import STATUS
from router_serving.keys import SCOPES
from router_serving.settings import Settings

GOLDEN = Path(__file__).with_name("openapi.json")


def described() -> dict[str, Any]:
    return Service(Settings()).api.openapi()


def test_the_api_is_described_as_reviewed() -> None:
    assert described() == json.loads(GOLDEN.read_text())


def test_every_route_of_the_contract_is_described() -> None:
    found = {
        (method.upper(), path)
        for path, operations in described()["paths"].items()
        for method in operations
    }
    assert found == {
        ("POST", "/route"),
        ("POST", "/authz/{path}"),
        ("POST", "/outcomes"),
        ("POST", "/outcomes/wire"),
        ("POST", "/v1/systemone"),
        ("POST", "/portkey"),
        ("GET", "/decisions/{decision_id}"),
        ("GET", "/models"),
        ("GET", "/encoder"),
        ("GET", "/spend"),
        ("GET", "/budgets"),
        ("GET", "/switches"),
        ("PUT", "/switches/{subject}"),
        ("DELETE", "/switches/{subject}"),
        ("GET", "/healthz"),
        ("GET", "/readyz"),
        ("GET", "/metrics"),
    }


def test_every_operation_says_which_key_it_needs_and_how_it_refuses_others() -> None:
    schemes = described()["components"]["securitySchemes"]
    for path, operations in described()["paths"].items():
        for operation in operations.values():
            if path in ("/healthz", "/readyz"):
                assert "security" not in operation
                continue
            ((scope,),) = {tuple(*one.values()) for one in operation["security"]}
            assert scope in SCOPES, path
            assert [*schemes] == [name for one in operation["security"] for name in one]
            assert {"401", "403"} <= operation["responses"].keys(), path


def test_every_error_is_a_problem_with_its_codes() -> None:
    for path, operations in described()["paths"].items():
        for operation in operations.values():
            assert operation["summary"], path
            assert operation["description"], path
            for status, response in operation["responses"].items():
                if int(status) >= 400:
                    codes = response["description"].split(", ")
                    assert all(STATUS[code] == int(status) for code in codes), path
                    assert list(response["content"]) == ["application/problem+json"], path


def test_every_reference_leads_somewhere() -> None:
    text = json.dumps(described())
    schemas = described()["components"]["schemas"]
    for piece in text.split('"#/components/schemas/')[1:]:
        assert piece.partition('"')[0] in schemas


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps(described(), indent=1) + "\n")
