"""`make demo`: the whole stack on this machine, and a tour that shows what the proxy does and checks that it did."""
