"""Thousands of generated calls against the OpenAPI document: no 5xx, and nothing undocumented."""

import json
import re
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from router_battery.servers import environment, serving
from router_battery.trial import Scale, Tried, not_zero
from router_serving.keys import KeysContent, new_key

# A schema can't say everything that is wanted of a body, and /authz takes every method.
NOT_CHECKED = "positive_data_acceptance,unsupported_method"
LIMIT_S = 1200.0
_STATUS = re.compile(rb'"status_code":(\d{3})')


def run(scale: Scale, folder: Path) -> Tried:
    """Schemathesis, in a process of its own, with data that fits the document and data that not."""
    (folder / "state").mkdir()
    key = _key(folder / "state")
    with serving(folder / "state", settings={"max_body_bytes": str(1 << 20)}) as server:
        scale.say("schemathesis")
        n_each, seed = scale.of(700, 4), scale.seed + 1
        report = fuzzed(server.port, folder, key=key, n_each=n_each, seed=seed)
        n_failed = server.events("request.failed")
        exit_code = server.stop()
    statuses = Counter(_STATUS.findall((folder / "calls.ndjson").read_bytes()))
    cases = report["test_cases"]
    found = [
        f"{one['title']} ({one['count']}): {', '.join(one['operations'])}"
        for one in report["failures"]
    ]
    return Tried(
        tried={
            "cases": cases["generated"],
            "operations": report["operations"]["tested"],
        },
        seen={
            "cases with a finding": cases["with_failures"],
            "cases that could not be run": cases["errored"],
            "unexpected errors": n_failed,
            **{f"status {code.decode()}": n for code, n in sorted(statuses.items())},
        },
        failed=[
            *found,
            *not_zero(
                unexpected_errors=n_failed,
                operations_not_tested=report["operations"]["total"]
                - report["operations"]["tested"],
                exit_code=exit_code,
            ),
        ],
    )


def fuzzed(port: int, folder: Path, *, key: str, n_each: int, seed: int) -> dict[str, Any]:
    """The report of a run with `n_each` random cases per operation, beside the systematic ones.

    `key` is sent with each, except where it is tried without one, or with a wrong one.
    """
    options = {
        "--header": f"x-router-api-key: {key}",
        "--checks": "all",
        "--exclude-checks": NOT_CHECKED,
        "--phases": "coverage,fuzzing",
        "--max-examples": str(n_each),
        "--seed": str(seed),
        "--generation-database": "none",
        "--suppress-health-check": "all",
        "--warnings": "off",
        "--request-timeout": "30",
        "--report-json-path": str(folder / "report.json"),
        "--report-ndjson-path": str(folder / "calls.ndjson"),
    }
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "run"),
        f"http://127.0.0.1:{port}/openapi.json",
        *("--continue-on-failure", "--no-shrink", "--no-color"),
        *(part for option in options.items() for part in option),
    ]
    done = subprocess.run(
        command, cwd=folder, env=environment(), capture_output=True, timeout=LIMIT_S, check=False
    )
    if not (folder / "report.json").is_file():
        raise ChildProcessError(done.stderr.decode("utf-8", "replace")[-500:])
    report: dict[str, Any] = json.loads((folder / "report.json").read_bytes())
    return report


def _key(state: Path) -> str:
    """A key that may do everything; with it in the file every call needs one."""
    made = new_key(tenant="*", scopes=["admin"], now=datetime.now(UTC))
    (state / "keys.json").write_bytes(msgspec.json.encode(KeysContent(keys=(made.key,))))
    return made.text
