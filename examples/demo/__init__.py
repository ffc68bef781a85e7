"""`make demo`: the whole stack on this machine, and a tour that shows and checks what the proxy does."""
