"""What can be set, declared once, and the only reader of the environment."""
