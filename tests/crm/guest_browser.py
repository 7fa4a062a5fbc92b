"""A portal that serves one page and writes down what it is asked, and Chromium as a phone in front of it."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

from playwright.sync_api import Browser, BrowserContext, Page

from captive.portal.guest_web import guest_headers, guest_style
from tests.crm.guest_pages import ACCENT

CHROMIUM = "/usr/bin/chromium"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
DOUBLE = "--blink-settings=defaultFontSize=32"
"""The letters twice as large, as the owner of a phone sets them."""

PHONE = {"width": 360, "height": 740}
NARROW = {"width": 320, "height": 568}
_CONTROLS = """const controls = [...document.querySelectorAll('a[href], button, summary, textarea')].filter(each => {
  const box = each.getBoundingClientRect();
  return box.width && box.height && each.checkVisibility({visibilityProperty: true});
});"""

TARGETS = f"""() => {{
  {_CONTROLS}
  // A link inside a sentence of the centre's own text is as high as its line.
  return controls.filter(each => !each.closest('.text') || each.matches('.line')).map(each => {{
    const box = each.getBoundingClientRect(), least = each.matches('.pick:not(.none), .big') ? 64 : 48;
    return [each.innerText, box.width, box.height, least];
  }});
}}"""
"""[what, width, height, least height]: of everything that can be tapped."""

RINGS = f"""() => {{
  {_CONTROLS}
  return controls.map(each => {{
    each.focus();
    return [each.innerText, getComputedStyle(each).boxShadow];
  }});
}}"""
"""[what, its shadow while it has the focus]: of everything that can be tapped."""

CONTRASTS = """() => {
  const numbers = text => text.match(/[\\d.]+/g).map(Number);
  const light = text => {
    const [r, g, b] = numbers(text).map(c => c / 255).map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (one, other) => {
    const [dark, bright] = [light(one), light(other)].sort((a, b) => a - b);
    return (bright + 0.05) / (dark + 0.05);
  };
  const ground = element => {
    for (; element; element = element.parentElement) {
      const colour = getComputedStyle(element).backgroundColor;
      if (numbers(colour)[3] !== 0) return colour;
    }
    return 'rgb(255, 255, 255)';
  };
  const shown = element => element.checkVisibility() && !element.closest('.unseen');
  const style = element => getComputedStyle(element);
  const found = [];
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const text = texts.currentNode.data.trim(), element = texts.currentNode.parentElement;
    if (text && shown(element)) found.push(['text', text, contrast(style(element).color, ground(element))]);
  }
  for (const each of document.querySelectorAll('button, textarea, .big, .tongues a'))
    if (shown(each))
      found.push(['edge', each.outerHTML, contrast(style(each).borderTopColor, ground(each.parentElement))]);
  for (const each of document.querySelectorAll('.pic'))
    if (shown(each)) found.push(['line', each.parentElement.outerHTML, contrast(style(each).stroke, ground(each))]);
  return found.map(([kind, what, ratio]) => [kind, what.slice(0, 60), ratio]);
}"""
"""[kind, what, contrast]: of all text, of the edges of what can be tapped, and of drawn lines."""

OUT_OF_ROOM = """() => {
  const wide = document.documentElement.scrollWidth > innerWidth ? ['the page'] : [];
  const cut = [...document.querySelectorAll('main *, header *, nav *')].filter(each =>
    each.scrollWidth > each.clientWidth + 1 && each.clientWidth && !each.closest('svg, .unseen, textarea'));
  return wide.concat(cut.map(each => each.outerHTML.slice(0, 80)));
}"""
"""What is wider than the room it has."""


class Portal:
    """A web server on loopback that serves one page."""

    def __init__(self) -> None:
        self.page = ""
        self.asked: list[str] = []
        self.forms: list[tuple[str, dict[str, list[str]]]] = []
        portal, headers = self, guest_headers(guest_style(ACCENT))

        class Answer(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                portal.asked.append(self.path)
                self._answer()

            def do_POST(self) -> None:
                form = self.rfile.read(int(self.headers["Content-Length"])).decode()
                portal.forms.append((self.path, parse_qs(form, keep_blank_values=True)))
                self._answer()

            def _answer(self) -> None:
                self.send_response(200)
                for name, value in {**headers, "Content-Type": "text/html; charset=utf-8"}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(portal.page.encode())

            def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
                """Say nothing on the terminal."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self.url = f"http://127.0.0.1:{self._server.server_port}/"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def phone(browser: Browser, **options: Any) -> BrowserContext:
    """A phone of the usual size."""
    return browser.new_context(**{"viewport": PHONE, "device_scale_factor": 2, "has_touch": True, **options})


def show(page: Page, html: str) -> None:
    """Put *html* into *page*, with everything unfolded."""
    page.set_content(html)
    page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
