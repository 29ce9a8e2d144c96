"""The TypeScript client, built, with a real server."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from gateway_processes import GATEWAYS
from paths import REPO
from serving_process import BODIES, requires_starter, serving

SOURCE = REPO / "serving" / "clients" / "typescript"
MODULES = Path(os.environ.get("ROUTER_TEST_TYPESCRIPT", GATEWAYS / "typescript")) / "node_modules"
NODE = shutil.which("node")
LEAST_NODE = 20


def node_version() -> int:
    """The major version of Node, 0 without one."""
    if NODE is None:
        return 0
    told = subprocess.run([NODE, "--version"], capture_output=True, text=True, check=True).stdout
    return int(told.removeprefix("v").partition(".")[0])


pytestmark = [
    pytest.mark.service,
    requires_starter,
    pytest.mark.skipif(
        node_version() < LEAST_NODE, reason=f"no node of version {LEAST_NODE} or later on the PATH"
    ),
    pytest.mark.skipif(
        not MODULES.is_dir(),
        reason=f"no {MODULES}: make .gateways/typescript/.done, or set ROUTER_TEST_TYPESCRIPT",
    ),
]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the client with its modules, built."""
    folder = tmp_path_factory.mktemp("typescript") / "client"
    shutil.copytree(SOURCE, folder, ignore=shutil.ignore_patterns("node_modules", "dist"))
    (folder / "node_modules").symlink_to(MODULES.resolve())
    run(folder, "node_modules/typescript/bin/tsc")
    return folder


def run(folder: Path, *arguments: str, **environment: str) -> str:
    """What node says; a failure shows it all."""
    done = subprocess.run(
        [str(NODE), *arguments],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_generated_types_are_what_the_document_gives(client: Path) -> None:
    document = REPO / "tests" / "golden" / "openapi.json"
    run(client, "scripts/generate.mjs", "--check", str(document))


def test_it_decides_refuses_falls_back_and_reports(client: Path, tmp_path: Path) -> None:
    with serving(tmp_path / "state") as server:
        said = run(
            client,
            "--test",
            "test/",
            ROUTER_URL=str(server.http.base_url),
            ROUTER_BODIES=json.dumps(BODIES),
        )
        decided = server.rows("select count(*) as n from decisions where tenant = 'ts'")
    assert "# fail 0" in said
    assert "# skipped 0" in said
    assert decided[0]["n"] >= len(BODIES)
