"""The admin page: one HTML document that contains its style and scripts, so that it loads nothing else.

Its parts are in `assets/`. Its Content-Security-Policy allows exactly these scripts, and requests to this server only.
"""

from base64 import b64encode
from hashlib import sha256
from importlib.resources import files

_ASSETS = files("proxy.admin") / "assets"
_SCRIPTS = ("plot.js", "view.js", "answers.js", "page.js")


def _asset(name: str) -> str:
    return (_ASSETS / name).read_text(encoding="utf-8")


def _source(text: str) -> str:
    """A source expression that allows exactly this text (Content Security Policy Level 3, 2.3.1)."""
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"


_STYLE = "\n" + _asset("page.css")
_SCRIPT = "\n" + "\n".join(map(_asset, _SCRIPTS))

PAGE = _asset("page.html").replace("/* style */", _STYLE).replace("/* script */", _SCRIPT).encode()
"""The document, in UTF-8."""

POLICY = (
    f"default-src 'none'; style-src {_source(_STYLE)}; script-src {_source(_SCRIPT)}; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The Content-Security-Policy of `PAGE`."""
