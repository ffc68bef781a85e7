"""The files of those parts of Envoy's configuration that may change."""

import json
from pathlib import Path

from proxy.envoy.dynamic_config import CLUSTERS, ROUTES, from_file, write


def test_envoy_reads_the_file_that_is_written(tmp_path: Path) -> None:
    for what in (CLUSTERS, ROUTES):
        write(tmp_path, what, [{"name": "one"}])
        write(tmp_path, what, [{"name": "two"}])
        told = json.loads(Path(from_file(tmp_path, what)["path_config_source"]["path"]).read_text())
        (resource,) = told["resources"]
        assert resource["name"] == "two"
        assert resource["@type"].startswith("type.googleapis.com/envoy.config.")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["clusters.json", "routes.json"]
