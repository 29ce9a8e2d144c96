"""A client's copy of the router's text encoder: fetched in the background, kept on disk.

Nothing waits for it: while there is none, whole bodies are sent.
"""

import logging
import os
import threading
import time
from pathlib import Path
from typing import Final

import httpx

from router_model.encoder import StaticEncoder
from router_model.errors import ArtifactError
from router_serving.gateways.settings import GatewaySettings

FILE: Final = "router-encoder.safetensors"
TIMEOUT_S: Final = 30.0
RETRY_S: Final = 30.0
"""Between two tries to fetch, so that a router that has no encoder is not asked on every call."""
_log = logging.getLogger(__name__)


class EncoderCopy:
    """The encoder that the router was last seen to use; `folder` keeps it over a restart."""

    def __init__(
        self,
        settings: GatewaySettings,
        *,
        folder: Path | None = None,
        encoder: StaticEncoder | None = None,
        retry_s: float = RETRY_S,
    ) -> None:
        self._settings = settings
        self._folder = folder
        self._encoder = encoder
        self._retry_s = retry_s
        self._is_outdated = encoder is None
        self._next_try_s = 0.0
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def current(self) -> StaticEncoder | None:
        """The encoder to use now, None where it is still to come; has it fetched if need be."""
        if self._is_outdated:
            self._fetch_soon()
            return None
        return self._encoder

    def outdated(self) -> None:
        """The router does not take what was made with the copy: ask it for its encoder again."""
        self._is_outdated = True

    def wait(self, timeout_s: float) -> bool:
        """Whether the encoder is there, after waiting for it this long at most."""
        self.current()
        thread = self._thread
        if thread is not None:
            thread.join(timeout_s)
        return self.current() is not None

    def _fetch_soon(self) -> None:
        with self._lock:
            now = time.monotonic()
            if now < self._next_try_s or (self._thread is not None and self._thread.is_alive()):
                return
            self._next_try_s = now + self._retry_s
            self._thread = threading.Thread(target=self._fetch, name="encoder", daemon=True)
            self._thread.start()

    def _fetch(self) -> None:
        """Take the router's encoder over; a failure leaves things as they are."""
        held = self._encoder or self._on_disk()
        headers = {} if held is None else {"if-none-match": f'"{held.hash}"'}
        try:
            with httpx.Client(
                base_url=self._settings.url, headers=self._settings.headers, trust_env=False
            ) as http:
                response = http.get("/encoder", headers=headers, timeout=TIMEOUT_S)
            if response.status_code != 304:
                response.raise_for_status()
                held = StaticEncoder.from_bytes(response.content)
                self._keep(response.content)
        except (httpx.HTTPError, ArtifactError) as error:
            _log.warning("encoder.unavailable error=%s", type(error).__name__)
            return
        self._encoder = held
        self._is_outdated = held is None

    def _on_disk(self) -> StaticEncoder | None:
        if self._folder is None:
            return None
        try:
            return StaticEncoder.from_bytes((self._folder / FILE).read_bytes())
        except (OSError, ArtifactError):
            return None

    def _keep(self, content: bytes) -> None:
        if self._folder is None:
            return
        partial = self._folder / f"{FILE}.{os.getpid()}.part"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            partial.write_bytes(content)
            partial.replace(self._folder / FILE)
        except OSError as error:
            _log.warning("encoder.unkept error=%s", error.strerror)
