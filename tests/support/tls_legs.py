"""`leg`: a TLS leg from files, as made from settings."""

from pathlib import Path

from proxy.tls import Given, Leg
from tests.support.servers.certificates import Issued


def leg(ca: Path | None = None, own: Issued | None = None, *, server_name: str = "", server: bool = False) -> Leg:
    """Without `ca`, the system's CAs are used; without `own`, there is no own certificate."""
    cert, key = (str(own.cert), str(own.key)) if own is not None else ("", "")
    files = (Given("CA", str(ca or "")), Given("CERT", cert), Given("KEY", key))
    return Leg("tests", *files, server_name=server_name, server=server)
