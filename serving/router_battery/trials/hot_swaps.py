"""Artifacts are exchanged at full load: no call fails, and no answer mixes two versions."""

import asyncio
import shutil
from collections import Counter
from importlib.resources import files
from pathlib import Path

from msgspec import Struct

from router_battery.artifact_mutations import reseal
from router_battery.figures import quantile
from router_battery.log_checks import check_log
from router_battery.servers import Server, serving
from router_battery.traffic import Callers, Memory, Told
from router_battery.trial import Scale, Tried, not_zero
from router_model.catalog import load_catalog

# A swap in so many is to an artifact that was never loaded before.
NEW_EVERY = 10
SWAP_S = 120.0
POLL_S = 0.02


class Variant(Struct, frozen=True):
    """An artifact of its own version, whose catalog lacks a model of the starter."""

    folder: Path
    version: str
    catalog: str
    models: frozenset[str]


def run(scale: Scale, folder: Path) -> Tried:
    """300 swaps between artifacts with different models, by an atomic change of a link."""
    n_swaps = scale.of(300, 12)
    (folder / "state").mkdir()
    variants = [
        _variant(folder / f"v{number}", number) for number in range(2 + n_swaps // NEW_EVERY)
    ]
    link = folder / "state" / "artifact"
    link.symlink_to(variants[0].folder)
    with serving(folder / "state", settings={"reload_poll_s": str(POLL_S)}) as server:
        memory, taken = asyncio.run(_swaps(server, variants, scale, n_swaps=n_swaps))
        n_refused = server.events("artifact.refused")
        exit_code = server.stop()
    seen = Counter(told.versions["artifact"] for told in memory.answered.values())
    by_version = {each.version: each for each in variants}
    counts = {
        "failed calls": memory.n_errors + sum(memory.broken.values()),
        "mixed answers": sum(_is_mixed(told, by_version) for told in memory.answered.values()),
        "mixed rows": _mixed_rows(server, by_version),
        "decisions lost": check_log(folder / "state", memory).decisions_lost,
        "refused artifacts": n_refused,
        "exit code": exit_code,
    }
    return Tried(
        tried={
            "swaps": n_swaps,
            "of them loaded anew": len(variants) - 1,
            "decisions answered": len(memory.answered),
            "versions that answered": len(seen),
        },
        seen={
            **counts,
            "swap p50 s": quantile(taken, 0.5),
            "swap max s": quantile(taken, 1.0),
            "answer p50 ms": quantile(memory.latencies_ms, 0.5),
            "answer p99 ms": quantile(memory.latencies_ms, 0.99),
            "answer max ms": quantile(memory.latencies_ms, 1.0),
        },
        failed=not_zero(**{name.replace(" ", "_"): count for name, count in counts.items()}),
    )


async def _swaps(
    server: Server, variants: list[Variant], scale: Scale, *, n_swaps: int
) -> tuple[Memory, list[float]]:
    link = server.state / "artifact"
    fresh = iter(variants[1:])
    current, previous = variants[0], variants[0]
    taken = []
    async with Callers(server.port, seed=scale.seed, n=4).calling() as memory:
        for number in range(n_swaps):
            target = next(fresh, previous) if number % NEW_EVERY == 0 else previous
            previous, current = current, target
            began = asyncio.get_running_loop().time()
            _point(link, target.folder)
            await _answers(memory, target.version)
            taken.append(asyncio.get_running_loop().time() - began)
            scale.say(f"swap {number + 1} of {n_swaps}")
    return memory, taken


async def _answers(memory: Memory, version: str) -> None:
    """Return once the last answer is of a version."""
    async with asyncio.timeout(SWAP_S):
        while memory.last_version != version:
            await asyncio.sleep(0.005)


def _point(link: Path, target: Path) -> None:
    temporary = link.with_name("artifact.next")
    temporary.symlink_to(target)
    temporary.replace(link)


def _variant(folder: Path, number: int) -> Variant:
    shutil.copytree(Path(str(files("router_model") / "starter")), folder)
    catalog = folder / "catalog.toml"
    names = list(load_catalog(catalog).models)
    text = catalog.read_text()
    # Another model is missing in each, and the number makes a version even where names repeat.
    head = f'[models."{names[number % len(names)]}"]\n'
    catalog.write_text(text.replace(head, f"{head}enabled = false\n") + f"# {number}\n")
    manifest = reseal(folder)
    loaded = load_catalog(catalog)
    enabled = frozenset(card.id for card in loaded.enabled)
    return Variant(folder, manifest.version, loaded.version, enabled)


def _is_mixed(told: Told, variants: dict[str, Variant]) -> bool:
    variant = variants[told.versions["artifact"]]
    usable = {told.model, *told.fallbacks}
    return told.versions["catalog"] != variant.catalog or not usable <= variant.models


def _mixed_rows(server: Server, variants: dict[str, Variant]) -> int:
    rows = server.rows("select versions, model, fallbacks from decisions")
    return sum(
        row["versions"]["catalog"] != (variant := variants[row["versions"]["artifact"]]).catalog
        or not {row["model"], *row["fallbacks"]} <= variant.models
        for row in rows
    )
