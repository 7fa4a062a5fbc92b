"""A certificate authority that only the lab trusts."""

import base64
import hashlib
import subprocess
from pathlib import Path


def _openssl(*arguments: str | Path) -> bytes:
    return subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True).stdout


class Authority:
    """The lab's own CA; its files live in *folder*."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self._folder = folder
        self._pins: list[str] = []
        self.certificate = folder / "ca.pem"
        _openssl(
            *(
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:prime256v1",
                "-nodes",
                "-days",
                "30",
            ),
            *("-subj", "/CN=lab authority", "-addext", "basicConstraints=critical,CA:TRUE"),
            *("-addext", "keyUsage=critical,keyCertSign,cRLSign"),
            *("-keyout", folder / "ca.key", "-out", self.certificate),
        )

    @property
    def pins(self) -> str:
        """SHA-256 of every public key issued, as Chromium takes them on its command line."""
        return ",".join(self._pins)

    def issue(self, label: str, *names: str) -> tuple[Path, Path]:
        """A certificate for *names*: the paths of certificate and key, readable by everybody."""
        certificate, key = self._folder / f"{label}.pem", self._folder / f"{label}.key"
        _openssl(
            *(
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:prime256v1",
                "-nodes",
                "-days",
                "20",
            ),
            *("-CA", self.certificate, "-CAkey", self._folder / "ca.key", "-subj", f"/CN={names[0][:60]}"),
            *(
                "-addext",
                "basicConstraints=critical,CA:FALSE",
                "-addext",
                "keyUsage=critical,digitalSignature",
            ),
            *("-addext", "extendedKeyUsage=serverAuth"),
            *("-addext", "subjectAltName=" + ",".join(f"DNS:{name}" for name in names)),
            *("-keyout", key, "-out", certificate),
        )
        key.chmod(0o644)
        public = _openssl("pkey", "-in", key, "-pubout", "-outform", "DER")
        self._pins.append(base64.b64encode(hashlib.sha256(public).digest()).decode())
        return certificate, key
