"""What the gateway's own cache, which this one replaces, calls the answers that a tag invalidates (OLD_CACHE_KEYS)."""

from proxy.calls.tags import Description
from proxy.policy.builtin.model import Model


def old_keys(tag: str, about: Description) -> tuple[bytes, ...]:
    """Keys in lower case as the gateway asks, and as rows are mostly stored; none for what is no model's."""
    if "collection" not in about.fields:
        return ()
    model, collection = Model(tag), about.fields["collection"]
    name = tag.rpartition("/")[2]
    avatar = (f"user:{name}:avatar",) if model.type == "user" else ()
    types = dict.fromkeys((model.type, model.type.capitalize()))
    lists = (f"media:{model_type}:{name}:{collection}" for model_type in types)
    return tuple(key.encode(errors="surrogatepass") for key in (*avatar, *lists))
