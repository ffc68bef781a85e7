"""The chart's `standalone.tls`: the proxy accepts what it mounts and sets."""

from pathlib import Path

from proxy.settings.config import Settings, declared, variable
from proxy.tls import Tls
from tests.chart.tools import environment, objects, one, template
from tests.support.servers.certificates import Authority, Issued, swap


def test_the_standalone_proxy_starts_with_tls_as_the_values_say(tmp_path: Path, authority: Authority) -> None:
    """The Deployment's variables are valid settings together, with the Secret's files where it mounts them."""
    addresses = "standalone.redis.addr=rediss://redis,standalone.rabbitmq.addr=amqps://rabbit"
    secret = "standalone.enabled=true,standalone.tls.secret=own-tls"
    legs = "standalone.tls.legs={listen,clients,upstream,redis,rabbitmq}"
    found = objects(template("--set", addresses, "--set", secret, "--set", legs))
    pod = one(found, "Deployment", "-standalone")["spec"]["template"]["spec"]
    (mount,) = pod["containers"][0]["volumeMounts"]
    assert pod["volumes"] == [{"name": mount["name"], "secret": {"secretName": "own-tls"}}]
    authority.issue("proxy").write_to(Issued(tmp_path / "tls.crt", tmp_path / "tls.key"))
    swap(authority.ca, tmp_path / "ca.crt")
    kinds = {variable(each): each for each in declared()}
    given = {
        kinds[name].name: kinds[name].metadata["type"].parse(value.replace(mount["mountPath"], str(tmp_path)))
        for name, value in environment(found, "-standalone").items()
    }
    tls = Tls.load(Settings(**given))
    ca, cert, key = (tmp_path.joinpath(name).read_bytes() for name in ("ca.crt", "tls.crt", "tls.key"))
    assert [leg and leg.pem for leg in (tls.listen, tls.upstream, tls.redis, tls.rabbitmq)] == [(ca, cert, key)] * 4
    (port, _) = one(found, "Service", "-standalone")["spec"]["ports"]
    assert port["appProtocol"] == "https"
