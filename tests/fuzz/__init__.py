"""Fuzz targets: whatever bytes arrive, what is made of them is right. `make fuzz SECONDS=600` goes on for longer."""
