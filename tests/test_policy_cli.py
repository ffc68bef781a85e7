"""proxy.policy_cli: the commands `policy init`, `check`, `test` and `explain`."""

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from click.testing import CliRunner, Result
from grpc_reflection.v1alpha import reflection

from proxy.cli import cli
from proxy.errors import SettingError
from tests.support.servers.certificates import Authority

EXAMPLES = Path(__file__).parents[1] / "examples" / "policies"


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli, ["policy", *map(str, arguments)])


@pytest.fixture
def reflecting() -> Iterator[str]:
    server = grpc.server(ThreadPoolExecutor(1))
    reflection.enable_server_reflection(["media.MediaService"], server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None)


def test_check_shows_what_is_cached_and_warns() -> None:
    result = run("check", EXAMPLES / "product.yaml")
    assert result.exit_code == 0
    assert "product.ProductService/GetProductByID" in result.stdout
    assert result.stderr.startswith("warning: media.MediaService/GetFilesByModel: is open")
    assert run("check", "--strict", EXAMPLES / "product.yaml").exit_code == 1
    assert run("check", "--strict", EXAMPLES / "boutique.yaml").exit_code == 0


def test_check_warns_of_what_would_not_be_served_here(tmp_path: Path) -> None:
    (tmp_path / "product.binpb").write_bytes((EXAMPLES / "product.binpb").read_bytes())
    text = (EXAMPLES / "product.yaml").read_text()
    path = tmp_path / "p.yaml"
    path.write_text(
        text.replace("upstream: localhost:50055", "upstream: xds:///shop\n    upstream_tls: {ca: none.pem}")
    )
    result = run("check", path)
    assert result.exit_code == 0
    assert (
        "warning: product.ProductService: upstream: 'xds:///shop' cannot be reached with TRANSPORT=envoy"
        in result.stderr
    )
    assert "warning: serve would not start here: POLICY: " in result.stderr
    assert "none.pem' cannot be read" in result.stderr


@pytest.mark.parametrize(
    ("name", "transport", "status"),
    [("te", "grpcio", 2), ("te", "envoy", 2), ("host", "envoy", 2), ("host", "grpcio", 0), ("x-tenant", "envoy", 0)],
)
def test_metadata_that_never_arrives_tells_nobody_apart(
    name: str, transport: str, status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRANSPORT", transport)
    (tmp_path / "product.binpb").write_bytes((EXAMPLES / "product.binpb").read_bytes())
    text = (EXAMPLES / "product.yaml").read_text()
    path = tmp_path / "p.yaml"
    path.write_text(text.replace("        ttl: 5m\n", f"        ttl: 5m\n        vary: [x-a, {name}]\n"))
    result = run("check", path)
    assert result.exit_code == status
    if status:
        told = f":25:9: read GetAllProducts: vary: {name!r} never reaches the cache with TRANSPORT={transport}: "
        assert told in result.stderr


def test_check_says_every_mistake_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text("version: 2\nservices: []\nevnts: []")
    result = run("check", path)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.splitlines() == [
        f"{path}:1:10: policy: version: '2' is not understood; accepted: 1",
        f"{path}:3:1: policy: unknown key 'evnts'; did you mean 'events'? accepted: version, services, events",
    ]


def test_test_runs_cases_and_prints_what_differs(tmp_path: Path) -> None:
    files = sorted(EXAMPLES.glob("*.cases.yaml"))
    result = run("test", *files)
    assert (result.exit_code, result.stdout.splitlines()[-1]) == (0, "32 cases, 0 differ")
    path = tmp_path / "c.yaml"
    path.write_text(
        "policy: builtin\ncases: [{name: a case, read: media.MediaService/GetFilesByModel, request: {}, tag: user/1}]"
    )
    result = run("test", path)
    assert result.exit_code == 1
    assert result.stdout == f'{path}:2:84: a case: tag: expected "user/1", found "/0"\n1 case, 1 differs\n'


def test_test_refuses_what_it_cannot_read(tmp_path: Path) -> None:
    assert run("test", tmp_path / "none.yaml").exit_code == 2
    (tmp_path / "c.yaml").write_text("policy: none.yaml\ncases: []")
    result = run("test", tmp_path / "c.yaml")
    assert (result.exit_code, "none.yaml:1:1: cannot be read" in result.stderr) == (2, True)


def test_explain_tells_of_one_call() -> None:
    result = run("explain", EXAMPLES / "product.yaml", "GetProductByID", '{"id": "7"}')
    assert (result.exit_code, "tag       product/7" in result.stdout) == (0, True)
    assert "user/1" in run("explain", "builtin", "GetFilesByModel", '{"model_type": "User", "model_id": 1}').stdout
    for arguments in (
        ("Nope",),
        ("GetProductByID", "{"),
        ("GetProductByID", '{"x": 1}'),
        ("GetProductByID", "[" * 10**5),
    ):
        assert run("explain", EXAMPLES / "product.yaml", *arguments).exit_code == 2


def test_init_prints_a_policy_of_a_file_or_of_a_server(tmp_path: Path, reflecting: str) -> None:
    of_file = run("init", "--descriptors", EXAMPLES / "product.binpb")
    assert (of_file.exit_code, "method: GetProductBySlug" in of_file.stdout) == (0, True)
    of_server = run("init", "--reflection", reflecting)
    assert (of_server.exit_code, f"upstream: {reflecting}\n    descriptors: reflection" in of_server.stdout) == (
        0,
        True,
    )
    path = tmp_path / "p.yaml"
    path.write_text(of_server.stdout)
    assert run("check", path).exit_code == 0


@pytest.mark.parametrize("given", [[], ["--reflection", "a:1", "--descriptors", "b"]])
def test_init_needs_exactly_one_source(given: list[str]) -> None:
    result = run("init", *given)
    assert result.exit_code == 2
    assert "the descriptors need exactly one source; accepted: --reflection TARGET, --descriptors FILE" in result.stderr


@pytest.fixture
def over_tls(authority: Authority) -> Iterator[tuple[str, dict[str, str]]]:
    """A server that asks for a certificate and has one of another name than its address, and the settings for it."""
    server, own, ours = grpc.server(ThreadPoolExecutor(1)), authority.issue("shop.internal"), authority.issue("sidecar")
    reflection.enable_server_reflection(["media.MediaService"], server)
    pair, ca = (own.key.read_bytes(), own.cert.read_bytes()), authority.ca.read_bytes()
    credentials = grpc.ssl_server_credentials([pair], ca, require_client_auth=True)
    port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    how = {"on": "on", "ca": str(authority.ca), "cert": str(ours.cert), "key": str(ours.key)}
    settings = {"UPSTREAM_TLS" + (f"_{name.upper()}" if name != "on" else ""): text for name, text in how.items()}
    yield f"127.0.0.1:{port}", settings | {"UPSTREAM_TLS_SERVER_NAME": "shop.internal"}
    server.stop(None)


def test_init_asks_over_tls_as_the_settings_say_and_the_policy_says_it_too(
    tmp_path: Path, over_tls: tuple[str, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, settings = over_tls
    assert run("init", "--reflection", server).exit_code == 1
    flags = [part for name, text in settings.items() for part in (f"--{name.lower().replace('_', '-')}", text)]
    result = run("init", "--reflection", server, *flags)
    assert (result.exit_code, "method: GetFilesByModel" in result.stdout) == (0, True), result.stderr
    path = tmp_path / "p.yaml"
    path.write_text(result.stdout)
    assert run("check", path).exit_code == 0
    # Without a word in the policy it is the settings that say how the service is asked.
    before, _, rest = result.stdout.partition("    upstream_tls:\n")
    path.write_text(before + rest[rest.index("    # reads:") :])
    assert run("check", path).exit_code == 2
    for name, text in settings.items():
        monkeypatch.setenv(name, text)
    assert run("check", path).exit_code == 0


def test_init_says_which_file_of_tls_it_cannot_use(tmp_path: Path) -> None:
    result = run("init", "--reflection", "localhost:1", "--upstream-tls", "on", "--upstream-tls-ca", tmp_path / "none")
    assert isinstance(result.exception, SettingError)
    assert "UPSTREAM_TLS_CA: " in str(result.exception)


def test_commands_understand_a_policy_by_the_settings_of_the_environment(
    tmp_path: Path, reflecting: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "p.yaml"
    path.write_text("version: 1\nservices: [{name: media.MediaService, descriptors: reflection}]")
    monkeypatch.setenv("MEDIA_SERVICE_ADDR", reflecting)
    assert run("check", path).exit_code == 0
    monkeypatch.setenv("CACHE_BYPASS_PER_PAGE", "7")
    told = run("explain", "builtin", "GetFilesByModel", '{"model_type": "User", "model_id": 1, "per_page": 7}').stdout
    assert "bypass    yes" in told


def test_explain_tells_of_a_status() -> None:
    asked = ("explain", EXAMPLES / "product.yaml", "GetProductByID", "{}")
    assert "no: its status is NOT_FOUND" in run(*asked, "--status", "not_found").stdout
    for more in (("--status", "GONE"), ("--status", "NOT_FOUND", "--response", "{}")):
        assert run(*asked, *more).exit_code == 2


def test_init_says_what_it_cannot_use(tmp_path: Path) -> None:
    (tmp_path / "x.binpb").write_bytes(b"\xff")
    result = run("init", "--descriptors", tmp_path / "x.binpb")
    assert (result.exit_code, "is not a FileDescriptorSet" in result.stderr) == (1, True)
    assert run("init").exit_code == 2
    assert run("init", "--reflection", "not a target").exit_code == 2


@pytest.mark.parametrize("command", ["init", "check", "test", "explain"])
def test_help_is_a_manual_with_examples_and_exit_statuses(command: str) -> None:
    text = run(command, "--help").stdout
    assert "Example" in text
    assert f"media-cache-proxy policy {command}" in text or "shop.cases.yaml" in text
    assert "Exit status:" in text


def test_help_loads_no_grpc() -> None:
    code = (
        "import sys; from proxy.cli import cli; cli(['policy', 'check', '--help'], standalone_mode=False); "
        "assert 'grpc' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
