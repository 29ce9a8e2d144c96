"""Check an installed wheel: its data files, what came with it, and a service that answers."""

import json
import re
import subprocess
import sys
import tempfile
import time
from importlib.metadata import distributions
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

DATA_FILES = {
    "router_model": ["py.typed", "starter/manifest.json", "starter/MODEL_CARD.md"],
    "router_data": [
        *("py.typed", "schema.sql", "catalog.toml", "model_facts.json"),
        *("historic.toml", "selection.toml"),
    ],
    "router_training": ["py.typed"],
    "router_serving": [
        *("py.typed", "ledger/ledger.sql", "ledger/valkey_claim.lua", "ledger/valkey_commit.lua"),
        *("ledger/valkey_decisions.lua", "ledger/valkey_state.lua"),
    ],
}
# What only training needs: gigabytes that must not come with the service.
HEAVY = {"torch", "mlflow", "mlflow-skinny", "pandas", "scikit-learn", "sentence-transformers"}
START_S = 120.0


def check_files() -> None:
    """Fail when a data file is missing, or the packages come from somewhere else."""
    for package, names in DATA_FILES.items():
        folder = Path(str(files(package)))
        assert folder.is_relative_to(sys.prefix), f"{package} comes from {folder}"
        for name in names:
            assert (folder / name).is_file(), f"the wheel lacks {package}/{name}"


def check_distributions() -> None:
    """Fail when the service brought what only training needs."""
    installed = {d.metadata["Name"].lower().replace("_", "-") for d in distributions()}
    assert not installed & HEAVY, f"installed with [serve]: {sorted(installed & HEAVY)}"


def call(url: str, body: object = None) -> Any:
    """The JSON answer of a service; None where the answer is empty."""
    data = None if body is None else json.dumps(body).encode()
    with urlopen(Request(url, data=data), timeout=30) as response:
        return json.loads(response.read() or b"null")


def wait_until_ready(url: str) -> None:
    """Return once the service can decide."""
    deadline = time.monotonic() + START_S
    while True:
        try:
            call(f"{url}/readyz")
        except URLError:
            assert time.monotonic() < deadline, "the service did not become ready"
            time.sleep(0.1)
        else:
            return


def check_service(state: Path) -> None:
    """Route a request, report its outcome and ask for the explanation."""
    command = [str(Path(sys.prefix, "bin", "router-serve")), "--port", "0"]
    with subprocess.Popen(
        [*command, "--state-dir", str(state)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            found = re.search(r"http://\S+", process.stdout.readline())
            assert found, "the service did not say its address"
            url = found[0]
            wait_until_ready(url)
            message = {"role": "user", "content": "Fix the failing test in calc.py"}
            decision = call(f"{url}/route", {"model": "auto", "messages": [message]})
            decision_id, model = decision["decision_id"], decision["model"]
            outcome = {"decision_id": decision_id, "model": model, "adequate": True}
            call(f"{url}/outcomes", outcome)
            explained = call(f"{url}/decisions/{decision_id}")
            assert model in json.dumps(explained), explained
        finally:
            process.terminate()
    assert process.returncode == 0, f"the service ended with {process.returncode}"


if __name__ == "__main__":
    check_files()
    check_distributions()
    with tempfile.TemporaryDirectory() as folder:
        check_service(Path(folder) / "state")
    sys.stdout.write("the wheel serves\n")
