"""A certificate authority that only the lab trusts."""

import base64
import hashlib
import subprocess
import time
from pathlib import Path
from typing import Self

_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
_DAY = 86_400
_CONFIGURATION = """
[ca]
default_ca = here
[here]
database = {folder}/index.txt
new_certs_dir = {folder}
certificate = {folder}/ca.pem
private_key = {folder}/ca.key
rand_serial = yes
default_md = sha256
policy = anybody
unique_subject = no
[anybody]
commonName = optional
[authority]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,cRLSign
"""


def _openssl(*arguments: str | Path) -> bytes:
    return subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True).stdout


class Authority:
    """The lab's own CA; its files live in *folder*. With *issuer* it is one below that one."""

    def __init__(self, folder: Path, issuer: Self | None = None) -> None:
        folder.mkdir(exist_ok=True)
        self._folder = folder
        self._pins: list[str] = []
        self.certificate = folder / "ca.pem"
        self._chain = self.certificate.read_bytes if issuer else bytes
        (folder / "index.txt").touch()
        (folder / "ca.cnf").write_text(_CONFIGURATION.format(folder=folder))
        new = ("req", *_NEW_KEY, "-keyout", folder / "ca.key", "-subj", f"/CN=lab authority {folder.name}")
        if issuer is None:
            extensions = ("-config", folder / "ca.cnf", "-extensions", "authority")
            _openssl(*new, "-x509", "-days", "90", *extensions, "-out", self.certificate)
        else:
            _openssl(*new, "-out", folder / "ca.csr")
            issuer.sign(folder / "ca.csr", self.certificate, extensions="authority")

    @property
    def pins(self) -> str:
        """SHA-256 of every public key issued, as Chromium takes them on its command line."""
        return ",".join(self._pins)

    def issue(
        self, label: str, *names: str, days: tuple[float, float] = (-1, 20), revocation: str = ""
    ) -> tuple[Path, Path]:
        """A certificate for *names*: the paths of certificate and key, readable by everybody.

        It holds from the first to the second of *days* from now. Both its revocation services are at
        *revocation*, a host name.
        """
        certificate, key = self._folder / f"{label}.pem", self._folder / f"{label}.key"
        request, extensions = self._folder / f"{label}.csr", self._folder / f"{label}.cnf"
        lines = [
            "basicConstraints=critical,CA:FALSE",
            "keyUsage=critical,digitalSignature",
            "extendedKeyUsage=serverAuth",
            "subjectAltName=" + ",".join(f"DNS:{name}" for name in names),
        ]
        if revocation:
            lines.append(f"authorityInfoAccess=OCSP;URI:http://ocsp.{revocation}/")
            lines.append(f"crlDistributionPoints=URI:http://crl.{revocation}/lab.crl")
        extensions.write_text("\n".join(lines))
        _openssl("req", "-new", *_NEW_KEY, "-subj", f"/CN={names[0][:60]}", "-keyout", key, "-out", request)
        self.sign(request, certificate, days=days, file=extensions)
        certificate.write_bytes(certificate.read_bytes() + self._chain())
        key.chmod(0o644)
        public = _openssl("pkey", "-in", key, "-pubout", "-outform", "DER")
        self._pins.append(base64.b64encode(hashlib.sha256(public).digest()).decode())
        return certificate, key

    def sign(
        self,
        request: Path,
        certificate: Path,
        *,
        days: tuple[float, float] = (-1, 20),
        file: Path | None = None,
        extensions: str = "",
    ) -> None:
        """Sign *request*, with the extensions in *file* or in the section *extensions* of our own."""
        first, last = (time.strftime("%Y%m%d%H%M%SZ", time.gmtime(time.time() + d * _DAY)) for d in days)
        which = ("-extfile", file) if file else ("-extensions", extensions)
        _openssl(
            *("ca", "-batch", "-notext", "-config", self._folder / "ca.cnf", "-in", request),
            *("-startdate", first, "-enddate", last, *which, "-out", certificate),
        )
