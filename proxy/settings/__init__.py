"""The settings: declared once, and the only place that reads them from the environment."""
