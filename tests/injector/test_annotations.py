"""Annotations: each is checked, with serve's own parser if it is one of serve's settings."""

import pytest

from proxy.injector import annotations
from proxy.injector.refusal import Refused
from proxy.injector.values import SecretKey


def parse(**given: object) -> annotations.Wishes:
    return annotations.parse({f"media-cache-proxy.io/{name.replace('_', '-')}": text for name, text in given.items()})


def test_other_peoples_annotations_and_our_own_status_are_ignored() -> None:
    assert annotations.parse({"example.com/x": "y", "media-cache-proxy.io/status": "{}"}) == annotations.Wishes()


def test_every_annotation_is_understood() -> None:
    wishes = parse(
        inject=" True ", containers="a, b,a", env="X", upstream="dns:///m:1", port="1024", probe_port="2000",
        admin_port="65535", mode="native", redis_secret="r", rabbitmq_secret="r:k", cache_ttl="90s", log_level="debug",
        cpu_request="0.5", cpu_limit="1e3", memory_request="1Mi", memory_limit="1Gi", allow_jobs="false",
    )  # fmt: skip
    assert (wishes.inject, wishes.containers, wishes.port) == ("true", ("a", "b"), 1024)
    assert (wishes.redis_secret, wishes.rabbitmq_secret) == (SecretKey("r", "redis-addr"), SecretKey("r", "k"))


def test_an_empty_address_turns_the_dependency_off() -> None:
    assert parse(redis_addr="", rabbitmq_addr="").redis_addr == ""


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"inject": "yes"}, "inject: 'yes' is not understood; accepted: true, false"),
        ({"inject": True}, "inject: True is not a text; put it in quotes"),
        (
            {"containers": "a,,b"},
            "containers: 'a,,b' is not understood; accepted: container names, separated by commas",
        ),
        ({"env": "1X"}, "env: '1X' is not understood; accepted: the name of an environment variable, like"),
        ({"upstream": "http://x"}, "upstream: 'http://x' is not understood; accepted: a gRPC target"),
        ({"upstream": ""}, "upstream: '' is not understood"),
        ({"port": "80"}, "port: '80' is not understood; accepted: a whole number from 1024 to 65535"),
        ({"probe_port": "65536"}, "probe-port: '65536'"),
        ({"admin_port": "x"}, "admin-port: 'x'"),
        ({"mode": "auto"}, "mode: 'auto' is not understood; accepted: native, container"),
        ({"redis_secret": "Not_A_Name"}, "redis-secret: 'Not_A_Name' is not understood; accepted: a Secret in the"),
        ({"rabbitmq_secret": "name:"}, "rabbitmq-secret: 'name:'"),
        ({"redis_addr": "nowhere"}, "redis-addr: '…' is not understood; accepted: without a password"),
        ({"rabbitmq_addr": "http://x"}, "rabbitmq-addr: '…'"),
        ({"cache_ttl": "soon"}, "cache-ttl: 'soon' is not understood; accepted: a number with ms, s, m"),
        ({"log_level": "loud"}, "log-level: 'loud' is not understood; accepted: debug, info, warning or warn, error"),
        ({"cpu_request": "0"}, "cpu-request: '0' is not understood; accepted: a Kubernetes quantity above 0"),
        ({"cpu_limit": "-1"}, "cpu-limit: '-1'"),
        ({"memory_request": "1 Gi"}, "memory-request: '1 Gi'"),
        ({"memory_limit": "1gb"}, "memory-limit: '1gb'"),
        ({"allow_jobs": "1"}, "allow-jobs: '1'"),
        ({"redis_secret": "r", "redis_addr": "r:1"}, "redis-addr: is given beside redis-secret; remove one of them"),
        ({"inject_": "x"}, "inject-: is unknown; did you mean inject?"),
        ({"qqqq": "x"}, "qqqq: is unknown; known: inject, containers, env, upstream, policy, port"),
    ],
)
def test_what_is_not_understood_is_refused_with_what_is(given: dict[str, object], message: str) -> None:
    with pytest.raises(Refused) as caught:
        parse(**given)
    assert caught.value.message.startswith(f"media-cache-proxy.io/{message}")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("redis_addr", "redis://:hunter2@redis:6379"),
        ("redis_addr", "redis://user:hunter2@redis:6379/0"),
        ("rabbitmq_addr", "amqp://app:hunter2@rabbit:5672/"),
        ("rabbitmq_addr", "amqp://guest:guest@a:1/,amqp://app:hunter2@b:1/"),
    ],
)
def test_a_password_in_a_plain_address_is_refused_and_not_repeated(name: str, text: str) -> None:
    with pytest.raises(Refused, match="without a password") as caught:
        parse(**{name: text})
    assert "hunter2" not in caught.value.message
