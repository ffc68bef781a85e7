"""`Keys` maps requests to cache keys: a `RequestKey` names the Redis hash, and the field in it, for a request's answer.

The *identity* of a request consists of the method, a digest of what the policy says about it, the request's fields
and a digest of the caller's vary-metadata. Its parts are length-prefixed, so that `a:b`+`c` differs from `a`+`b:c`. It
is stored in the entry and compared on a hit; its hash names the field. Metadata enters only as SHA-256, so that Redis
never holds a caller's credentials.

Keys are remembered by the raw request bytes, so that a hit parses no protobuf and evaluates no expression.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b, sha256

from proxy.calls.call import Call, Metadata
from proxy.calls.reads import Read
from proxy.calls.tags import Description

_LARGEST_REQUEST = 4096  # bytes; the fields of a real request take a few dozen
_LARGEST_REMEMBERED = 256
_SHARE, _DIGEST = 4, 12
"""The bytes of a field's name that stand for the service, and those that stand for the request."""
_MEMO_ENTRIES = 8192  # of a few kB each at most; a caller that varies every request fills about 20 MB


@dataclass(frozen=True, slots=True)
class RequestKey:
    """Everything that the cache needs to know about a request."""

    tag: str
    hash_key: bytes
    """The Redis key of the tag's hash."""
    field: bytes
    """16 bytes that name this request within the hash; the first ones are those of `share_of` its service."""
    entry: bytes
    """The field of the hash that holds the stored answer."""
    identity: bytes
    """The identity, whose hash is the field's name; compared in full on a hit."""
    read: Read
    """What the policy says about the method."""
    vary: frozenset[str]
    """The metadata that tells callers apart."""
    bypass: bool
    """The request is forwarded; it is neither answered from the cache nor is its answer stored."""
    about: Description
    """How log lines describe the answer."""
    problem: str = ""
    """Why the policy could not determine the tag, so that the request is forwarded; otherwise empty."""


class Keys:
    """The keys of one namespace."""

    def __init__(self, namespace: str, vary: tuple[str, ...] = (), reads: Mapping[str, Read] | None = None) -> None:
        """`reads` by path. `vary` applies to those without a list of their own."""
        self._namespace = namespace.encode()
        self._reads = dict(reads or {})
        self._vary = {
            path: frozenset(vary if read.limits.vary is None else read.limits.vary)
            for path, read in self._reads.items()
        }
        self._dependent = any(read.dependent for read in self._reads.values())
        self._memo: dict[tuple[str, bytes, bytes], RequestKey | None] = {}

    def of_call(self, call: Call) -> RequestKey | None:
        """The key; None if the request must not be cached (undecodable, unknown fields, too large)."""
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
        """The Redis key of a tag's hash. It is the same in all versions, so that old and new processes invalidate the
        same hash.
        """
        parts = (part.encode("utf-8", "surrogatepass") for part in tag.rsplit("/", 1))
        return b"%b:model:%b" % (self._namespace, blake2b(length_prefixed(*parts), digest_size=16).hexdigest().encode())

    def remembered(self, method: str, body: bytes, metadata: Metadata) -> RequestKey | None:
        """The key that `of_call` has returned before; None if it has to be asked."""
        return self._memo.get((method, body, self._vary_digest(method, metadata) if metadata else b""))

    def forget(self) -> None:
        """Forgets all requests."""
        self._memo.clear()

    def vary_of(self, method: str) -> frozenset[str]:
        """The metadata that tells callers of a read apart."""
        return self._vary[method]

    def of_dependants(self, tag: str) -> bytes:
        """The Redis key, in the same Cluster slot as a tag's hash, that lists what depends on the tag."""
        return b"%b:dependants:{%b}" % (self._namespace, self.of_tag(tag))

    def of_alias(self, service: str, alias: str) -> bytes:
        """The Redis key that holds the tag for which an alias of this service stands."""
        name = length_prefixed(service.encode(), alias.encode("utf-8", "surrogatepass"))
        return b"%b:alias:%b" % (self._namespace, blake2b(name, digest_size=16).hexdigest().encode())

    @property
    def dependent(self) -> bool:
        """Whether any read's answers may have further tags."""
        return self._dependent

    def also(self, reads: Mapping[str, Read]) -> None:
        """Adds the reads of a new policy, which may be dependent too. Dependent keys stay so, since the previous policy
        may return and find what it stored.
        """
        self._dependent = self._dependent or any(read.dependent for read in reads.values())

    @property
    def tag_pattern(self) -> bytes:
        """A SCAN pattern for all hashes of the namespace. The namespace's alphabet holds no pattern characters."""
        return self._namespace + b":model:*"

    @property
    def probe_prefix(self) -> bytes:
        """The prefix of the keys that test whether a Redis accepts invalidations."""
        return self._namespace + b":probe:"

    def _vary_digest(self, method: str, metadata: Metadata) -> bytes:
        """A digest of the vary-metadata, in the order of arrival within each key; empty if there is none."""
        vary = self._vary[method]
        for key, _ in metadata:
            if key in vary:
                break
        else:  # almost always
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
    """The first bytes of all fields of a service, by which its answers are found in any hash. Two services with the
    same bytes are only flushed together.
    """
    return blake2b(service.encode(), digest_size=_SHARE).digest()


def length_prefixed(*parts: bytes) -> bytes:
    """Joins the parts so that different lists of parts never yield the same bytes."""
    return b"".join(b"%d:%b" % (len(part), part) for part in parts)


def split_prefixed(joined: bytes) -> list[bytes]:
    """The parts that `length_prefixed` joined; of truncated or foreign bytes, those that are complete."""
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
