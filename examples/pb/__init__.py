"""Generated from examples/protos/ by `make protos`; not edited by hand."""
