"""One line an event on standard error, for the journal: ``key=value``, or a JSON object where that is wanted.

Privacy: no line names a device, an address, a person or an answer. Tracebacks show code and the kind of
error, never its words or the values of variables; of what libraries say, only the constant part is kept,
for the rest may quote a guest's address or what a guest has sent.
"""

import contextlib
import logging
import re
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, MutableMapping
from types import TracebackType
from typing import Any, Literal

import msgspec
import structlog

ExcInfo = (
    BaseException | tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]
)


Form = Literal["text", "json"]
"""How a line is written."""
_VALUES = re.compile(r"[(<\n]")
"""Where asyncio begins to put values into what it says itself: a callback's arguments, an object's own words."""


def start_log(level: str, form: Form = "text") -> None:
    """Send everything of *level* (debug, info, warning, error) and above to standard error.

    Libraries are heard from *warning* on.
    """
    number = getattr(logging, level.upper())
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_ConstantPart(_render_json if form == "json" else _render_text))
    logging.basicConfig(level=max(number, logging.WARNING), handlers=[handler], force=True)
    logging.raiseExceptions = False  # it would print what it was to put into a line
    sys.excepthook = _tell_end
    threading.excepthook = lambda thread: _tell_end(
        thread.exc_type, thread.exc_value or thread.exc_type(), thread.exc_traceback
    )
    sys.unraisablehook = lambda lost: _tell_end(
        lost.exc_type, lost.exc_value or lost.exc_type(), lost.exc_traceback
    )
    warnings.showwarning = lambda _, kind, file, line, *__: structlog.get_logger().warning(
        "Python warns", kind=kind.__name__, file=file, line=line
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            _add_frames,
            _render_json if form == "json" else _render_text,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=lambda *_: _Lines(sys.stderr),
    )


class _Lines(structlog.PrintLogger):
    """Writes lines; nobody's request fails because nobody reads them any more."""

    def msg(self, message: str) -> None:
        """Write *message*."""
        with contextlib.suppress(OSError):
            super().msg(message)

    log = debug = info = warn = warning = error = critical = failure = fatal = exception = msg


def _tell_end(kind: type[BaseException], error: BaseException, way: TracebackType | None) -> None:
    """What nobody caught: as every error without its words, which Python itself would print."""
    structlog.get_logger().error("an error that nobody caught", exc_info=(kind, error, way))


_render_text = structlog.processors.KeyValueRenderer(key_order=["level", "event"], drop_missing=True)


def _render_json(_logger: object, _method: str, event: MutableMapping[str, Any]) -> str:
    """*event* as a JSON object, level and event first."""
    first = {name: event.pop(name) for name in ("level", "event") if name in event}
    try:
        return msgspec.json.encode({**first, **event}, enc_hook=repr).decode()
    except UnicodeEncodeError:  # a file's name that is no text
        shown = {
            name: repr(value) if isinstance(value, str) and not value.isascii() else value
            for name, value in event.items()
        }
        return msgspec.json.encode({**first, **shown}, enc_hook=repr).decode()


class _ConstantPart(logging.Formatter):
    """What a library says, without what it puts in: ``Error handling request from %s`` names nobody."""

    def __init__(self, render: Callable[[Any, str, MutableMapping[str, Any]], str]) -> None:
        super().__init__()
        self._render = render

    def format(self, record: logging.LogRecord) -> str:
        said = str(record.msg)
        said = said.partition("\n")[0] if record.args else _VALUES.split(said, maxsplit=1)[0].rstrip()
        event = {"level": record.levelname.lower(), "event": said, "library": record.name}
        if record.exc_info and record.exc_info[0]:
            event["error"] = record.exc_info[0].__name__
        return self._render(None, "", event)


def _add_frames(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Put the way to an error in place of ``exc_info``: files, lines and the kind of error."""
    given = event.pop("exc_info", None)
    info: ExcInfo = sys.exc_info() if given is True else given or (None, None, None)
    if isinstance(info, BaseException):
        info = (type(info), info, info.__traceback__)
    if info[0] is not None:
        event["exception"] = "".join(traceback.format_tb(info[2])) + info[0].__name__
    return event
