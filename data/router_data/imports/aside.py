"""Keeps the records of an import that can't be used, with number and reason, for repair."""

import hashlib
from pathlib import Path
from typing import BinaryIO

import msgspec
from ulid import ULID

from router_data.gateway_log import Line


class LinesAside:
    """A file of unusable records; the same ones of the same source give the same name.

    It may hold prompts, so only its owner can read it. `path` is None while there are none.
    """

    def __init__(self, folder: Path, stem: str) -> None:
        self.path: Path | None = None
        self._temporary = folder / f".import-{stem}-{ULID()}.tmp"
        self._stem = stem
        self._digest = hashlib.sha256()
        self._file: BinaryIO | None = None

    def add(self, line: Line, reason: str) -> None:
        """Write one record with its number and reason."""
        if self._file is None:
            self._temporary.parent.mkdir(parents=True, exist_ok=True)
            self._temporary.touch(mode=0o600)
            self._file = self._temporary.open("wb")
        text = line.text.decode("utf-8", "replace")
        data = msgspec.json.encode({"line": line.number, "reason": reason, "text": text}) + b"\n"
        self._digest.update(data)
        self._file.write(data)

    def __enter__(self) -> "LinesAside":
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()
            name = f"import-{self._stem}-{self._digest.hexdigest()[:12]}.jsonl"
            self.path = self._temporary.replace(self._temporary.with_name(name))
