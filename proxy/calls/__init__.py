"""What a call and a stored answer are, for any service: a call, a tag, a key, an entry, its life. No I/O."""
