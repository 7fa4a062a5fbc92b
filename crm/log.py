"""Lines of ``key=value`` on standard error, for the journal.

Privacy: no line names a device, an address, a person or an answer. Tracebacks show code, never the values
of variables, and the stores' errors come without their parameters.
"""

import logging
import sys

import structlog


def start_log(level: str) -> None:
    """Send everything of *level* (debug, info, warning, error) and above to standard error.

    Libraries are heard from *warning* on: their chatter may quote what guests sent.
    """
    number = getattr(logging, level.upper())
    logging.basicConfig(
        level=max(number, logging.WARNING), format="level=%(levelname)s event='%(message)s'", force=True
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            structlog.processors.KeyValueRenderer(key_order=["level", "event"], drop_missing=True),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
