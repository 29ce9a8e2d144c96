"""Exported artifact folders, beside a link to the latest that is replaced in one step."""

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

_KEPT_EXPORTS = 2


def replace_folder(
    dest: Path,
    fetch: Callable[[Path], Path],
    *,
    name: str,
    check: Callable[[Path], object] | None = None,
) -> None:
    """Make `dest` a link to what `fetch` puts below an empty folder; complete at every moment.

    The folder lies beside `dest`, with `name` and a number behind its own. `check` may refuse it
    by raising; then nothing changes. The two latest are kept.
    """
    dest.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=dest.parent, prefix=f".{dest.name}.") as scratch:
        fetched = fetch(Path(scratch))
        if check is not None:
            check(fetched)
        target = _fresh_folder(dest, name)
        fetched.rename(target)
    _point_to(dest, target)
    _forget_old(dest, keep=target)


def _fresh_folder(dest: Path, part: str) -> Path:
    n = 0
    while (name := dest.with_name(f"{dest.name}.{part}.{n}")).exists():
        n += 1
    return name


def _point_to(dest: Path, target: Path) -> None:
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


def _forget_old(dest: Path, *, keep: Path) -> None:
    exports = [path for path in dest.parent.glob(f"{dest.name}.v*.*") if path != keep]
    exports.sort(key=lambda path: path.stat().st_ctime_ns, reverse=True)
    for path in exports[_KEPT_EXPORTS - 1 :]:
        shutil.rmtree(path)
