"""Artifacts are damaged in nine ways, and their hashes made to fit or not: none is loaded."""

import shutil
from collections import Counter
from pathlib import Path
from random import Random

from router_battery.artifact_mutations import Tally, survive
from router_battery.trial import Scale, Tried, not_zero
from router_model.artifact import STARTER
from router_model.router import CATALOG_FILE


def run(scale: Scale, folder: Path) -> Tried:
    """A thousand with hashes that don't fit, a hundred with hashes that do."""
    source = folder / "source"
    shutil.copytree(STARTER, source)
    # Not the shipped one any more, which would not be probed.
    with (source / CATALOG_FILE).open("a") as file:
        file.write("# for the battery\n")
    rng = Random(scale.seed)
    plain = _mutated(source, folder / "plain", rng, n=scale.of(1000, 20), resealed=False)
    scale.say("with hashes that fit")
    sealed = _mutated(source, folder / "sealed", rng, n=scale.of(100, 2), resealed=True)
    wrong = [*plain.wrong, *sealed.wrong]
    kinds = Counter(plain.kinds) + Counter(sealed.kinds)
    return Tried(
        tried={
            "hashes that do not fit": plain.refused + plain.loaded,
            "hashes made to fit": sealed.refused + sealed.loaded,
            **{f"by {kind}": n for kind, n in sorted(kinds.items())},
        },
        seen={
            "refused": plain.refused + sealed.refused,
            "loaded, with the same answers": plain.loaded + sealed.loaded - len(wrong),
            "loaded with other answers, or a crash": len(wrong),
        },
        failed=[*wrong[:3], *not_zero(loads_or_crashes=len(wrong))],
    )


def _mutated(source: Path, work: Path, rng: Random, *, n: int, resealed: bool) -> Tally:
    work.mkdir()
    return survive(source, work, rng, n=n, resealed=resealed)
