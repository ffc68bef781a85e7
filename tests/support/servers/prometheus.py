"""`Prometheus`: a real Prometheus that scrapes a test's processes, evaluates rules, and is queried; and `promtool`."""

import json
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import aiohttp

from tests.support.servers.children import Child, free_port, program
from tests.support.servers.server import Server


def promtool(*args: str | Path, stdin: str = "") -> "subprocess.CompletedProcess[str]":
    """Runs promtool; a failed check gives an exit status and lines on stdout or stderr."""
    command = [program("prometheus", "promtool"), *map(str, args)]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=60, check=False)


class Prometheus(Server):
    """One server on a free port that scrapes each target (`host:port`) five times a second.

    `path` may have a query. `labels` are put on every series, as service discovery does in a cluster. `rules` are rule
    files.
    """

    def __init__(
        self,
        *targets: str,
        path: str = "/metrics",
        labels: Mapping[str, str] | None = None,
        rules: Sequence[Path] = (),
    ) -> None:
        self.port = free_port()
        self.directory = Path(tempfile.mkdtemp(prefix="test-prometheus-"))
        path, _, parameters = path.partition("?")
        scrape = {
            "job_name": "proxy",
            "metrics_path": path,
            "params": parse_qs(parameters),
            "static_configs": [{"targets": list(targets), "labels": dict(labels or {})}],
        }
        config = {
            "global": {"scrape_interval": "200ms", "scrape_timeout": "200ms", "evaluation_interval": "200ms"},
            "rule_files": [str(path) for path in rules],
            "scrape_configs": [scrape] if targets else [],
        }
        # JSON is YAML.
        (self.directory / "prometheus.yml").write_text(json.dumps(config))
        command = [
            program("prometheus", "prometheus"),
            f"--config.file={self.directory}/prometheus.yml",
            f"--storage.tsdb.path={self.directory}/data",
            f"--web.listen-address=127.0.0.1:{self.port}",
        ]
        self.child = Child(f"prometheus on port {self.port}", command, self.directory)

    async def serving(self) -> bool:
        try:
            status, _ = await self._get("/-/ready")
        except aiohttp.ClientConnectionError:
            return False
        return status == 200

    async def query(self, expression: str) -> list[dict[str, Any]]:
        """The vector of an instant query: `[{"metric": {…}, "value": [time, "1"]}]`. ValueError says what is wrong."""
        data = await self._api("query", query=expression)
        if data["resultType"] != "vector":
            raise ValueError(f"{expression}: is a {data['resultType']}, no vector")
        return list(data["result"])

    async def value(self, expression: str) -> float | None:
        """The value of an instant query with one result; None without a result. ValueError if there are several."""
        found = await self.query(expression)
        if len(found) > 1:
            raise ValueError(f"{expression}: has {len(found)} results")
        return float(found[0]["value"][1]) if found else None

    async def targets(self) -> list[dict[str, Any]]:
        """The scraped targets, with `health` (`up`, `down`, `unknown`) and `lastError`."""
        return list((await self._api("targets", state="active"))["activeTargets"])

    async def rules(self) -> list[dict[str, Any]]:
        """Every rule of every group: `name`, `query`, `type`; alerts also `duration` in s, `labels`, `annotations`."""
        return [rule for group in (await self._api("rules"))["groups"] for rule in group["rules"]]

    async def _api(self, what: str, **parameters: str) -> Any:
        _, text = await self._get(f"/api/v1/{what}", **parameters)
        answer = json.loads(text)
        if answer["status"] != "success":
            raise ValueError(f"{parameters}: {answer['error']}")
        return answer["data"]

    async def _get(self, path: str, **parameters: str) -> tuple[int, str]:
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://127.0.0.1:{self.port}{path}", params=parameters) as response:
                return response.status, await response.text()
