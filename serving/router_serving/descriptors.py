"""The limit of open files, which is one of connections too."""

import resource
from typing import Final

RESERVED: Final = 128
"""Files that a process has open beside its connections."""


def raised_file_limit() -> int:
    """The most files that a process may have open, once raised to what the system permits."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (ValueError, OSError):  # some systems state a hard limit that they do not grant
        return soft
    return hard


def file_limit_warning(limit: int, *, max_connections: int) -> str | None:
    """What to tell at start where the limit does not suffice for the connections.

    >>> file_limit_warning(1024, max_connections=4096)
    'ROUTER_MAX_CONNECTIONS is 4096, but only 1024 files may be open: raise ulimit -n to 4224.'
    >>> file_limit_warning(1_048_576, max_connections=4096)
    """
    needed = max_connections + RESERVED
    if limit >= needed or limit == resource.RLIM_INFINITY:
        return None
    return (
        f"ROUTER_MAX_CONNECTIONS is {max_connections}, but only {limit} files may be open: "
        f"raise ulimit -n to {needed}."
    )
