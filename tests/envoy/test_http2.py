"""HTTP/2 windows are as large as the data that may be held back."""

from proxy.envoy.http2 import as_client, http2


def test_the_connections_window_is_that_of_all_its_calls_and_one_more() -> None:
    options = http2(7)
    assert options["initial_connection_window_size"] == 16 * options["initial_stream_window_size"]
    assert http2(1_000_000)["initial_connection_window_size"] == (1 << 31) - 1


def test_a_connection_upstream_that_is_not_used_is_closed() -> None:
    [options] = as_client(3, idle="10s")["typed_extension_protocol_options"].values()
    assert options["common_http_protocol_options"]["idle_timeout"] == "10s"
    assert options["explicit_http_config"]["http2_protocol_options"]["max_concurrent_streams"] == 3


def test_values_above_what_the_cheaper_codec_reads_have_the_other() -> None:
    assert "use_oghttp2_codec" not in http2(1, 64 << 10)
    assert http2(1, (64 << 10) + 1)["use_oghttp2_codec"]
    [options] = as_client(1, metadata=1 << 20)["typed_extension_protocol_options"].values()
    assert options["explicit_http_config"]["http2_protocol_options"]["use_oghttp2_codec"]
