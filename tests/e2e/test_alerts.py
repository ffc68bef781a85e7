"""The alerts: unit tests in tests/alerts/ that notice when a rule breaks, and a runbook for every alert."""

import json
import re
from pathlib import Path
from typing import Any

from tests.support.servers.process import ROOT
from tests.support.servers.prometheus import Prometheus, promtool

RULES = ROOT / "charts/media-cache-proxy/files/alerts/proxy.yaml"
UNIT_TESTS = ROOT / "tests/alerts/proxy.test.yaml"
ALERTS = (
    "MediaCacheHitRatioDropped",
    "MediaCacheRedisLost",
    "MediaCacheProxyCutOff",
    "MediaCacheEventConsumerLost",
    "MediaCacheEventsMissing",
    "MediaCacheInvalidationsPending",
    "MediaCacheQueueGrowing",
    "MediaCacheUpstreamErrors",
    "MediaCacheUpstreamFailing",
    "MediaCacheCallsFail",
    "MediaCacheInternalErrors",
    "MediaCacheCallsRefused",
    "MediaCacheServingStale",
    "MediaCacheProxyAbsent",
    "MediaCacheEnvoyRestarts",
    "MediaCacheBadSettings",
    "MediaCachePolicyRefused",
)


def test_the_rules_are_valid() -> None:
    checked = promtool("check", "rules", RULES)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_each_alert_fires_where_it_should_and_nowhere_else() -> None:
    tested = promtool("test", "rules", UNIT_TESTS)
    assert tested.returncode == 0, tested.stdout + tested.stderr


async def _rules() -> list[dict[str, Any]]:
    """As Prometheus itself has loaded them."""
    async with Prometheus(rules=[RULES]) as prometheus:
        return await prometheus.rules()


def _rule_file(rules: list[dict[str, Any]], **change: str) -> dict[str, Any]:
    """A rule file of these rules, with `change` made to every alert."""
    written = []
    for rule in rules:
        if rule["type"] == "recording":
            written.append({"record": rule["name"], "expr": rule["query"]})
        else:
            fields = {"alert": rule["name"], "expr": rule["query"], "for": f"{rule['duration']:g}s", **change}
            written.append({**fields, "labels": rule["labels"], "annotations": rule["annotations"]})
    return {"groups": [{"name": "copy", "rules": written}]}


async def test_the_unit_tests_notice_an_alert_that_never_always_or_too_early_fires(tmp_path: Path) -> None:
    """So that no alert's test asserts nothing; the unchanged copy passes."""
    rules = await _rules()
    unit_tests = re.sub(r"(?m)^rule_files:.*", "rule_files: [rules.yaml]", UNIT_TESTS.read_text())
    (tmp_path / "rules.test.yaml").write_text(unit_tests)

    def failures(**change: str) -> str:
        (tmp_path / "rules.yaml").write_text(json.dumps(_rule_file(rules, **change)))  # JSON is YAML
        tested = promtool("test", "rules", tmp_path / "rules.test.yaml")
        return "" if tested.returncode == 0 else tested.stdout + tested.stderr

    assert failures() == ""
    for change in ({"expr": "vector(1) > 1"}, {"expr": "vector(1)"}, {"for": "0s"}):
        failed = failures(**change)
        assert [alert for alert in ALERTS if f"alertname: {alert}," not in failed] == [], change


async def test_every_alert_has_a_runbook_that_is_there() -> None:
    alerts = {rule["name"]: rule for rule in await _rules() if rule["type"] == "alerting"}
    assert tuple(alerts) == ALERTS
    for name, rule in alerts.items():
        document, _, anchor = rule["annotations"]["runbook_url"].partition("#")
        assert anchor == name.lower()
        assert f"\n## {name}\n" in (ROOT / document).read_text(), f"{document} has no section {name}"
        assert rule["labels"]["severity"] in {"warning", "critical"}
