"""Exported artifact folders, beside a link to the latest that is replaced in one step."""

import shutil
from pathlib import Path

_KEPT_EXPORTS = 2


def fresh_folder(dest: Path, number: str) -> Path:
    """A path beside `dest` for an export of this version that does not exist yet."""
    n = 0
    while (name := dest.with_name(f"{dest.name}.v{number}.{n}")).exists():
        n += 1
    return name


def point_to(dest: Path, target: Path) -> None:
    """Make `dest` a link to the folder `target` beside it; what was there by hand is kept aside."""
    if dest.exists() and not dest.is_symlink():
        # A plain folder can't be replaced in one step: the only case with a moment in between.
        dest.rename(_aside(dest))
    link = dest.with_name(f".{dest.name}.link")
    link.unlink(missing_ok=True)
    link.symlink_to(target.name, target_is_directory=True)
    link.replace(dest)


def _aside(dest: Path) -> Path:
    n = 0
    while (name := dest.with_name(f"{dest.name}.before.{n}")).exists():
        n += 1
    return name


def forget_old(dest: Path, *, keep: Path) -> None:
    """Delete all exports beside `dest` but the latest ones."""
    exports = [path for path in dest.parent.glob(f"{dest.name}.v*.*") if path != keep]
    exports.sort(key=lambda path: path.stat().st_ctime_ns, reverse=True)
    for path in exports[_KEPT_EXPORTS - 1 :]:
        shutil.rmtree(path)
