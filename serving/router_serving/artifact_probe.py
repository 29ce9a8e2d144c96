"""Loads an artifact in a process of its own and lets it decide, so that a bad one ends only that.

Run as `python -m router_serving.artifact_probe FOLDER [OVERLAY]`: exit code 0 when the artifact is
sound, else 1 with one line of why on stderr, or the signal of a crash. Memory and processor time
are limited, so that an absurd file ends the probe and not the machine.
"""

import math
import resource
import sys
from pathlib import Path

from router_model import fallback
from router_model.catalog import load_catalog
from router_model.errors import ArtifactError, NoAdmissibleModelError, RouterError
from router_model.router import CATALOG_FILE, Router
from router_model.types import Caller, Decision, Message, Part, PolicyOverrides, Request, ToolSpec

# The starter needs 0.6 GB of addresses; larger artifacts need a few times their size.
MEMORY_BYTES = 4 * 1024**3
MEMORY_PER_BYTE = 8
CPU_S = 60
_TOOL = ToolSpec(
    name="read_file",
    description="Read a file",
    schema=b'{"type":"object","properties":{"path":{"type":"string"}},"required":["path"]}',
)


def load(folder: Path, *, overlay: Path | None) -> Router:
    """A router from a folder; ArtifactError or CatalogError says what is wrong with it."""
    if overlay is None:
        return Router.load(folder)
    return Router.load(folder, catalog=load_catalog(folder / CATALOG_FILE, overlay))


def try_out(router: Router, folder: Path) -> None:
    """ArtifactError unless the router predicts and prices two plain requests.

    Golden predictions cover P(adequate); this is for the tokens, latencies and costs beside it.
    """
    for tools in ((), (_TOOL,)):
        request = Request(
            messages=(Message("user", (Part("text", "Fix the failing test"),)),), tools=tools
        )
        try:
            decision = router.decide(
                request, caller=Caller(), overrides=PolicyOverrides(), decision_id="probe"
            )
        except NoAdmissibleModelError:  # a matter of the catalog, and of each request
            continue
        if decision.policy == fallback.NAME or not _is_plausible(decision):
            raise ArtifactError(f"{folder}: does not decide: {decision.reason}")


def _is_plausible(decision: Decision) -> bool:
    return all(
        math.isfinite(each.expected_cost)
        and each.expected_cost >= 0.0
        and 0.0 <= each.p_adequate <= 1.0
        and math.isfinite(each.output_tokens)
        for each in decision.candidates
    )


def confine(folder: Path) -> None:
    """Limit this process's memory and processor time, and leave no core file."""
    n_bytes = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    memory = MEMORY_BYTES + MEMORY_PER_BYTE * n_bytes
    for what, most in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CPU, CPU_S),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(what)[1]
        allowed = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (allowed, allowed))


def main(arguments: list[str]) -> int:
    """Load the named artifact and end: 0 when it is sound, 1 with the reason on stderr."""
    folder = Path(arguments[0])
    overlay = Path(arguments[1]) if len(arguments) > 1 else None
    try:
        try_out(load(folder, overlay=overlay), folder)
    except RouterError as error:
        reason = str(error)
    except Exception as error:  # noqa: BLE001  # whatever a bad file provokes, it is refused
        reason = f"{folder}: can't be loaded: {type(error).__name__}: {str(error)[:200]}"
    else:
        return 0
    sys.stderr.write(" ".join(reason.split()) + "\n")
    return 1


if __name__ == "__main__":
    confine(Path(sys.argv[1]))
    sys.exit(main(sys.argv[1:]))
