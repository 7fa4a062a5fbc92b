"""Whether guests are served as they should be: a line for each part, for people and for monitoring."""

from typing import NamedTuple

from captive.metrics.sources import Sources


class Part(NamedTuple):
    """One part: its *name*, what is *wrong* with it ("": nothing)."""

    name: str
    wrong: str


def look(sources: Sources) -> list[Part]:
    """Every part that guests need. Guests go online without stores and without a certificate, but not well."""
    gate, certificate = sources.gate, sources.certificate
    return [
        Part("crm store", "" if sources.is_usable("crm") else "answers cannot be kept; see wificrm doctor"),
        Part("access store", "" if sources.is_usable("access") else "grants are in memory only"),
        *([] if gate is None else [Part("gate", "" if gate.reachable else "it does not answer")]),
        Part("first page", "" if sources.has_pages() else "not rendered yet"),
        *(
            [Part("certificate", "" if certificate.valid else f"plain http: {certificate.verdict.fault}")]
            if sources.settings.tls
            else []
        ),
    ]


def is_ready(parts: list[Part]) -> bool:
    """Whether nothing is wrong."""
    return not any(part.wrong for part in parts)


def as_text(parts: list[Part]) -> str:
    """A line each."""
    return "".join(f"{part.name}: {part.wrong or 'ok'}\n" for part in parts)
