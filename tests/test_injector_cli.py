"""The commands `inject` and `webhook`: arguments, streams, exit status."""

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from proxy.injector_cli import inject, webhook

POD = """\
kind: Pod
metadata: {name: x, annotations: {media-cache-proxy.io/inject: "true"}}
spec:
  containers:
  - name: app
    image: app:1
    env:
    - name: MEDIA_SERVICE_ADDR
      value: media:50056
"""


def run(*arguments: str, given: str = "") -> Result:
    return CliRunner().invoke(inject, arguments, input=given)


def test_from_a_file_and_from_standard_input(tmp_path: Path) -> None:
    (tmp_path / "pod.yaml").write_text(POD)
    from_file, from_stdin = run("-f", str(tmp_path / "pod.yaml")), run("-f", "-", given=POD)
    assert from_file.exit_code == 0
    assert from_file.stdout == from_stdin.stdout
    assert '      value: "127.0.0.1:50066"\n' in from_file.stdout
    assert "REDIS_ADDR comes from Secret default/media-cache-proxy" in from_file.stderr


def test_the_difference_instead_of_the_result() -> None:
    shown = run("-f", "-", "--diff", given=POD).stdout
    assert shown.startswith("--- <stdin>\n+++ <stdin> (injected)\n")
    assert "-      value: media:50056\n" in shown
    assert '+      value: "127.0.0.1:50066"\n' in shown


def test_the_clusters_version_decides_the_mode() -> None:
    assert "initContainers" in run("-f", "-", given=POD).stdout
    assert "initContainers" not in run("-f", "-", "--kubernetes-version", "1.32", given=POD).stdout


def test_flags_for_the_sidecar() -> None:
    assert "image: r/x:2" in run("-f", "-", "--sidecar-image", "r/x:2", given=POD).stdout.replace('"', "")


def test_what_cannot_be_injected_prints_nothing_and_fails() -> None:
    done = run("-f", "-", given=POD.replace("media:50056", "http://media/"))
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith(
        "error: <stdin>: Pod x: media-cache-proxy.io/upstream: MEDIA_SERVICE_ADDR of container"
    )


def test_nothing_to_inject_is_said() -> None:
    done = run("-f", "-", given="kind: ConfigMap\n")
    assert (done.exit_code, done.stdout) == (0, "kind: ConfigMap\n")
    assert done.stderr == "warning: <stdin>: nothing was injected\n"


@pytest.mark.parametrize(
    ("arguments", "given", "status", "said"),
    [
        (["-f", "-"], "a: [", 1, "Error: <stdin>: document 1: "),
        (["-f", "-", "--kubernetes-version", "new"], "", 2, "'new' is not a Kubernetes version; accepted: like 1.33"),
        (["-f", "/no/such/file"], "", 2, "No such file"),
        ([], "", 2, "Missing option '-f'"),
        (["-f", "-", "--sidecar-redis-addr", "r:1"], "", 2, "both a Secret and a plain address are given"),
    ],
)
def test_what_is_not_understood(arguments: list[str], given: str, status: int, said: str) -> None:
    done = run(*arguments, given=given)
    assert done.exit_code == status
    assert said in done.stderr


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "pod.yaml").write_bytes(b"\xff\xfe")
    done = run("-f", str(tmp_path / "pod.yaml"))
    assert done.exit_code == 1
    assert "can't decode byte" in done.stderr


def test_the_webhook_asks_for_what_it_must_have() -> None:
    done = CliRunner().invoke(webhook, [])
    assert done.exit_code == 2
    assert "Missing option '--namespace'" in done.stderr


def test_neither_command_is_loaded_with_its_libraries() -> None:
    """`serve` and `--help` must not pay for the webhook's packages, which may not be installed."""
    check = "import sys, proxy.injector_cli; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", check], check=True, capture_output=True, text=True)
    assert not {"lightkube", "cryptography", "ruamel.yaml", "aiohttp"} & set(done.stdout.split())


def test_a_policy_is_given_by_its_file(tmp_path: Path) -> None:
    policy = "version: 1\nservices: [{name: p.P, address_variable: P_ADDR, descriptors: reflection}]\n"
    (tmp_path / "p.yaml").write_text(policy)
    asking = POD.replace('inject: "true"', 'inject: "true", media-cache-proxy.io/policy: shop')
    asking = asking.replace("MEDIA_SERVICE_ADDR", "P_ADDR")
    without = run("-f", "-", given=asking)
    assert "cannot be read without a cluster; give its file with --policy" in without.stderr
    found = run("-f", "-", "--policy", f"shop={tmp_path / 'p.yaml'}", given=asking)
    assert found.exit_code == 0, found.stderr
    assert '    - name: P_ADDR\n      value: "127.0.0.1:50066"\n' in found.stdout
    assert "name: shop" in found.stdout
    for wrong in ("shop", "shop=/nowhere"):
        assert run("-f", "-", "--policy", wrong, given=asking).exit_code == 2
