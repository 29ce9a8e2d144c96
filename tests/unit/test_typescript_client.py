"""The TypeScript client is made from the OpenAPI document as it is now."""

import hashlib
import json
import re

from paths import REPO

CLIENT = REPO / "serving" / "clients" / "typescript"


def test_its_types_are_those_of_the_reviewed_document() -> None:
    document = (REPO / "tests" / "golden" / "openapi.json").read_bytes()
    made_from = re.search(
        r"openapi\.json sha256: ([0-9a-f]{64})", (CLIENT / "src/schema.ts").read_text()
    )
    assert made_from is not None
    assert made_from[1] == hashlib.sha256(document).hexdigest(), (
        "npm run generate, in serving/clients/typescript"
    )


def test_every_version_is_pinned_and_no_registry_is_named() -> None:
    package = json.loads((CLIENT / "package.json").read_text())
    versions = {**package["dependencies"], **package["devDependencies"]}
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in versions.values())
    lock = json.loads((CLIENT / "package-lock.json").read_text())
    own = lock["packages"].pop("")
    assert own["dependencies"] == package["dependencies"]
    assert all("integrity" in each and "resolved" not in each for each in lock["packages"].values())
