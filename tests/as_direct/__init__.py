"""The same client calls the same upstream, directly and through each transport; what both ends see is compared."""
