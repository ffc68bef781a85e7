"""Request bytes to cache key: `RequestKey` says which Redis hash and which field in it answer a request.

*Identity*: the raw fields of the request and a digest of the caller's vary-metadata, length-prefixed so that `a:b`+`c`
is not `a`+`b:c`. The identity is stored in the entry and compared on a hit; its hash names the field. Metadata enters
as SHA-256 only: Redis never holds a caller's credentials.

Parsing is remembered per raw request bytes, so that a hit parses no protobuf.
"""

from dataclasses import dataclass
from hashlib import blake2b, sha256

from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet

from proxy.media.calls import Metadata
from proxy.media.model import Model, is_plain
from proxy.pb.media_pb2 import GetFilesByModelRequest

_LARGEST_REQUEST = 4096  # bytes; the fields of a real one take a few dozen
_LARGEST_REMEMBERED = 256
_MEMO_ENTRIES = 8192  # of a few kB each at most: a caller who varies them all fills some 20 MB


@dataclass(frozen=True, slots=True)
class RequestKey:
    """Everything that the cache needs to know of one GetFilesByModel request."""

    model: Model
    hash_key: bytes
    """The Redis key of the model's hash."""
    field: bytes
    """16 bytes that name this request within the hash."""
    entry: bytes
    """The hash's field that holds the stored answer."""
    identity: bytes
    """What the field's name is the hash of; compared in full on a hit."""
    model_type: str
    """As the caller spelled it."""
    collection: str
    per_page: int


class Keys:
    """Makes the keys of one namespace."""

    def __init__(self, namespace: str, vary: tuple[str, ...]) -> None:
        self._namespace = namespace.encode()
        self._vary = frozenset(vary)
        self._memo: dict[tuple[bytes, bytes], RequestKey | None] = {}

    def of_request(self, body: bytes, metadata: Metadata) -> RequestKey | None:
        """The key; None when the request must not be cached (no such message, unknown fields, absurdly large, a
        type of which not all make the same).
        """
        memo_key = (body, self._vary_digest(metadata))
        try:
            return self._memo[memo_key]
        except KeyError:
            pass
        if len(body) > _LARGEST_REQUEST:
            return None
        key = self._parse(*memo_key)
        if len(body) > _LARGEST_REMEMBERED:
            return key
        if len(self._memo) >= _MEMO_ENTRIES:
            self._memo.clear()
        self._memo[memo_key] = key
        return key

    def remembered(self, body: bytes, metadata: Metadata) -> RequestKey | None:
        """The key as `of_request` made it before; None: ask that."""
        return self._memo.get((body, self._vary_digest(metadata) if metadata else b""))

    @property
    def vary(self) -> frozenset[str]:
        """The metadata that tells callers apart."""
        return self._vary

    def of_model(self, model: Model) -> bytes:
        """The Redis key of a model's hash. It never changes with versions: old and new processes invalidate alike."""
        name = length_prefixed(model.type.encode("utf-8", "surrogatepass"), b"%d" % model.id)
        return b"%b:model:%b" % (self._namespace, blake2b(name, digest_size=16).hexdigest().encode())

    def of_media_id(self, media_id: int) -> bytes:
        """The Redis key of the id index: which model a file belongs to."""
        return b"%b:id:%d" % (self._namespace, media_id)

    @property
    def model_pattern(self) -> bytes:
        """A SCAN pattern for all hashes of the namespace. The namespace's alphabet holds no pattern characters."""
        return self._namespace + b":model:*"

    @property
    def probe_prefix(self) -> bytes:
        """How the keys begin by which a Redis is asked whether it takes invalidations."""
        return self._namespace + b":probe:"

    def _vary_digest(self, metadata: Metadata) -> bytes:
        """A digest of the vary-metadata in order of arrival within each key; empty when the request has none of it."""
        for key, _ in metadata:
            if key in self._vary:
                break
        else:  # nearly always, at every hit
            return b""
        found = [pair for pair in metadata if pair[0] in self._vary]
        found.sort(key=lambda pair: pair[0])
        parts = (part for key, value in found for part in (key.encode(), _as_bytes(value)))
        return sha256(length_prefixed(*parts)).digest()

    def _parse(self, body: bytes, vary_digest: bytes) -> RequestKey | None:
        request = GetFilesByModelRequest()
        try:
            request.ParseFromString(body)
        except DecodeError:
            return None
        if len(UnknownFieldSet(request)) or not is_plain(request.model_type):
            return None
        identity = length_prefixed(
            request.model_type.encode(),
            b"%d" % request.model_id,
            request.collection_name.encode(),
            b"%d" % request.page,
            b"%d" % request.per_page,
            vary_digest,
        )
        model = Model.of(request.model_type, request.model_id)
        field = blake2b(identity, digest_size=16).digest()
        return RequestKey(
            model=model,
            hash_key=self.of_model(model),
            field=field,
            entry=b"e" + field,
            identity=identity,
            model_type=request.model_type,
            collection=request.collection_name,
            per_page=request.per_page,
        )


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
