"""`Cluster`: the calls to the API server, for our Secret, our webhook configuration, namespaces, policies and Events.

It uses lightkube, the smallest maintained library that is asynchronous and re-reads the service account's token.
"""

import asyncio
import base64
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx2
from lightkube import AsyncClient, KubeConfig
from lightkube.config import client_adapter
from lightkube.config.kubeconfig import SingleConfig
from lightkube.core.exceptions import ApiError, ConfigError
from lightkube.resources.admissionregistration_v1 import MutatingWebhookConfiguration
from lightkube.resources.core_v1 import Secret
from lightkube.types import PatchType

from proxy.injector.versions import Version, parse_version

_TIMEOUT = httpx2.Timeout(5.0)
_ASIDE = 1.0
"""Seconds that an admission waits for an answer that it can do without."""
_WATCH_SECONDS = 300
_MANAGER = "media-cache-proxy"


class ClusterError(Exception):
    """The API server did not do what was asked; the message says what and why."""


class ConflictError(ClusterError):
    """Somebody else changed the object since it was read."""


@dataclass(frozen=True, slots=True)
class StoredSecret:
    """A Secret's data, and the resourceVersion that it was read at."""

    data: dict[str, bytes]
    version: str


@dataclass(frozen=True, slots=True)
class Demands:
    """A namespace's LimitRanges and ResourceQuotas, as the API server's JSON has them."""

    limit_ranges: list[dict[str, Any]] = field(default_factory=list)
    quotas: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Bundles:
    """The caBundle of each webhook of the configuration (PEM), and the resourceVersion that it was read at."""

    by_webhook: dict[str, bytes]
    version: str


class Cluster:
    """Calls the API server for objects that are named once, here. Every method raises ClusterError if a call fails."""

    def __init__(
        self, client: AsyncClient, plain: httpx2.AsyncClient, namespace: str, secret: str, webhooks: str
    ) -> None:
        self._client, self._plain = client, plain
        self._namespace, self._secret, self._webhooks = namespace, secret, webhooks

    async def version(self) -> Version:
        """The API server's version, which every service account may read."""
        with _told("GET /version"):
            answer = await self._plain.get("/version")
            return parse_version(str(answer.raise_for_status().json()["gitVersion"]))

    async def secret(self) -> StoredSecret:
        """The Secret that holds the certificate."""
        with _told(f"get Secret {self._namespace}/{self._secret}"):
            found = await self._client.get(Secret, self._secret, namespace=self._namespace)
            data = {name: base64.b64decode(text, validate=True) for name, text in (found.data or {}).items()}
            return StoredSecret(data, _version_of(found))

    async def store(self, secret: StoredSecret) -> None:
        """Replaces the Secret's data; raises ConflictError if it has changed since it was read."""
        with _told(f"update Secret {self._namespace}/{self._secret}"):
            found = await self._client.get(Secret, self._secret, namespace=self._namespace)
            if found.metadata is None or found.metadata.resourceVersion != secret.version:
                raise ConflictError(f"update Secret {self._namespace}/{self._secret}: it has changed")
            found.data = {name: base64.b64encode(value).decode() for name, value in secret.data.items()}
            await self._client.replace(found)

    async def bundles(self) -> Bundles:
        """The CAs by which the API server trusts our webhooks."""
        with _told(f"get MutatingWebhookConfiguration {self._webhooks}"):
            found = await self._client.get(MutatingWebhookConfiguration, self._webhooks)
            await self._disown(found)
            by_webhook = {each.name: _decoded(each.clientConfig.caBundle or "") for each in found.webhooks or ()}
            return Bundles(by_webhook, _version_of(found))

    async def trust(self, bundles: Bundles) -> None:
        """Sets the caBundle of the webhooks; raises ConflictError if the configuration changed since it was read."""
        webhooks = [
            {"name": name, "clientConfig": {"caBundle": base64.b64encode(pem).decode()}}
            for name, pem in bundles.by_webhook.items()
        ]
        # A strategic merge finds the webhooks by name and leaves their other fields alone.
        change = {"metadata": {"resourceVersion": bundles.version}, "webhooks": webhooks}
        with _told(f"patch MutatingWebhookConfiguration {self._webhooks}"):
            await self._client.patch(
                MutatingWebhookConfiguration, self._webhooks, change, patch_type=PatchType.STRATEGIC
            )

    async def _disown(self, found: MutatingWebhookConfiguration) -> None:
        """Removes us as an owner of fields of the configuration, since applying it with another caBundle (Helm 4,
        GitOps) would conflict with us. A configuration that we may not patch is left as it is.
        """
        metadata = found.metadata
        entries = (metadata.managedFields if metadata else None) or []
        kept = [each.to_dict() for each in entries if each.manager != _MANAGER]
        if metadata is None or len(kept) == len(entries):
            return
        change = {"metadata": {"resourceVersion": metadata.resourceVersion, "managedFields": kept or [{}]}}
        try:
            await self._client.patch(MutatingWebhookConfiguration, self._webhooks, change, patch_type=PatchType.MERGE)
        except httpx2.HTTPStatusError as error:
            if error.response.status_code not in {
                403,
                409,
            }:  # 403: we may not patch it; 409: it has changed, and the next check does it
                raise

    async def demands(self, namespace: str) -> Demands:
        """The LimitRanges and ResourceQuotas of a namespace, within 1 s."""
        base = f"/api/v1/namespaces/{namespace}"
        with _told(f"list LimitRanges and ResourceQuotas of {namespace}"):
            async with asyncio.timeout(_ASIDE):
                answers = await asyncio.gather(
                    self._plain.get(f"{base}/limitranges"), self._plain.get(f"{base}/resourcequotas")
                )
            limit_ranges, quotas = (list(each.raise_for_status().json()["items"]) for each in answers)
            return Demands(limit_ranges, quotas)

    async def config(self, namespace: str, name: str) -> dict[str, str]:
        """A ConfigMap's texts by key, within 1 s; raises ClusterError also if there is no such ConfigMap."""
        with _told(f"get ConfigMap {namespace}/{name}"):
            async with asyncio.timeout(_ASIDE):
                answer = await self._plain.get(f"/api/v1/namespaces/{namespace}/configmaps/{name}")
            found = answer.raise_for_status().json().get("data") or {}
            return {str(key): str(text) for key, text in found.items()}

    async def record(self, event: dict[str, Any]) -> None:
        """Creates an Event (as JSON) in the namespace that it names."""
        namespace = event["metadata"]["namespace"]
        with _told(f"create an Event in {namespace}"):
            (await self._plain.post(f"/api/v1/namespaces/{namespace}/events", json=event)).raise_for_status()

    async def configuration_changes(self) -> AsyncIterator[None]:
        """Yields at the beginning and whenever the webhook configuration changes, until the server ends the watch."""
        path = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"
        async for _ in self._watch(path, self._webhooks):
            yield

    async def secret_changes(self) -> AsyncIterator[None]:
        """Yields in the same way for the Secret."""
        async for _ in self._watch(f"/api/v1/namespaces/{self._namespace}/secrets", self._secret):
            yield

    async def _watch(self, path: str, name: str) -> AsyncIterator[str]:
        query = {"watch": "1", "fieldSelector": f"metadata.name={name}", "timeoutSeconds": str(_WATCH_SECONDS)}
        patient = httpx2.Timeout(5.0, read=_WATCH_SECONDS + 15.0)
        with _told(f"watch {path}/{name}"):
            async with self._plain.stream("GET", path, params=query, timeout=patient) as answer:
                if answer.is_error:
                    await answer.aread()
                answer.raise_for_status()
                async for line in answer.aiter_lines():
                    yield line


@asynccontextmanager
async def connect(namespace: str, secret: str, webhooks: str) -> AsyncIterator[Cluster]:
    """Connects with the pod's service account, or else with KUBECONFIG; raises ClusterError if there is neither."""
    with _told("find the API server"):
        found = KubeConfig.from_env().get()
        if not isinstance(found, SingleConfig):
            raise ClusterError("find the API server: KUBECONFIG has no current context")
        client = AsyncClient(found, timeout=_TIMEOUT, trust_env=False, lazy=False, field_manager=_MANAGER)
        plain = client_adapter.AsyncClient(found, client_adapter.ConnectionParams(timeout=_TIMEOUT, trust_env=False))
    try:
        yield Cluster(client, plain, namespace, secret, webhooks)
    finally:
        await plain.aclose()
        await client.close()


def _version_of(found: Secret | MutatingWebhookConfiguration) -> str:
    return (found.metadata.resourceVersion if found.metadata else None) or ""


def _decoded(text: str) -> bytes:
    """The bytes of a caBundle in base64; characters outside its alphabet are ignored."""
    return base64.b64decode(re.sub(r"[^A-Za-z0-9+/=]", "", text)) if text else b""


@contextmanager
def _told(what: str) -> Iterator[None]:
    """Turns every way in which lightkube and httpx2 report a failure into a ClusterError that says what was asked."""
    try:
        yield
    except httpx2.HTTPStatusError as error:
        kind = ConflictError if error.response.status_code == 409 else ClusterError
        said = error.status.message if isinstance(error, ApiError) else error.response.reason_phrase
        raise kind(f"{what}: {error.response.status_code} {said}") from error
    except (httpx2.HTTPError, ConfigError, OSError) as error:  # a TimeoutError is an OSError
        raise ClusterError(f"{what}: {error or type(error).__name__}") from error
    except (KeyError, ValueError, TypeError) as error:
        raise ClusterError(f"{what}: the answer is not understood ({error})") from error
