"""The built-in policy: `media.yaml` says what it is, `media` is the same without an interpreter."""
