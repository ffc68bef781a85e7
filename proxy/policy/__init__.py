"""Policies: what a service's methods mean to the cache, from a YAML file to plain callables.

`document` reads YAML with its places, `form` is what a file may say, `descriptors` and `expressions` know what it is
about, `compiling` makes `compiled` objects of it. Nothing here serves a call; `loading` and `reflection` do the I/O.
"""
