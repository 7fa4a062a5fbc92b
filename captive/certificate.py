"""The portal's TLS certificate."""

import contextlib
import ssl
from pathlib import Path

import structlog

from crm.errors import SetupError
from crm.settings import Settings

log = structlog.get_logger()


class Certificate:
    """The portal's TLS certificate, read again when its file changes; no restart needed."""

    def __init__(self, settings: Settings) -> None:
        self._files = (Path(settings.portal.certificate), Path(settings.portal.key))
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._read_at = self._changed()
        self._load()

    def refresh(self) -> None:
        """Read the files again if they are newer; a broken pair is told and the old one serves on."""
        with contextlib.suppress(OSError):
            changed = self._changed()
            if changed != self._read_at:
                self._read_at = changed
                try:
                    self._load()
                    log.info("certificate read again")
                except SetupError as error:
                    log.error("the new certificate is not used", reason=str(error))  # noqa: TRY400

    def _changed(self) -> tuple[int, ...]:
        try:
            return tuple(file.stat().st_mtime_ns for file in self._files)
        except OSError as error:
            raise SetupError(f"portal.certificate: {error.filename}: {error.strerror}") from None

    def _load(self) -> None:
        try:
            self.context.load_cert_chain(*self._files)
        except (ssl.SSLError, OSError) as error:
            raise SetupError(f"portal.certificate and portal.key do not make a pair: {error}") from None
