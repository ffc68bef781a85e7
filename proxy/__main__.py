"""`python -m proxy` is the command `media-cache-proxy`."""

from proxy.cli import main

main()
