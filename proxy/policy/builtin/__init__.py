"""The built-in policy, for `media.MediaService`, as a file and as the same in Python. It is used if POLICY is empty."""
