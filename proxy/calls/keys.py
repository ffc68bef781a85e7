"""Requests to cache keys: `RequestKey` says which Redis hash and which field in it answer a request.

*Identity*: the method, a digest of what the policy says of it, the request's fields and a digest of the caller's
vary-metadata, length-prefixed so that `a:b`+`c` is not `a`+`b:c`. The identity is stored in the entry and compared on a
hit; its hash names the field. Metadata enters as SHA-256 only: Redis never holds a caller's credentials.

What the policy says is remembered per raw request bytes, so that a hit parses no protobuf and evaluates nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b, sha256

from proxy.calls.call import Call, Metadata
from proxy.calls.reads import Read
from proxy.calls.tags import Description

_LARGEST_REQUEST = 4096  # bytes; the fields of a real one take a few dozen
_LARGEST_REMEMBERED = 256
_SHARE, _DIGEST = 4, 12
"""Bytes of a field: of its service, of its request."""
_MEMO_ENTRIES = 8192  # of a few kB each at most: a caller who varies them all fills some 20 MB


@dataclass(frozen=True, slots=True)
class RequestKey:
    """Everything that the cache needs to know of one request."""

    tag: str
    hash_key: bytes
    """The Redis key of the tag's hash."""
    field: bytes
    """16 bytes that name this request within the hash; they begin with those of `share_of` its service."""
    entry: bytes
    """The hash's field that holds the stored answer."""
    identity: bytes
    """What the field's name is the hash of; compared in full on a hit."""
    read: Read
    """What the policy says of the method."""
    vary: frozenset[str]
    """The metadata that tells callers apart."""
    bypass: bool
    """It is forwarded, neither answered from the cache nor stored."""
    about: Description
    """What log lines call its answer."""
    problem: str = ""
    """Why the policy could not tell its tag, so that it is forwarded; empty: it could."""


class Keys:
    """Makes the keys of one namespace."""

    def __init__(self, namespace: str, vary: tuple[str, ...] = (), reads: Mapping[str, Read] | None = None) -> None:
        """`reads` by path; `vary` counts for those that say nothing of it themselves."""
        self._namespace = namespace.encode()
        self._reads = dict(reads or {})
        self._vary = {
            path: frozenset(vary if read.limits.vary is None else read.limits.vary)
            for path, read in self._reads.items()
        }
        self._memo: dict[tuple[str, bytes, bytes], RequestKey | None] = {}

    def of_call(self, call: Call) -> RequestKey | None:
        """The key; None when the request must not be cached (no such message, unknown fields, absurdly large)."""
        memo_key = (call.method, call.body, self._vary_digest(call.method, call.metadata))
        try:
            return self._memo[memo_key]
        except KeyError:
            pass
        size = len(call.body)
        if size > _LARGEST_REQUEST:
            return None
        key = self._parse(*memo_key)
        if size > _LARGEST_REMEMBERED:
            return key
        if len(self._memo) >= _MEMO_ENTRIES:
            self._memo.clear()
        self._memo[memo_key] = key
        return key

    def of_tag(self, tag: str) -> bytes:
        """The Redis key of a tag's hash. It never changes with versions: old and new processes invalidate alike."""
        parts = (part.encode("utf-8", "surrogatepass") for part in tag.rsplit("/", 1))
        return b"%b:model:%b" % (self._namespace, blake2b(length_prefixed(*parts), digest_size=16).hexdigest().encode())

    def remembered(self, method: str, body: bytes, metadata: Metadata) -> RequestKey | None:
        """The key as `of_call` made it before; None: ask that."""
        return self._memo.get((method, body, self._vary_digest(method, metadata) if metadata else b""))

    def forget(self) -> None:
        """Remembers no request any more."""
        self._memo.clear()

    def vary_of(self, method: str) -> frozenset[str]:
        """The metadata that tells callers of a read apart."""
        return self._vary[method]

    def of_dependants(self, tag: str) -> bytes:
        """The Redis key beside a tag's hash, in the same slot of a Cluster, for what depends on the tag."""
        return b"%b:dependants:{%b}" % (self._namespace, self.of_tag(tag))

    def of_alias(self, service: str, alias: str) -> bytes:
        """The Redis key that tells which tag an alias of this service is another name of."""
        name = length_prefixed(service.encode(), alias.encode("utf-8", "surrogatepass"))
        return b"%b:alias:%b" % (self._namespace, blake2b(name, digest_size=16).hexdigest().encode())

    @property
    def dependent(self) -> bool:
        """Whether any read's answers may have further tags."""
        return any(read.dependent for read in self._reads.values())

    @property
    def tag_pattern(self) -> bytes:
        """A SCAN pattern for all hashes of the namespace. The namespace's alphabet holds no pattern characters."""
        return self._namespace + b":model:*"

    @property
    def probe_prefix(self) -> bytes:
        """How the keys begin by which a Redis is asked whether it takes invalidations."""
        return self._namespace + b":probe:"

    def _vary_digest(self, method: str, metadata: Metadata) -> bytes:
        """A digest of the vary-metadata in order of arrival within each key; empty when the request has none of it."""
        vary = self._vary[method]
        for key, _ in metadata:
            if key in vary:
                break
        else:  # nearly always, at every hit
            return b""
        found = [pair for pair in metadata if pair[0] in vary]
        found.sort(key=lambda pair: pair[0])
        parts = (part for key, value in found for part in (key.encode(), _as_bytes(value)))
        return sha256(length_prefixed(*parts)).digest()

    def _parse(self, method: str, body: bytes, vary_digest: bytes) -> RequestKey | None:
        read = self._reads[method]
        asked = read.asked(body)
        if asked is None:
            return None
        identity = length_prefixed(method.encode(), read.digest, asked.canonical, vary_digest)
        field = share_of(read.service) + blake2b(identity, digest_size=_DIGEST).digest()
        return RequestKey(
            tag=asked.tag,
            hash_key=self.of_tag(asked.tag),
            field=field,
            entry=b"e" + field,
            identity=identity,
            read=read,
            vary=self._vary[method],
            bypass=asked.bypass,
            about=asked.about,
            problem=asked.problem,
        )


def share_of(service: str) -> bytes:
    """How the fields of a service's requests begin, so that what is stored of it is found in any hash. Two services
    whose fields begin alike are only flushed together.
    """
    return blake2b(service.encode(), digest_size=_SHARE).digest()


def length_prefixed(*parts: bytes) -> bytes:
    """The parts joined so that no two different lists of parts give the same bytes."""
    return b"".join(b"%d:%b" % (len(part), part) for part in parts)


def split_prefixed(joined: bytes) -> list[bytes]:
    """The parts that `length_prefixed` joined; of bytes that were cut, or are others', as many as are whole."""
    parts, at = [], 0
    while (colon := joined.find(b":", at, at + 8)) > at and joined[at:colon].isdigit():
        end = colon + 1 + int(joined[at:colon])
        if end > len(joined):
            break
        parts.append(joined[colon + 1 : end])
        at = end
    return parts


def _as_bytes(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode("utf-8", "surrogateescape")
