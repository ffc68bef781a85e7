"""The keys under which the gateway's own cache, which this one replaces, stores a tag's answers (OLD_CACHE_KEYS)."""

from proxy.calls.tags import Description
from proxy.policy.builtin.model import Model


def old_keys(tag: str, about: Description) -> tuple[bytes, ...]:
    """The keys with the type in lower case, as the gateway sends it, and capitalized, as most rows store it.

    Empty if `about` has no collection, so the tag is not a model.
    """
    if "collection" not in about.fields:
        return ()
    model, collection = Model(tag), about.fields["collection"]
    name = tag.rpartition("/")[2]
    avatar = (f"user:{name}:avatar",) if model.type == "user" else ()
    types = dict.fromkeys((model.type, model.type.capitalize()))
    lists = (f"media:{model_type}:{name}:{collection}" for model_type in types)
    return tuple(key.encode(errors="surrogatepass") for key in (*avatar, *lists))
