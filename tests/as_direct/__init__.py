"""The same client at the same upstream, once direct and once through each transport: what both see is compared."""
