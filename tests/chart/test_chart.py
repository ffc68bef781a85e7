"""The chart, rendered by a real Helm: every mode is valid, reproducible, and as the webhook needs it."""

import json
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import cel
import kubernetes_validate
import pytest
from click.testing import CliRunner

from proxy.injector import namespace_wishes, settings
from proxy.injector.annotations import TYPES
from proxy.injector.settings import InjectorSettings
from proxy.injector_cli import webhook
from proxy.settings.config import declared, variable
from tests.chart.tools import CHART, environment, objects, one, run, template
from tests.injector.test_asking import MISTYPED, NOT_OURS

CRDS = {"Certificate", "Issuer", "ServiceMonitor", "PodMonitor", "PrometheusRule"}
TLS: dict[str, dict[str, Any]] = {
    "selfManaged": {},
    "certManager": {"injector": {"tls": {"mode": "certManager"}}},
    "existingSecret": {"injector": {"tls": {"mode": "existingSecret", "existingSecret": "own"}}},
}
EVERYTHING: dict[str, Any] = {
    "image": {"pullSecrets": ["registry"]},
    "commonLabels": {"team": "media"},
    "injector": {
        "priorityClassName": "high",
        "podAnnotations": {"a": "b"},
        "nodeSelector": {"kubernetes.io/os": "linux"},
    },
    "sidecar": {"extraEnv": [{"name": "CACHE_MODE", "value": "shadow"}]},
    "standalone": {
        "enabled": True,
        "redis": {"secret": "own:key"},
        "service": {"clusterIP": "None"},
        "tls": {"secret": "own-tls", "legs": ["listen", "clients", "upstream", "redis"]},
    },
    "networkPolicy": {"enabled": True},
    "monitoring": {
        kind: {"enabled": True} for kind in ("serviceMonitor", "podMonitor", "prometheusRule", "grafanaDashboard")
    },
    "extraObjects": [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "{{ .Release.Name }}-own"}}],
}
SUPPORTED = ["1.30", kubernetes_validate.latest_version()]


def short(version: str) -> str:
    return ".".join(version.split(".")[:2])


def subchart(folder: Path) -> Path:
    """A parent chart that has this one as a dependency, with a `global` of its own."""
    parent = folder / "parent"
    shutil.copytree(CHART, parent / "charts" / CHART.name)
    (parent / "Chart.yaml").write_text("apiVersion: v2\nname: parent\nversion: 1.0.0\n")
    (parent / "values.yaml").write_text("global: {region: eu, imageRegistry: x}\n")
    return parent


def merged(*values: dict[str, Any]) -> dict[str, Any]:
    """Several values merged as Helm merges them."""
    result: dict[str, Any] = {}
    for each in values:
        for key, value in each.items():
            there = result.get(key)
            both = isinstance(there, dict) and isinstance(value, dict)
            result[key] = merged(there, value) if there is not None and both else value
    return result


@pytest.mark.parametrize("more", [{}, EVERYTHING], ids=["default", "everything"])
@pytest.mark.parametrize("kubernetes", SUPPORTED)
@pytest.mark.parametrize("mode", TLS)
@pytest.mark.parametrize("nested", [False, True], ids=["chart", "subchart"])
def test_every_mode_renders_valid_objects_twice_the_same(
    mode: str, kubernetes: str, more: dict[str, Any], nested: bool, tmp_path: Path
) -> None:
    values = merged(TLS[mode], more)
    chart = subchart(tmp_path) if nested else CHART
    file = tmp_path / "given.json"
    file.write_text(json.dumps({CHART.name: values} if nested else values))
    text = template("--values", file, chart=chart, kubernetes=short(kubernetes))
    assert text == template("--values", file, chart=chart, kubernetes=short(kubernetes))
    found = objects(text)
    names = [(each["kind"], each["metadata"]["name"]) for each in found]
    assert len(names) == len(set(names))
    for each in found:
        if each["kind"] not in CRDS:
            kubernetes_validate.validate(each, kubernetes, strict=True)
        assert each["metadata"].get("namespace", "system") == "system"
        assert not more or each["metadata"].get("labels", {"team": "media"})["team"] == "media"
    wanted = {"Deployment", "MutatingWebhookConfiguration"}
    if more:
        wanted |= {"ServiceMonitor", "PodMonitor", "PrometheusRule", "NetworkPolicy"}
        assert one(found, "ConfigMap", "mcp-own")
    if mode == "certManager":
        wanted |= {"Certificate", "Issuer"}
    assert {each["kind"] for each in found} >= wanted


def test_lint_is_strict_and_silent() -> None:
    done = run("helm", "lint", "--strict", CHART)
    assert done.returncode == 0, done.stdout
    assert "[WARNING]" not in done.stdout


def test_an_older_kubernetes_is_refused() -> None:
    done = run("helm", "template", "mcp", CHART, "--kube-version", "1.29")
    assert done.returncode != 0
    assert "chart requires kubeVersion: >=1.30.0-0" in done.stderr


def test_no_certificate_and_no_bundle_is_rendered_by_default() -> None:
    found = objects(template())
    assert "data" not in one(found, "Secret")
    assert all(
        "caBundle" not in each["clientConfig"] for each in one(found, "MutatingWebhookConfiguration")["webhooks"]
    )


def test_a_bundle_given_by_hand_is_rendered_and_left_alone() -> None:
    pem = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"
    found = objects(
        template(
            "--set",
            "injector.tls.mode=existingSecret,injector.tls.existingSecret=own",
            "--set-string",
            f"injector.tls.caBundle={pem}",
        )
    )
    webhooks = one(found, "MutatingWebhookConfiguration")["webhooks"]
    assert all(each["clientConfig"]["caBundle"] for each in webhooks)
    assert environment(found)["TLS_WRITE_CA_BUNDLE"] == "false"


def test_an_existing_secret_without_a_name_is_refused() -> None:
    done = run("helm", "template", "mcp", CHART, "--set", "injector.tls.mode=existingSecret")
    assert done.returncode != 0
    assert "injector.tls.existingSecret: is empty; name a Secret with tls.crt, tls.key and ca.crt" in done.stderr


def test_rbac_is_the_two_objects_what_namespaces_demand_and_events() -> None:
    found = objects(template("--set", "tests.enabled=false"))
    rules = {each["kind"]: each["rules"] for each in found if each["kind"] in {"Role", "ClusterRole"}}
    assert rules == {
        "ClusterRole": [
            {
                "apiGroups": ["admissionregistration.k8s.io"],
                "resources": ["mutatingwebhookconfigurations"],
                "resourceNames": ["system-mcp-media-cache-proxy-injector"],
                "verbs": ["get", "watch", "patch"],
            },
            {"apiGroups": [""], "resources": ["limitranges", "resourcequotas"], "verbs": ["list"]},
            {"apiGroups": [""], "resources": ["events"], "verbs": ["create"]},
        ],
        "Role": [
            {
                "apiGroups": [""],
                "resources": ["secrets"],
                "resourceNames": ["mcp-media-cache-proxy-injector-tls"],
                "verbs": ["get", "update", "watch"],
            }
        ],
    }
    for mode in ("certManager", "existingSecret"):
        chosen = f"injector.tls.mode={mode}" + (",injector.tls.existingSecret=own" if mode == "existingSecret" else "")
        others = objects(template("--set", "tests.enabled=false", "--set", chosen))
        assert not [each for each in others if each["kind"] in {"Role", "Secret"}], mode
        verbs = one(others, "ClusterRole")["rules"][0]["verbs"]
        assert verbs == ["get", "watch"] + ["patch"] * (mode == "existingSecret"), "patch only where it is used"
    least = "tests.enabled=false,injector.events=false,injector.namespaceRules=false"
    assert len(one(objects(template("--set", least)), "ClusterRole")["rules"]) == 1


def test_the_chart_says_to_the_webhook_what_the_webhook_understands() -> None:
    """The command reads the Deployment's variables and gets the declared defaults."""
    given = environment(objects(template("--set", "image.repository=r/x,image.tag=v2")))
    known = {str(option.envvar) for option in webhook.params}
    assert set(given) <= known
    seen: dict[str, Any] = {}
    command = webhook.callback
    webhook.callback = lambda **flags: seen.update(flags)
    try:
        done = CliRunner().invoke(webhook, env=given)
    finally:
        webhook.callback = command
    assert done.exit_code == 0, done.output
    assert settings.from_flags(seen) == InjectorSettings(image="r/x:v2")
    assert {str(option.envvar) for option in settings.options()} <= set(given)


def test_the_standalone_proxy_gets_settings_that_it_knows() -> None:
    found = objects(template("--set", "standalone.enabled=true,injector.enabled=false"))
    given = environment(found, "-standalone")
    kinds = {variable(each): each.metadata["type"] for each in declared()}
    assert set(given) <= set(kinds)
    for name, value in given.items():
        kinds[name].parse(value)
    assert given["LISTEN_ADDR"] == "[::]:50066"
    assert not [name for name in given if "TLS" in name]
    assert not [each for each in found if each["kind"] == "MutatingWebhookConfiguration"]


@pytest.mark.parametrize(
    ("annotations", "namespaces", "pods"),
    [
        (None, True, False),
        ({}, True, False),
        ({"other": "x"}, True, False),
        ({"media-cache-proxy.io/inject": "true"}, True, True),
        ({"media-cache-proxy.io/inject": "false"}, False, False),
        ({"media-cache-proxy.io/inject": "yes"}, True, True),
        ({"media-cache-proxy.io/inject": "True"}, True, True),
        *(({f"media-cache-proxy.io/{name}": "x"}, True, False) for name in (*TYPES, "status") if name != "inject"),
        *(({key: "true"}, True, True) for key in MISTYPED),
        *(({key: "true"}, True, False) for key in NOT_OURS),
    ],
)
def test_match_conditions(annotations: dict[str, str] | None, namespaces: bool, pods: bool) -> None:
    """A CEL implementation evaluates them: a pod that did not ask never waits for the webhook, and one that asked in
    other words reaches it and gets a warning.
    """
    metadata: dict[str, Any] = {"name": "x"} | ({} if annotations is None else {"annotations": annotations})
    created = {"request": {"operation": "CREATE"}, "object": {"metadata": metadata}}
    assert [asks(each, created) for each in ("namespaces", "pods")] == [namespaces, pods]


@cache
def conditions(name: str) -> list[str]:
    """The match conditions of one of the configuration's webhooks."""
    webhooks = one(objects(template()), "MutatingWebhookConfiguration")["webhooks"]
    (found,) = [each for each in webhooks if each["name"] == f"{name}.media-cache-proxy.io"]
    return [each["expression"] for each in found["matchConditions"]]


def asks(name: str, given: dict[str, Any]) -> bool:
    return all(cel.evaluate(each, given) for each in conditions(name))


@pytest.mark.parametrize(
    ("labels", "heard"),
    [
        ({"media-cache-proxy.io/inject": "true"}, True),
        ({"media-cache-proxy.io/inject": "false"}, False),
        ({"media-cache-proxy.io/injected": "true", "media-cache-proxy.io/component": "x"}, False),
        ({"media-cache-proxy.io/cache-ttl": "5m"}, True),
        *(({key: "true"}, True) for key in MISTYPED if key != "media-cache-proxy.io/injected"),
        *(({key: "true"}, False) for key in NOT_OURS),
    ],
)
def test_labels_of_pods_are_heard_too(labels: dict[str, str], heard: bool) -> None:
    created = {"request": {"operation": "CREATE"}, "object": {"metadata": {"name": "x", "labels": labels}}}
    assert asks("pods", created) is heard


@pytest.mark.parametrize("group", ["labels", "annotations"])
@pytest.mark.parametrize("key", ["media-cache-proxy.io/inject", *MISTYPED, *NOT_OURS])
@pytest.mark.parametrize("word", ["enabled", "TRUE", "Off", "ture", "eNabled"])
def test_of_a_namespace_the_webhook_hears_what_it_warns_of(group: str, key: str, word: str) -> None:
    given = {"metadata": {"name": "shop", group: {key: word}}}
    heard = asks("wishes", {"request": {"operation": "UPDATE"}, "object": given})
    assert heard is bool(namespace_wishes.warnings(given))


def test_the_namespaces_that_ask_are_those_that_the_webhook_takes_for_it() -> None:
    first, _, _ = one(objects(template()), "MutatingWebhookConfiguration")["webhooks"]
    assert tuple(first["namespaceSelector"]["matchExpressions"][-1]["values"]) == namespace_wishes.YES


@pytest.mark.parametrize(("spec", "asks"), [({"a": 1}, False), ({"a": 2}, True)])
def test_an_update_is_looked_at_where_it_changes_what_runs(spec: dict[str, int], asks: bool) -> None:
    for hook in one(objects(template()), "MutatingWebhookConfiguration")["webhooks"][:2]:
        (rule,) = hook["rules"]
        assert rule["operations"] == ["CREATE", "UPDATE"]
        given = {"request": {"operation": "UPDATE"}, "object": {"spec": spec}, "oldObject": {"spec": {"a": 1}}}
        assert cel.evaluate(hook["matchConditions"][0]["expression"], given) is asks


def test_the_webhooks_of_the_configuration() -> None:
    words = list(namespace_wishes.YES)
    first, second, _ = one(objects(template()), "MutatingWebhookConfiguration")["webhooks"]
    assert (first["name"], second["name"]) == ("namespaces.media-cache-proxy.io", "pods.media-cache-proxy.io")
    for hook, operator in ((first, "In"), (second, "NotIn")):
        assert (hook["failurePolicy"], hook["timeoutSeconds"]) == ("Ignore", 5)
        assert hook["reinvocationPolicy"] == "IfNeeded"
        assert hook["namespaceSelector"]["matchExpressions"] == [
            {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["kube-system", "kube-node-lease"]},
            {"key": "media-cache-proxy.io/inject", "operator": operator, "values": words},
        ]
        assert hook["objectSelector"]["matchExpressions"] == [
            {"key": "media-cache-proxy.io/component", "operator": "DoesNotExist"}
        ]


def test_no_namespace_ever_waits_for_the_webhook() -> None:
    found = objects(template("--set", "injector.failurePolicy=Fail,injector.timeoutSeconds=30"))
    *_, wishes = one(found, "MutatingWebhookConfiguration")["webhooks"]
    assert (wishes["name"], wishes["failurePolicy"]) == ("wishes.media-cache-proxy.io", "Ignore")
    assert (wishes["timeoutSeconds"], wishes["sideEffects"]) == (2, "None")


def test_no_pod_of_ours_waits_for_ourselves() -> None:
    found = objects(template("--set", "standalone.enabled=true"))
    pods = [each for each in found if each["kind"] == "Pod"]
    pods += [each["spec"]["template"] for each in found if each["kind"] == "Deployment"]
    assert len(pods) == 4
    assert all("media-cache-proxy.io/component" in each["metadata"]["labels"] for each in pods)


def test_an_uid_of_openshift_and_none_at_all() -> None:
    found = objects(template("--set-json", "injector.runAsUser=null,sidecar.runAsUser=1000660000"))
    (container,) = one(found, "Deployment")["spec"]["template"]["spec"]["containers"]
    assert "runAsUser" not in container["securityContext"]
    assert environment(found)["SIDECAR_RUN_AS_USER"] == "1000660000"


def test_the_notes_give_the_next_command() -> None:
    install = ("install", "mcp", CHART, "--namespace", "system", "--dry-run=client")
    done = run("helm", *install, "--set", "standalone.enabled=true")
    assert done.returncode == 0, done.stderr
    notes = done.stdout.partition("NOTES:")[2]
    assert "kubectl -n system rollout status deployment/mcp-media-cache-proxy-injector" in notes
    assert "helm -n system test mcp" in notes
    assert "dns:///mcp-media-cache-proxy-standalone.system:50066" in notes
    nothing = run("helm", *install, "--set", "injector.enabled=false")
    assert "--set injector.enabled=true" in nothing.stdout


def test_alerts_are_rendered_as_promtool_checked_them() -> None:
    found = objects(template("--set", "monitoring.prometheusRule.enabled=true"))
    groups = one(found, "PrometheusRule")["spec"]["groups"]
    assert json.dumps(groups).count('"alert"') >= 3


@pytest.mark.parametrize(
    ("docs", "before"), [("", "docs"), ("https://git.example.org/v1/docs", "https://git.example.org/v1/docs")]
)
def test_runbooks_are_where_the_values_say(docs: str, before: str) -> None:
    values = f"monitoring.prometheusRule.enabled=true,monitoring.prometheusRule.docsUrl={docs}"
    groups = one(objects(template("--set", values)), "PrometheusRule")["spec"]["groups"]
    urls = [rule["annotations"]["runbook_url"] for group in groups for rule in group["rules"] if "alert" in rule]
    assert len(urls) > 10
    assert [url for url in urls if not url.startswith((f"{before}/runbooks.md#", f"{before}/kubernetes.md#"))] == []


def test_alerts_fire_and_rest_as_they_should() -> None:
    rules = sorted((CHART / "files" / "alerts").glob("*.yaml"))
    checked = run("promtool", "check", "rules", *rules)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    tested = run("promtool", "test", "rules", Path(__file__).parent / "alerts_injector.yaml")
    assert tested.returncode == 0, tested.stdout + tested.stderr
