"""A certificate authority that only the lab trusts."""

import subprocess
from pathlib import Path


def _openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


class Authority:
    """The lab's own CA; its files live in *folder*."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self._folder = folder
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
        return certificate, key
