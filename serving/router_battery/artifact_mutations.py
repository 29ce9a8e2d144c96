"""Damages artifacts in many ways, to see that none is loaded that says something else.

`mutated` changes a copy, with the manifest left alone or made to fit; `survive` has the service's
own check judge many of them. What is loaded has to make the golden predictions of the undamaged
one. Whoever makes the manifest fit may change prices, or leaves that no golden request comes to:
against that helps a signature, not a check.
"""

import asyncio
import json
import shutil
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random
from typing import Any

from msgspec import Struct

from router_model.artifact import MANIFEST, Manifest, read_manifest, write_manifest
from router_model.errors import RouterError
from router_model.golden import check_golden
from router_serving.artifact_check import sound
from router_serving.artifact_probe import try_out
from router_serving.settings import Settings

Mutate = Callable[[Path, Random], str]
_ABSURD = ("1e9", "-1e308", "1e-320", "123456789012345678901234567890", "null", "true", "{}", "[]")
_ABSURD_TEXTS = ('"x"', '"\\u0000"', "-1", "0", "1000000000", "[" * 2000 + "]" * 2000)


class Tally(Struct, frozen=True):
    """What became of mutated artifacts: refused, loaded, and descriptions of what went wrong."""

    refused: int
    loaded: int
    wrong: tuple[str, ...]
    kinds: Mapping[str, int]


def mutated(folder: Path, rng: Random, *, resealed: bool) -> str:
    """Damage a folder at random and say how; `resealed` makes the manifest fit what came of it."""
    name = rng.choice(sorted(MUTATIONS))
    said = MUTATIONS[name](folder, rng)
    if resealed and name not in _OF_THE_MANIFEST:
        reseal(folder)
    return f"{name}: {said}{', resealed' if resealed else ''}"


def reseal(folder: Path) -> Manifest:
    """Hash the folder again under the manifest's other facts, as an attacker would."""
    old = read_manifest(folder)
    return write_manifest(
        folder,
        created=old.created,
        feature_schema=old.feature_schema,
        encoder=old.encoder,
        policy=old.policy,
        metrics=old.metrics,
        lineage=old.lineage,
    )


def survive(source: Path, work: Path, rng: Random, *, n: int, resealed: bool) -> Tally:
    """Mutate `source` n times below the empty folder `work`, and let the service judge each."""
    settings = Settings(state_dir=work)
    refused, loaded, wrong = 0, 0, list[str]()
    kinds: Counter[str] = Counter()
    for number in range(n):
        folder = work / f"mutant-{number}"
        shutil.copytree(source, folder)
        said = mutated(folder, rng, resealed=resealed)
        kinds[said.partition(":")[0]] += 1
        try:
            router = asyncio.run(sound(folder, settings))
        except RouterError:
            refused += 1
        except Exception as error:  # noqa: BLE001  # the parent must refuse, not fail
            wrong.append(f"{said}: {type(error).__name__}: {error}")
        else:
            loaded += 1
            try:
                check_golden(source, router.predictor, router.encoder)
                try_out(router, folder)
            except RouterError as error:
                wrong.append(f"{said}: was loaded, but {error}")
        shutil.rmtree(folder)
    return Tally(refused, loaded, tuple(wrong), dict(kinds))


def _file(folder: Path, rng: Random, suffix: str = "") -> Path:
    names = sorted(p for p in folder.iterdir() if p.name != MANIFEST and p.name.endswith(suffix))
    return rng.choice(names)


def _flip(folder: Path, rng: Random) -> str:
    path = _file(folder, rng)
    data = bytearray(path.read_bytes())
    for _ in range(rng.choice((1, 1, 8, 64))):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(data)
    return path.name


def _digit(folder: Path, rng: Random) -> str:
    """Other digits in text: what a loader of numbers is most likely to take."""
    path = rng.choice((folder / "trees.txt", _file(folder, rng, ".json")))
    data = bytearray(path.read_bytes())
    digits = [at for at, byte in enumerate(data) if 48 <= byte <= 57]
    for at in rng.sample(digits, min(len(digits), rng.choice((1, 3, 30)))):
        data[at] = rng.choice(b"0123456789-.e ")
    path.write_bytes(data)
    return path.name


def _truncate(folder: Path, rng: Random) -> str:
    path = _file(folder, rng)
    data = path.read_bytes()
    path.write_bytes(data[: rng.randrange(len(data))])
    return path.name


def _swap(folder: Path, rng: Random) -> str:
    first, second = _file(folder, rng), _file(folder, rng)
    one, other = first.read_bytes(), second.read_bytes()
    first.write_bytes(other)
    second.write_bytes(one)
    return f"{first.name} and {second.name}"


def _remove(folder: Path, rng: Random) -> str:
    path = _file(folder, rng)
    path.unlink()
    return path.name


def _add(folder: Path, rng: Random) -> str:
    name = rng.choice(("tenants.json", "contracts.json", "economics.json", "behaviour.json"))
    path = folder / (name if not (folder / name).exists() else "more.json")
    path.write_bytes(rng.choice((b"{}", b"[]", b"\xff", b'{"offsets": 1e9}')))
    return path.name


def _absurd(folder: Path, rng: Random) -> str:
    """One value of a JSON file, any depth, becomes something that nobody would write."""
    path = _file(folder, rng, ".json")
    try:
        content = json.loads(path.read_bytes())
    except ValueError:
        return "nothing"
    place, key = _place(content, rng)
    marker = "\0absurd\0"
    if place is None:
        content = marker
    else:
        place[key] = marker
    value = rng.choice(_ABSURD + _ABSURD_TEXTS)
    path.write_text(json.dumps(content).replace(json.dumps(marker), value))
    return f"{path.name} {value[:30]}"


def _place(content: Any, rng: Random) -> tuple[Any, Any]:
    place, key = None, None
    while isinstance(content, dict | list) and content and (place is None or rng.random() < 0.8):
        place = content
        key = (
            rng.choice(list(content)) if isinstance(content, dict) else rng.randrange(len(content))
        )
        content = content[key]
    return place, key


def _link(folder: Path, rng: Random) -> str:
    path = _file(folder, rng)
    outside = folder.parent / f"outside-{folder.name}"
    path.replace(outside)
    path.symlink_to(rng.choice((outside, Path("/dev/zero"), path, folder.parent)))
    return path.name


def _manifest(folder: Path, rng: Random) -> str:
    path = folder / MANIFEST
    text = path.read_text()
    twice = text.replace('"files": {', '"files": {}, "files": {', 1)
    name = rng.choice(("/etc/hostname", "../x", "a\\u0000b", "x" * 5000, "."))
    listed = text.replace('"files": {', f'"files": {{"{name}": "{"0" * 64}",', 1)
    deep = text.replace('"metrics": {', '"metrics": {"x": ' + "[" * 5000 + "]" * 5000 + ",", 1)
    without = json.dumps(json.loads(text) | {"files": {}})
    other = json.dumps(json.loads(text) | {"feature_schema": "0", "format": 1e9})
    choice = rng.choice((twice, listed, deep, without, other, "{" * 100_000, "", "null"))
    path.write_text(choice)
    return choice[:40]


MUTATIONS: Mapping[str, Mutate] = {
    "flip": _flip,
    "digit": _digit,
    "truncate": _truncate,
    "swap": _swap,
    "remove": _remove,
    "add": _add,
    "absurd": _absurd,
    "link": _link,
    "manifest": _manifest,
}
_OF_THE_MANIFEST = frozenset(("manifest", "link"))
