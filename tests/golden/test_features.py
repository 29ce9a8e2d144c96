"""The features of realistic bodies, as reviewed files; zeros are left out.

After a deliberate change run with ROUTER_UPDATE_GOLDEN=1 and review the diff of `features/`.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from router_model import formats
from router_model.features import SCHEMA, Context, extract
from router_model.types import WireFormat

HERE = Path(__file__).parent
every_dialect = pytest.mark.parametrize("dialect", list(WireFormat), ids=lambda d: d.value)

_ROWS = """
import sys
from pathlib import Path
from router_model import formats
from router_model.features import extract
for path in sorted(Path(sys.argv[1]).glob("*.json")):
    print(extract(formats.parse(path.read_bytes())).values.tobytes().hex())
"""


def context(dialect: WireFormat) -> Context:
    body = (HERE / "requests" / f"{dialect.value}.json").read_bytes()
    return extract(formats.parse(msgspec.json.format(body, indent=0)))


def readable(found: Context) -> dict[str, Any]:
    row = zip(SCHEMA.names, found.values.tolist(), strict=True)
    return {
        "text": found.text,
        "step_type": str(found.step_type),
        "input_tokens": found.input_tokens,
        "family": found.family,
        "values": {name: value for name, value in row if value},
    }


@every_dialect
def test_a_realistic_body_has_the_reviewed_features(dialect: WireFormat) -> None:
    found = readable(context(dialect))
    expected = HERE / "features" / f"{dialect.value}.json"
    if os.environ.get("ROUTER_UPDATE_GOLDEN") == "1":
        expected.parent.mkdir(exist_ok=True)
        expected.write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n")
    assert found == json.loads(expected.read_text())


def test_rows_do_not_depend_on_the_hash_seed_of_the_process() -> None:
    def rows(seed: str) -> str:
        command = [sys.executable, "-c", _ROWS, str(HERE / "requests")]
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        return subprocess.run(
            command, env=environment, capture_output=True, check=True
        ).stdout.hex()

    assert rows("1") == rows("2") != ""
