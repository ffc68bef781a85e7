"""How values change the rendered objects: overrides, autoscalers, ports, labels, names."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.chart.tools import CHART, environment, objects, one, run, template


def deployment(found: list[dict[str, Any]], name: str = "-injector") -> dict[str, Any]:
    spec = one(found, "Deployment", name)["spec"]
    assert isinstance(spec, dict)
    return spec


def entries(spec: dict[str, Any]) -> list[dict[str, Any]]:
    (container,) = spec["template"]["spec"]["containers"]
    return list(container["env"])


@pytest.mark.parametrize("component", ["injector", "standalone"])
def test_more_environment_goes_before_what_is_rendered(component: str) -> None:
    """Each name appears once, at its original place: the API server merges by name, and warns of duplicates."""
    source = {"fieldRef": {"fieldPath": "spec.nodeName"}}
    extra = [{"name": "PROBE_ADDR", "value": "0.0.0.0:1"}, {"name": "NEW", "valueFrom": source}]
    found = objects(
        template("--set", "standalone.enabled=true", "--set-json", f"{component}.extraEnv={json.dumps(extra)}")
    )
    given = entries(deployment(found, f"-{component}"))
    names = [entry["name"] for entry in given]
    assert len(names) == len(set(names))
    assert given[1] == extra[0]
    assert given[-1] == extra[1]


def test_a_sidecars_transport_may_be_said_twice() -> None:
    extra = json.dumps([{"name": "TRANSPORT", "value": "grpcio"}])
    found = objects(template("--set", "proxy.transport=envoy", "--set-json", f"sidecar.extraEnv={extra}"))
    assert json.loads(environment(found)["SIDECAR_EXTRA_ENV"]) == [{"name": "TRANSPORT", "value": "grpcio"}]


def test_replicas_are_left_to_an_autoscaler() -> None:
    values = "standalone.enabled=true,standalone.replicas=null,injector.replicas=null"
    found = objects(template("--set", values))
    assert "replicas" not in deployment(found)
    assert "replicas" not in deployment(found, "-standalone")
    assert deployment(objects(template("--set", "injector.replicas=0")))["replicas"] == 0


def test_the_nodes_network_and_other_ports() -> None:
    values = "injector.hostNetwork=true,injector.port=10250,injector.metricsPort=10251,networkPolicy.enabled=true"
    found = objects(template("--set", values))
    spec = deployment(found)
    assert spec["template"]["spec"]["hostNetwork"] is True
    assert spec["template"]["spec"]["dnsPolicy"] == "ClusterFirstWithHostNet"
    assert spec["strategy"]["rollingUpdate"] == {"maxUnavailable": 1, "maxSurge": 0}, "a port is free once"
    (container,) = spec["template"]["spec"]["containers"]
    assert [port["containerPort"] for port in container["ports"]] == [10250, 10251]
    given = environment(found)
    assert (given["WEBHOOK_LISTEN_ADDR"], given["PROBE_ADDR"]) == ("[::]:10250", "[::]:10251")
    ports = [rule["ports"][0]["port"] for rule in one(found, "NetworkPolicy")["spec"]["ingress"]]
    assert ports == [10250, 10251]


def test_every_listener_takes_both_ip_families() -> None:
    found = objects(template("--set", "standalone.enabled=true"))
    injector, standalone = environment(found), environment(found, "-standalone")
    listening = [injector["WEBHOOK_LISTEN_ADDR"], injector["PROBE_ADDR"], injector["SIDECAR_PROBE_HOST"]]
    listening += [standalone["LISTEN_ADDR"], standalone["PROBE_ADDR"]]
    assert all(each.startswith("[::]") for each in listening)


def test_common_labels_never_make_a_key_twice_nor_select() -> None:
    mine = {"app.kubernetes.io/part-of": "shop", "app.kubernetes.io/name": "x", "app.kubernetes.io/component": "y"}
    values = ["--set-json", f"commonLabels={json.dumps(mine)}", "--set-json", 'monitoring.labels={"helm.sh/chart":"z"}']
    found = objects(template(*values, "--set", "monitoring.prometheusRule.enabled=true"))
    labels = deployment(found)["template"]["metadata"]["labels"]
    assert labels["app.kubernetes.io/part-of"] == "shop"
    assert labels.items() >= deployment(found)["selector"]["matchLabels"].items()


def test_conditions_and_annotations_of_ones_own() -> None:
    canary = [{"key": "canary", "operator": "Exists"}]
    values = [f"injector.{name}={json.dumps(canary)}" for name in ("namespaceSelector", "objectSelector")]
    note = 'injector.webhookAnnotations={"admissions.enforcer/disabled":"true"}'
    arguments = [each for value in (*values, note) for each in ("--set-json", value)]
    found = one(objects(template(*arguments, "--set", "injector.tls.mode=certManager")), "MutatingWebhookConfiguration")
    assert found["metadata"]["annotations"].keys() == {"admissions.enforcer/disabled", "cert-manager.io/inject-ca-from"}
    for hook in found["webhooks"]:
        assert canary[0] in hook["namespaceSelector"]["matchExpressions"]
    for hook in found["webhooks"][:2]:  # the last one is for namespaces
        assert canary[0] in hook["objectSelector"]["matchExpressions"]


def test_long_names_do_not_become_one() -> None:
    names = set()
    for end in ("one", "two"):
        found = objects(template("--set", f"fullnameOverride={'long-' * 10}{end}"))
        name = one(found, "MutatingWebhookConfiguration")["metadata"]["name"]
        assert len(name) <= 63
        names |= {name, deployment(found)["template"]["spec"]["serviceAccountName"]}
    assert len(names) == 4


def test_each_mode_has_a_secret_of_its_own() -> None:
    ours = environment(objects(template()))["TLS_SECRET"]
    theirs = one(objects(template("--set", "injector.tls.mode=certManager")), "Certificate")["spec"]["secretName"]
    assert ours != theirs


def test_the_pods_of_helm_test_pass_quotas_and_the_restricted_level() -> None:
    for each in objects(template()):
        if each["kind"] == "Pod":
            (container,) = each["spec"]["containers"]
            limits, requests = container["resources"]["limits"], container["resources"]["requests"]
            assert limits.keys() == requests.keys() == {"cpu", "memory"}
            assert "hook-failed" in each["metadata"]["annotations"]["helm.sh/hook-delete-policy"]


@pytest.mark.parametrize("digest", ["", f"sha256:{'0' * 64}"])
def test_envoy_is_another_image_and_one_more_variable_for_sidecars_and_standalone_alike(digest: str) -> None:
    values = f"standalone.enabled=true,proxy.transport=envoy,image.tag=v2,image.digest={digest}"
    found = objects(template("--set", values))
    injector, standalone = environment(found, "-injector"), environment(found, "-standalone")
    assert json.loads(injector["SIDECAR_EXTRA_ENV"]) == [{"name": "TRANSPORT", "value": "envoy"}]
    assert standalone["TRANSPORT"] == "envoy"
    container = one(found, "Deployment", "-standalone")["spec"]["template"]["spec"]["containers"][0]
    expected = f"media-cache-proxy@{digest}" if digest else "media-cache-proxy:v2-envoy"
    assert container["image"] == injector["SIDECAR_IMAGE"] == expected


def test_extra_environment_may_choose_envoy_and_gets_its_image() -> None:
    extra = json.dumps([{"name": "TRANSPORT", "value": "envoy"}])
    values = [each for name in ("sidecar", "standalone") for each in ("--set-json", f"{name}.extraEnv={extra}")]
    found = objects(template("--set", "standalone.enabled=true,image.tag=v2", *values))
    assert environment(found)["SIDECAR_IMAGE"] == "media-cache-proxy:v2-envoy"
    (container,) = deployment(found, "-standalone")["template"]["spec"]["containers"]
    assert container["image"] == "media-cache-proxy:v2-envoy"


def test_no_excluded_namespaces() -> None:
    """An API server does not accept a condition without values."""
    found = one(objects(template("--set-json", "injector.excludedNamespaces=[]")), "MutatingWebhookConfiguration")
    for hook in found["webhooks"]:
        assert all(each["values"] for each in hook["namespaceSelector"]["matchExpressions"])


def test_a_spread_may_have_a_selector_of_its_own() -> None:
    mine = {"matchLabels": {"app": "x"}}
    spread = [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule", "labelSelector": mine}]
    found = deployment(objects(template("--set-json", f"injector.topologySpread={json.dumps(spread)}")))
    assert found["template"]["spec"]["topologySpreadConstraints"] == spread


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("injector.port=9464", "injector.port and injector.metricsPort: are both 9464"),
        ("injector.tls.existingSecret=mine", "mode"),
        ("injector.tls.certManager.issuerRef.name=mine", "mode"),
    ],
)
def test_values_that_contradict_each_other_are_refused(value: str, said: str) -> None:
    done = run("helm", "template", "mcp", CHART, "--kube-version", "1.37", "--set", value)
    assert done.returncode != 0
    assert said in done.stderr


LISTENERS = [
    ("injector", "WEBHOOK_LISTEN_ADDR", "https"),
    ("injector", "PROBE_ADDR", "metrics"),
    ("standalone", "LISTEN_ADDR", "grpc"),
    ("standalone", "PROBE_ADDR", "metrics"),
]


@pytest.mark.parametrize(("component", "variable", "port"), LISTENERS)
@pytest.mark.parametrize("address", ["[::]:8123", "0.0.0.0:8123"])
def test_services_probes_and_policies_follow_a_listener_that_is_moved(
    component: str, variable: str, port: str, address: str
) -> None:
    """Otherwise nothing would listen there, and the API server would silently skip the webhook."""
    extra = json.dumps([{"name": variable, "value": address}])
    more = [
        "--set",
        "standalone.enabled=true,networkPolicy.enabled=true",
        "--set-json",
        f"{component}.extraEnv={extra}",
    ]
    found = objects(template(*more))
    (container,) = one(found, "Deployment", f"-{component}")["spec"]["template"]["spec"]["containers"]
    assert {each["name"]: each["containerPort"] for each in container["ports"]}[port] == 8123
    rules = one(found, "NetworkPolicy", f"-{component}")["spec"]["ingress"]
    assert 8123 in [each["port"] for rule in rules for each in rule["ports"]]


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("127.0.0.1:8123", 'is reached by nobody else; write it as "[::]:8123"'),
        ("[::1]:8123", "is reached by nobody else"),
        ("localhost:8123", "is reached by nobody else"),
        ("8123", 'has no port that a Service can have; write it as "[::]:9000"'),
    ],
)
@pytest.mark.parametrize(("component", "variable"), [each[:2] for each in LISTENERS])
def test_a_listener_that_nobody_reaches_is_refused(component: str, variable: str, address: str, said: str) -> None:
    extra = json.dumps([{"name": variable, "value": address}])
    more = ["--set", "standalone.enabled=true", "--set-json", f"{component}.extraEnv={extra}"]
    done = run("helm", "template", "mcp", CHART, *more)
    assert done.returncode != 0
    assert f'{component}.extraEnv: {variable}: "{address}" {said}' in done.stderr


def test_a_section_of_null_is_none() -> None:
    """There are then no limits, the webhook's own requests, and no Secret."""
    given = environment(objects(template("--set", "sidecar.resources=null,sidecar.redis.secret=null")))
    assert [given[f"SIDECAR_{each}"] for each in ("CPU_REQUEST", "MEMORY_LIMIT", "REDIS_SECRET")] == ["", "", ""]


NEWER = {
    "injector": [
        *("namespaceSelector", "objectSelector", "webhookAnnotations", "namespaceRules", "events"),
        *("port", "metricsPort", "hostNetwork"),
    ],
    "tests": ["resources"],
    "": ["policies"],
}
"""The values that 0.1.0 did not have."""


def test_an_upgrade_may_reuse_the_values_of_an_older_release(tmp_path: Path) -> None:
    """`--reuse-values` also reuses that release's defaults, so newer values are missing, as they are in this chart."""
    chart = tmp_path / "chart"
    shutil.copytree(CHART, chart)
    yaml = YAML()
    values = yaml.load(chart / "values.yaml")
    for section, keys in NEWER.items():
        for key in keys:
            del (values[section] if section else values)[key]
    yaml.dump(values, chart / "values.yaml")
    more = ["--set", "standalone.enabled=true,networkPolicy.enabled=true"]
    older, newer = (objects(template(*more, "--skip-tests", chart=each)) for each in (chart, CHART))
    assert older == newer
    assert template(*more, chart=chart)
