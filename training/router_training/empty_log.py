"""What to do when there is nothing to learn from yet."""

from pathlib import Path

from router_data.log import SEGMENTS, log_dir
from router_model.errors import DatasetError


def require_log(state: Path) -> None:
    """DatasetError that names the ways to fill the log, unless something was logged."""
    log = log_dir(state)
    if not (any((log / SEGMENTS).glob("*")) or any(log.rglob("*.parquet"))):
        raise DatasetError(
            f"{state}: no decision to learn from: the log is empty; serve requests and report "
            "their outcomes to POST /outcomes, import a folder of outcomes (router-data import "
            "DIR), or import another gateway's log (router-data import --format FORMAT FILE)"
        )
