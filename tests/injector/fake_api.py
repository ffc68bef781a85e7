"""A fake API server: the Secret, the webhook configuration and the version, with the real one's conflicts.

It is strict where the keeper could go wrong: optimistic locking by resourceVersion, the strategic merge of webhooks by
name, the token, and only the verbs that the chart's RBAC allows.
"""

import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

SECRET = "/api/v1/namespaces/system/secrets/tls"
CONFIGURATION = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/injector"
_TOKEN = "the-token"

Hook = Callable[[str, str], Awaitable[None]]


def _status(code: int, message: str) -> web.Response:
    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": message}
    response = web.json_response(body, status=code)
    response.headers["Content-Type"] = "application/json"  # without a charset, like the real one
    return response


@dataclass
class FakeApi:
    """The fake's state. `before(method, path)` runs before each call, so that a test can force an interleaving."""

    version: str = "v1.35.2"
    secret: dict[str, str] | None = field(default_factory=dict)
    bundles: dict[str, str] = field(default_factory=lambda: {"pods.example": "", "namespaces.example": ""})
    secret_version: int = 1
    configuration_version: int = 1
    down: bool = False
    calls: list[str] = field(default_factory=list)
    before: Hook | None = None
    demands: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    configs: dict[str, dict[str, str]] = field(default_factory=dict)
    """The texts of ConfigMaps, by name, in every namespace."""
    events: list[dict[str, Any]] = field(default_factory=list)
    url: str = ""

    def bundle(self, name: str = "pods.example") -> bytes:
        return base64.b64decode(self.bundles[name])

    def stored(self, name: str) -> bytes:
        assert self.secret is not None
        return base64.b64decode(self.secret[name])

    def kubeconfig(self, directory: Path) -> Path:
        path = directory / "kubeconfig"
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "fake",
            "clusters": [{"name": "fake", "cluster": {"server": self.url}}],
            "users": [{"name": "fake", "user": {"token": _TOKEN}}],
            "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "fake"}}],
        }
        path.write_text(json.dumps(config))
        return path

    async def handle(self, request: web.Request) -> web.Response:
        self.calls.append(f"{request.method} {request.path}")
        if self.before:
            await self.before(request.method, request.path)
        if self.down:
            return _status(500, "etcdserver: request timed out")
        if request.headers.get("Authorization") != f"Bearer {_TOKEN}":
            return _status(401, "Unauthorized")
        routes = {
            ("GET", "/version"): self._get_version,
            ("GET", SECRET): self._get_secret,
            ("PUT", SECRET): self._put_secret,
            ("GET", CONFIGURATION): self._get_configuration,
            ("PATCH", CONFIGURATION): self._patch_configuration,
        }
        if request.path.rpartition("/")[2] in {"limitranges", "resourcequotas"}:
            return web.json_response({"items": self.demands.get(request.path.rpartition("/")[2], [])})
        if request.path.rpartition("/")[0].endswith("/configmaps"):
            return self._get_config(request.path.rpartition("/")[2])
        if request.method == "POST" and request.path.endswith("/events"):
            self.events.append(await request.json())
            return web.json_response(self.events[-1], status=201)
        handler = routes.get((request.method, request.path))
        return await handler(request) if handler else _status(403, f"{request.method} {request.path} is forbidden")

    async def _get_version(self, _request: web.Request) -> web.Response:
        return web.json_response({"gitVersion": self.version})

    def _get_config(self, name: str) -> web.Response:
        if name not in self.configs:
            return _status(404, f'configmaps "{name}" not found')
        return web.json_response({"data": self.configs[name]})

    async def _get_secret(self, _request: web.Request) -> web.Response:
        if self.secret is None:
            return _status(404, 'secrets "tls" not found')
        metadata = {"name": "tls", "namespace": "system", "resourceVersion": str(self.secret_version)}
        body: dict[str, Any] = {"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "metadata": metadata}
        return web.json_response({**body, **({"data": self.secret} if self.secret else {})})

    async def _put_secret(self, request: web.Request) -> web.Response:
        body = await request.json()
        if body["metadata"]["resourceVersion"] != str(self.secret_version):
            return _status(409, "the object has been modified")
        self.secret, self.secret_version = body["data"], self.secret_version + 1
        return await self._get_secret(request)

    async def _get_configuration(self, _request: web.Request) -> web.Response:
        webhooks = [
            {
                "name": name,
                "admissionReviewVersions": ["v1"],
                "sideEffects": "None",
                "clientConfig": {"service": {"name": "injector", "namespace": "system"}, "caBundle": bundle},
            }
            for name, bundle in self.bundles.items()
        ]
        metadata = {"name": "injector", "resourceVersion": str(self.configuration_version)}
        kind = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration"}
        return web.json_response({**kind, "metadata": metadata, "webhooks": webhooks})

    async def _patch_configuration(self, request: web.Request) -> web.Response:
        assert request.content_type == "application/strategic-merge-patch+json"
        body = await request.json()
        if body["metadata"]["resourceVersion"] != str(self.configuration_version):
            return _status(409, "the object has been modified")
        for change in body["webhooks"]:
            assert change["name"] in self.bundles
            self.bundles[change["name"]] = change["clientConfig"]["caBundle"]
        self.configuration_version += 1
        return await self._get_configuration(request)


@asynccontextmanager
async def running() -> AsyncIterator[FakeApi]:
    fake = FakeApi()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", fake.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    fake.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield fake
    finally:
        await runner.cleanup()
