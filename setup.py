"""Adds to the package's metadata what depends on where the project is hosted: its URLs, and the links in its README.

Everything else is in pyproject.toml. The repository's address is `PROJECT_URL`, or the clone's `origin` if that is a
web address; without one the package has no URLs, and its README names files instead of linking to them.
"""

import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parent
VERSION = re.search(r'"(.+)"', (ROOT / "proxy" / "__init__.py").read_text(encoding="utf-8").partition("__version__")[2])
_LINK = re.compile(r"\[([^\]]+)\]\((?!\w+://|#)([^)\s]+)\)")
_SSH = re.compile(r"(?:ssh://)?git@([^:/]+)[:/](.+)")


def address(environ: Mapping[str, str], origin: str) -> str:
    """The repository's URL for a browser; empty if it is unknown."""
    given = environ.get("PROJECT_URL") or _SSH.sub(r"https://\1/\2", origin)
    return given.removesuffix("/").removesuffix(".git") if given.startswith("https://") else ""


def readme(text: str, url: str, version: str) -> str:
    """The README with absolute links; without a URL, with names of files instead of links."""
    if not url:
        return _LINK.sub(lambda link: link[1], text)
    return _LINK.sub(lambda link: f"[{link[1]}]({url}/blob/v{version}/{link[2]})", text)


def urls(url: str, version: str) -> dict[str, str]:
    """The project's URLs by what they lead to; empty without a URL."""
    pages = {"Documentation": "/docs", "Changelog": "/CHANGELOG.md", "Security": "/docs/security.md"}
    named = {name: f"{url}/blob/v{version}{path}" for name, path in pages.items()}
    return {"Repository": url, "Issues": f"{url}/issues", **named} if url else {}


def _origin() -> str:
    """The origin of this clone, or the one that a source distribution recorded."""
    if (told := ROOT / "PKG-INFO").exists():
        found = re.search("^Project-URL: Repository, (.+)$", told.read_text(encoding="utf-8"), re.MULTILINE)
        return found[1] if found else ""
    if not (ROOT / ".git").exists():
        return ""
    try:
        command = ["git", "-C", ROOT, "remote", "get-url", "origin"]
        asked = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)  # noqa: S603 -- fixed
    except OSError:
        return ""
    return asked.stdout.strip()


if __name__ == "__main__":
    from setuptools import setup  # scripts/image needs only the address, and has no setuptools

    _version = VERSION[1] if VERSION else ""
    _url = address(os.environ, _origin())
    setup(
        long_description=readme((ROOT / "README.md").read_text(encoding="utf-8"), _url, _version),
        long_description_content_type="text/markdown",
        project_urls=urls(_url, _version),
    )
