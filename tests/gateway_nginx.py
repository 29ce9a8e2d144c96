"""A real nginx with the shipped configuration."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from gateway_processes import PATIENT_MS, Gateway, address_of, free_port, placed, running

NGINX = shutil.which("nginx") or "/usr/sbin/nginx"
LUA_MODULE = Path("/usr/lib/nginx/modules/ngx_http_lua_module.so")

requires_nginx = pytest.mark.skipif(
    not (Path(NGINX).exists() and LUA_MODULE.exists()),
    reason="needs nginx with Lua: apt-get install nginx libnginx-mod-http-lua",
)


@contextmanager
def serving_nginx(
    folder: Path,
    *,
    router: str,
    upstream: str,
    api_key: str = "",
    settings: str = 'alias = "auto"',
    timeout_ms: int = PATIENT_MS,
) -> Iterator[Gateway]:
    """nginx between clients and `upstream`; `settings` of the Lua in the place of `alias`."""
    port = free_port()
    temporary = folder / "temporary"
    temporary.mkdir(parents=True)
    paths = "".join(
        f"{kind}_temp_path {temporary / kind}; "
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    host, router_port = address_of(router)
    router_address = f'host = "{host}", port = {router_port},'
    copy = placed(
        folder,
        "nginx",
        replaced={
            "http {": f"http {{ access_log off; {paths}",
            "127.0.0.1:8081": f"127.0.0.1:{port}",
            "127.0.0.1:4000": "{}:{}".format(*address_of(upstream)),
            'host = "127.0.0.1", port = 8080,': router_address,
            'alias = "auto"': f"{settings}, timeout_ms = {timeout_ms}",
            "worker_processes auto": "worker_processes 2",
        },
    )
    own = "daemon off; error_log stderr warn; pid nginx.pid;"
    if os.geteuid() == 0:
        own += " user root;"
    command = [NGINX, "-p", f"{copy}/", "-c", "nginx.conf", "-e", "stderr", "-g", own]
    key = {"ROUTER_API_KEY": api_key} if api_key else {}
    log = folder / "nginx.log"
    with running(command, port=port, log=log, cwd=copy, environment=key) as gateway:
        yield gateway
