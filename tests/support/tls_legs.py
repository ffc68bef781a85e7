"""`leg`: what settings would make of these files."""

from pathlib import Path

from proxy.tls import Given, Leg
from tests.support.servers.certificates import Issued


def leg(ca: Path | None = None, own: Issued | None = None, *, server_name: str = "", server: bool = False) -> Leg:
    """Without `ca` the system's, without `own` no certificate of ours."""
    cert, key = (str(own.cert), str(own.key)) if own is not None else ("", "")
    files = (Given("CA", str(ca or "")), Given("CERT", cert), Given("KEY", key))
    return Leg("tests", *files, server_name=server_name, server=server)
