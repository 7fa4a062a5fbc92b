"""The judgement beside real certificates, made by openssl."""

import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from captive import certificate
from captive.certificate import Certificate, Verdict, judge, judge_served
from crm.settings import Portal, Settings
from tests.free_ports import free_port
from tests.lab.certificates import Authority

NAME = "portal.example.vn"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def good(authority: Authority) -> tuple[Path, Path]:
    return authority.issue("good", NAME, days=(-1, 60), revocation="lab.example")


@pytest.fixture
def files(tmp_path: Path, good: tuple[Path, Path]) -> Settings:
    """Settings whose certificate files are copies that a test may spoil."""
    settings = Settings(
        portal=Portal(
            name=NAME,
            certificate=str(tmp_path / "tls.crt"),
            key=str(tmp_path / "tls.key"),
            tls_port=free_port(),
        )
    )
    put(settings, good)
    return settings


def put(settings: Settings, pair: tuple[Path, Path]) -> None:
    for source, target in zip(pair, (settings.portal.certificate, settings.portal.key), strict=True):
        shutil.copy(source, f"{target}.new")
        Path(f"{target}.new").replace(target)


def test_a_good_certificate_of_a_private_authority_counts_and_is_called_private(files: Settings):
    verdict = judge(files)
    assert verdict.fault == ""
    assert not verdict.public
    assert verdict.days(time.time()) == 59
    assert verdict.begins < time.time()
    assert verdict.hosts == ("ocsp.lab.example", "crl.lab.example")


def test_a_certificate_of_an_authority_that_this_system_knows_is_public(
    files: Settings, authority: Authority, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate))
    assert judge(files) == msgspec.structs.replace(judge(files), fault="", public=True)


@pytest.mark.parametrize(
    ("names", "days", "fault"),
    [
        ([NAME], (-30, -2), "expired on "),
        ([NAME], (2, 30), "not valid before "),
        (["other.example.vn", "www.example.vn"], (-1, 30), "made for other.example.vn, www.example.vn, not"),
    ],
)
@pytest.mark.parametrize("public", [False, True])
def test_what_a_phone_would_refuse_is_refused_with_the_reason(
    files: Settings,
    authority: Authority,
    names: list[str],
    days: tuple[int, int],
    fault: str,
    public: bool,
    monkeypatch: pytest.MonkeyPatch,
):
    if public:
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate))
    put(files, authority.issue("bad", *names, days=days))
    assert judge(files).fault.startswith(fault)
    assert judge(files).ends


def test_a_name_with_a_star_is_taken_as_phones_take_it(files: Settings, authority: Authority):
    put(files, authority.issue("star", "*.example.vn"))
    assert judge(files).fault == ""


def test_a_certificate_signed_by_itself_is_not_taken(files: Settings):
    words = f"openssl req -x509 -newkey ed25519 -nodes -subj /CN=x -addext subjectAltName=DNS:{NAME}".split()
    paths = ["-out", files.portal.certificate, "-keyout", files.portal.key]
    subprocess.run([*words, *paths], check=True, capture_output=True)
    assert "no phone trusts it" in judge(files).fault


def test_the_authoritys_own_certificate_is_none_for_a_server(files: Settings, authority: Authority):
    put(files, (authority.certificate, authority.certificate.with_name("ca.key")))
    assert judge(files).fault == "unsuitable certificate purpose"


def test_a_chain_is_looked_through(files: Settings, authority: Authority, tmp_path: Path):
    below = Authority(tmp_path / "below", authority)
    leaf, key = below.issue("leaf", NAME)
    put(files, (leaf, key))
    assert judge(files).fault == ""
    stranger = Authority(tmp_path / "stranger")
    leaf.write_text(leaf.read_text().replace(below.certificate.read_text(), stranger.certificate.read_text()))
    put(files, (leaf, key))
    assert "unable to get local issuer" in judge(files).fault


@pytest.mark.parametrize("public", [False, True])
@pytest.mark.parametrize("days", [(-30, -2), (2, 30)])
def test_a_chain_whose_authority_has_had_its_time_is_not_blamed_on_the_certificate(
    files: Settings,
    authority: Authority,
    tmp_path: Path,
    days: tuple[int, int],
    public: bool,
    monkeypatch: pytest.MonkeyPatch,
):
    """It would be *renew it*, and the date of a certificate that is good for two more weeks."""
    if public:
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate))
    below = Authority(tmp_path / "below", authority)
    authority.sign(tmp_path / "below/ca.csr", below.certificate, days=days, extensions="authority")
    put(files, below.issue("leaf", NAME))
    told = judge(files).fault
    assert told.startswith("an authority in its chain has expired, or is not valid yet")


def spoil_missing(path: Path) -> None:
    path.unlink()


def spoil_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def spoil_empty(path: Path) -> None:
    path.write_text("")


def spoil_rubbish(path: Path) -> None:
    path.write_bytes(b"-----BEGIN CERTIFICATE-----\n\xff\xfe\n-----END CERTIFICATE-----\n")


@pytest.mark.parametrize("spoil", [spoil_missing, spoil_folder, spoil_empty, spoil_rubbish])
@pytest.mark.parametrize("which", ["certificate", "key"])
def test_files_that_are_not_there_or_not_a_pair_are_named(files: Settings, which: str, spoil: Any):
    path = getattr(files.portal, which)
    spoil(Path(path))
    verdict = judge(files)
    assert path in verdict.fault
    assert verdict.ends == 0


def test_a_key_of_another_certificate_is_no_pair(files: Settings, authority: Authority):
    shutil.copy(authority.issue("another", NAME)[1], files.portal.key)
    assert "do not make a pair" in judge(files).fault


def test_a_key_with_a_password_is_a_fault_and_not_a_question(files: Settings, tmp_path: Path):
    key = Path(files.portal.key)
    words = f"openssl pkey -in {key} -aes256 -passout pass:secret -out {tmp_path / 'locked'}"
    subprocess.run(words.split(), check=True)
    (tmp_path / "locked").replace(key)
    assert judge(files).fault


def test_without_files_there_is_none():
    assert judge(Settings()) == Verdict("none is set")


def test_hosts_from_a_certificate_are_host_names_and_few(monkeypatch: pytest.MonkeyPatch):
    urls = [
        "http://a.example\nserver=6.6.6.6/x",
        "ldap://b.example/",
        "http://[::1]/",
        "http://c.example:81/",
    ]
    urls += ["http://crl.example/x.crl", "http://x/", "http://10.0.0.1/"]
    assert list(certificate._revocation_hosts([{"crlDistributionPoints": urls}])) == ["crl.example"]


def fault(followed: Certificate) -> str:
    assert followed.valid == (followed.verdict.fault == "")
    return followed.verdict.fault


class TestFollowing:
    """`Certificate`, as the portal ticks it."""

    def test_it_falls_back_and_comes_back_with_the_files(self, files: Settings, authority: Authority, good):
        followed = Certificate(files)
        assert not fault(followed)
        bad = authority.issue("bad", NAME, days=(-30, -2))
        for pair in (bad, None):
            if pair:
                put(files, pair)
            else:
                Path(files.portal.key).unlink()
            followed.refresh()
            assert fault(followed)
            put(files, good)
            followed.refresh()
            assert not fault(followed)

    def test_it_starts_without_files_and_serves_them_while_it_may_read_them(
        self, files: Settings, good, monkeypatch: pytest.MonkeyPatch
    ):
        Path(files.portal.certificate).unlink()
        followed = Certificate(files)
        assert fault(followed)
        put(files, good)
        followed.refresh()
        assert not fault(followed)
        with certificate_listener(followed.context) as port:
            assert judge_served(with_port(files, port)).fault == ""
            Path(files.portal.key).chmod(0)
            monkeypatch.setattr(certificate, "judge", lambda _: Verdict("may not be read"))
            followed.refresh()
            monkeypatch.undo()
            assert "may the portal's user read" in judge_served(with_port(files, port)).fault

    def test_files_that_stay_are_judged_again_by_the_hour_and_when_the_clock_jumps(
        self, files: Settings, monkeypatch: pytest.MonkeyPatch
    ):
        followed = Certificate(files)
        judged: list[int] = []

        def judge_again(_: Settings) -> Verdict:
            judged.append(1)
            return Verdict("", 0, 2e9, True)

        monkeypatch.setattr(certificate, "judge", judge_again)
        followed.refresh()
        assert judged == []
        now = time.time() + certificate.LOOK_AGAIN + 1
        monkeypatch.setattr("captive.certificate.time.time", lambda: now)
        followed.refresh()
        assert judged == [1]
        monkeypatch.setattr("captive.certificate.time.time", lambda: 100.0)  # 1970: the battery is empty
        followed.refresh()
        assert judged == [1, 1]

    def test_it_is_judged_anew_at_the_moment_it_ends(self, files: Settings, monkeypatch: pytest.MonkeyPatch):
        now = time.time()
        monkeypatch.setattr(certificate, "judge", lambda _: Verdict("", now - 9, now + 60, True))
        followed = Certificate(files)
        monkeypatch.setattr(certificate, "judge", lambda _: Verdict("expired", now - 9, now + 60, True))
        followed.refresh()
        assert not fault(followed)
        monkeypatch.setattr("captive.certificate.time.time", lambda: now + 60)
        followed.refresh()
        assert fault(followed)

    def test_the_log_is_told_once_a_day_that_the_end_is_near(
        self, files: Settings, authority: Authority, monkeypatch: pytest.MonkeyPatch
    ):
        # Counted from the morning: three and a half days from an evening are four from the morning before.
        morning = time.time() // 86_400 * 86_400 + 100
        since = (time.time() - morning) / 86_400
        put(files, authority.issue("soon", NAME, days=(-1, 3.5 - since)))
        now = morning
        monkeypatch.setattr("captive.certificate.time.time", lambda: now)
        with capture_logs() as said:
            followed = Certificate(files)
            for _ in range(5):
                followed.refresh()
            now += 86_400
            followed.refresh()
            Path(files.portal.key).unlink()
            followed.refresh()
            followed.refresh()
        assert [(each["log_level"], each.get("days")) for each in said] == [
            ("warning", 3),
            ("warning", 2),
            ("error", None),
        ]


def certificate_listener(context: ssl.SSLContext) -> Any:
    return _Listener(context)


class _Listener:
    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> int:
        self._thread.start()
        return int(self._socket.getsockname()[1])

    def __exit__(self, *_: object) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(5)

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            try:
                self._context.wrap_socket(connection, server_side=True).close()
            except OSError:
                connection.close()


def with_port(settings: Settings, port: int) -> Settings:
    """The portal of *settings* on loopback."""
    portal = msgspec.structs.replace(settings.portal, tls_port=port)
    network = msgspec.structs.replace(settings.networks[0], address4="127.0.0.1/8")
    return msgspec.structs.replace(settings, portal=portal, networks=(network,))


@pytest.fixture
def bare() -> Iterator[int]:
    with certificate_listener(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)) as port:
        yield port


def test_a_portal_that_may_not_read_the_key_is_found_out(files: Settings, bare: int):
    assert "may the portal's user read" in judge_served(with_port(files, bare)).fault
    assert judge_served(with_port(files, free_port())).fault == ""  # it is not there: the files decide
