"""Says how to get packages that only a part of the project needs.

The project is on no public registry, where anybody could take its name: extras are installed from
a clone.
"""

from collections.abc import Iterable


def missing_packages(what: str, *, extra: str, names: Iterable[str]) -> str:
    """The hint for `what` needs packages of an extra that are not installed.

    >>> said = missing_packages("a probe", extra="probe", names=["httpx"])
    >>> said.startswith("a probe needs the packages of the extra [probe]: from a clone")
    True
    """
    return (
        f"{what} needs the packages of the extra [{extra}]: from a clone "
        f"`pip install '.[{extra}]'`; missing: {', '.join(names)}"
    )
