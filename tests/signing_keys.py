"""Key pairs for signed artifacts, made by openssl as the documentation says."""

import subprocess
from pathlib import Path


def key_pair(
    folder: Path, name: str = "signing", *, algorithm: str = "ed25519"
) -> tuple[Path, Path]:
    """A private and a public key as PEM files in the folder."""
    private, public = folder / f"{name}.pem", folder / f"{name}.pub.pem"
    openssl("genpkey", "-algorithm", algorithm, "-out", private)
    openssl("pkey", "-in", private, "-pubout", "-out", public)
    return private, public


def openssl(*arguments: str | Path) -> None:
    """Run openssl; it has to succeed."""
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)
