"""The policy of `media.MediaService`: what counts where POLICY names no file, and the same in Python."""
