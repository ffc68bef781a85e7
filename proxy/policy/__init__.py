"""Policies: what a service's methods mean to the cache, from a YAML file to plain callables.

`document` reads YAML and keeps line and column, `form` declares the keys of a file, `descriptors` holds the services'
types, `expressions` checks CEL against them, and `compiling` turns the file into `compiled` objects. Nothing here
serves a call; `loading` and `reflection` do the I/O.
"""
