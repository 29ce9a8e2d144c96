"""Which commit the running code is of."""

import subprocess
from pathlib import Path


def code_revision(folder: Path) -> str:
    """Commit of the checkout that holds `folder`, "-dirty" when changed, "unknown" outside."""
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return found.stdout.strip() or "unknown"
