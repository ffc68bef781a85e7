"""What a call and a stored answer are: messages on the wire, the model asked for, its key, the entry, its life."""
