"""What the package's metadata takes from where the project lives: its addresses, and links in its README.

All else is in pyproject.toml. The repository's address is `PROJECT_URL`, else the clone's `origin` if it is a web
address; without one the package has no addresses, and its README names files in place of links.
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
    """Of the repository, as a browser takes it; empty: nobody knows."""
    given = environ.get("PROJECT_URL") or _SSH.sub(r"https://\1/\2", origin)
    return given.removesuffix("/").removesuffix(".git") if given.startswith("https://") else ""


def readme(text: str, url: str, version: str) -> str:
    """With links that hold wherever it is shown; without an address they are the names of files."""
    if not url:
        return _LINK.sub(lambda link: link[1], text)
    return _LINK.sub(lambda link: f"[{link[1]}]({url}/blob/v{version}/{link[2]})", text)


def urls(url: str, version: str) -> dict[str, str]:
    """Of the project, by what they lead to; empty without an address."""
    pages = {"Documentation": "/docs", "Changelog": "/CHANGELOG.md", "Security": "/docs/security.md"}
    named = {name: f"{url}/blob/v{version}{path}" for name, path in pages.items()}
    return {"Repository": url, "Issues": f"{url}/issues", **named} if url else {}


def _origin() -> str:
    """Of the clone this is, or what the source distribution says that was made of one."""
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
    from setuptools import setup  # scripts/image asks for the address without it

    _version = VERSION[1] if VERSION else ""
    _url = address(os.environ, _origin())
    setup(
        long_description=readme((ROOT / "README.md").read_text(encoding="utf-8"), _url, _version),
        long_description_content_type="text/markdown",
        project_urls=urls(_url, _version),
    )
