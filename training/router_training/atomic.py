"""Writes small files that readers always see whole."""

import os
from pathlib import Path


def write_atomic(path: Path, data: bytes) -> None:
    """Write a small file that readers see whole, either the old or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
