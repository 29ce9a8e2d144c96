"""What an operator reads of the service: events as JSON lines.

They never hold prompt text, tool arguments or keys, at any level.
"""

import logging
import sys
from collections.abc import Sequence

import structlog

from router_serving.redaction import hide_in_line
from router_serving.tracing import add_trace_id


def configure_logging(level: str = "info") -> None:
    """Send structlog events and the server's own records to stderr, one JSON line each."""
    shared: Sequence[structlog.typing.Processor] = (
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        add_trace_id,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
                hide_in_line,
            ],
            foreign_pre_chain=shared,
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    # What it says of each start and stop, our own events say as well.
    logging.getLogger("uvicorn").setLevel(max(logging.WARNING, root.level))
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
