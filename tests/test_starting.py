"""proxy.starting: what a process that serves does not load."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.servers.certificates import Authority

_LATER = (
    *("aiohttp", "aio_pika", "opentelemetry.sdk", "cel_expr_python", "yaml"),
    *("redis.client", "redis.cluster", "redis.commands"),
)


@pytest.mark.parametrize("module", ["proxy.envoy.lifespan", "proxy.app"])
def test_what_only_some_settings_need_is_not_loaded(module: str) -> None:
    _run(
        f"from proxy import starting; starting.load({module!r}); "
        "from proxy.policy.serving import served_policy; from proxy.policy.watched import Watched; "
        "constants = {'CACHE_BYPASS_PER_PAGE': 100}; "
        "served_policy('', constants=constants, default_upstream='', connect=None, watched=Watched()); "
        f"found = [name for name in {_LATER!r} if name in sys.modules]; assert not found, found"
    )


def test_what_was_left_out_at_the_start_can_be_loaded_later() -> None:
    _run("from proxy import starting; starting.load('proxy.app'); import opentelemetry.sdk.metrics")


def test_who_asks_for_what_a_package_itself_offers_has_the_whole_package() -> None:
    _run(
        "from proxy import starting; starting.load('proxy.app'); import redis; "
        "assert 'redis.client' not in sys.modules; "
        "from redis.exceptions import RedisError; from redis.asyncio.connection import Connection; "
        "import redis.asyncio; assert issubclass(redis.RedisError, Exception) and redis.RedisError is RedisError; "
        "from redis.asyncio import Redis; "
        "assert redis.asyncio.Redis is Redis and redis.asyncio.Connection is Connection"
    )


@pytest.mark.parametrize("module", ["proxy.store.redis_cluster", "proxy.store.redis_sentinels"])
def test_clusters_and_sentinels_find_their_part_of_a_package_that_was_not_loaded_whole(module: str) -> None:
    _run(f"from proxy import starting; starting.load('proxy.app'); import {module}")


def test_what_serves_http_loads_no_certificate_authorities() -> None:
    _run(
        "from proxy import starting; starting.load('proxy.app')\n"
        "with starting.without_authorities(): import proxy.operating\n"
        "from aiohttp import connector\n"
        "contexts = (connector._SSL_CONTEXT_VERIFIED, connector._SSL_CONTEXT_UNVERIFIED)\n"
        "assert [each.cert_store_stats()['x509_ca'] for each in contexts] == [0, 0]"
    )


def test_other_threads_load_theirs_all_the_while(authority: Authority, tmp_path: Path) -> None:
    _run(
        "import ssl; from concurrent.futures import ThreadPoolExecutor; from proxy import starting\n"
        "def known():\n"
        "    return len(ssl.create_default_context().get_ca_certs())\n"
        "with starting.without_authorities(), ThreadPoolExecutor(1) as other:\n"
        "    assert (other.submit(known).result(), known()) == (1, 0)\n"
        "assert known() == 1",
        SSL_CERT_FILE=str(authority.ca),
        SSL_CERT_DIR=str(tmp_path / "none"),
    )


def _run(program: str, **env: str) -> None:
    command = [sys.executable, "-c", f"import sys; {program}"]
    result = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **env})
    assert result.returncode == 0, result.stderr
