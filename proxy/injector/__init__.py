"""Kubernetes: adds the proxy to pods as a sidecar and points their containers at it.

`patch.py` decides (a pure function); `webhook.py` answers the API server with it, `manifests.py` applies it to files.
"""
