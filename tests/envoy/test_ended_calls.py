"""The statuses of Envoy's own answers; test_transparent_retries has their effect on calls."""

from proxy.envoy.ended_calls import local_replies


def test_what_was_refused_twice_is_told_from_what_was_reset() -> None:
    mappers = local_replies(7)["mappers"]
    flags = [mapper["filter"]["response_flag_filter"]["flags"] for mapper in mappers]
    statuses = [mapper["headers_to_add"][0]["header"]["value"] for mapper in mappers]
    assert list(zip(flags, statuses, strict=True)) == [(["UO"], "8"), (["URX"], "14"), (["UR"], "13"), (["UPE"], "13")]
    assert "at most 7 calls at once" in str(mappers[0])
