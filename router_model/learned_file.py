"""Reads what training adds to an artifact where it learned something: optional files of JSON."""

from pathlib import Path
from typing import Protocol, TypeVar

import msgspec

from router_model.errors import ArtifactError


class Checked(Protocol):
    """Something that can tell whether training may have written it."""

    def check(self) -> None:
        """ArtifactError that names the first field which training can't have written."""


T = TypeVar("T", bound=Checked)


def read_learned(path: Path, kind: type[T]) -> T | None:
    """What the file holds, checked; None without a file, ArtifactError if it can't be used."""
    try:
        found = msgspec.json.decode(path.read_bytes(), type=kind)
        found.check()
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, ArtifactError) as error:
        raise ArtifactError(f"{path}: can't be used: {error}") from error
    return found
