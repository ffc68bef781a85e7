"""proxy.tls: what is read, what is refused, and what becomes of files that change."""

import asyncio
import logging
import os
import ssl
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from proxy import tls
from proxy.errors import SettingError
from proxy.settings.config import Settings
from proxy.settings.setting_types import RedisAddr
from proxy.tls import Given, Leg, Tls
from tests.support.servers.certificates import Authority, Issued, swap
from tests.support.servers.waiting import until


@pytest.fixture
def pair(authority: Authority) -> Issued:
    return authority.issue("media.test")


def leg_of(authority: Authority, pair: Issued, *, server_name: str = "", server: bool = False) -> Leg:
    return Leg(
        "upstream",
        Given("UPSTREAM_TLS_CA", str(authority.ca)),
        Given("UPSTREAM_TLS_CERT", str(pair.cert)),
        Given("UPSTREAM_TLS_KEY", str(pair.key)),
        server_name=server_name,
        server=server,
    )


def handshake(client: ssl.SSLContext, server: ssl.SSLContext, name: str) -> str:
    """Both ends in memory; the protocol agreed on. Raises what either end raises."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (
        client.wrap_bio(to_client, to_server, server_hostname=name),
        server.wrap_bio(to_server, to_client, server_side=True),
    )
    for _ in range(4):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return str(ends[0].version())


class TestWhatIsRead:
    def test_contents_and_a_context(self, authority: Authority, pair: Issued) -> None:
        leg = leg_of(authority, pair)
        assert leg.pem == (authority.ca.read_bytes(), pair.cert.read_bytes(), pair.key.read_bytes())
        assert handshake(leg.context, leg_of(authority, pair, server=True).context, "media.test") == "TLSv1.3"

    def test_the_name_must_be_the_servers(self, authority: Authority, pair: Issued) -> None:
        client, server = leg_of(authority, pair), leg_of(authority, pair, server=True)
        with pytest.raises(ssl.SSLCertVerificationError, match="IP address mismatch"):
            handshake(client.context, server.context, "10.0.0.7")

    def test_a_server_name_goes_before_the_address(self, authority: Authority, pair: Issued) -> None:
        server = leg_of(authority, pair, server=True)
        assert handshake(leg_of(authority, pair, server_name="media.test").context, server.context, "10.0.0.7")
        with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
            handshake(leg_of(authority, pair, server_name="other.test").context, server.context, "media.test")

    def test_no_older_protocol_than_tls_1_2(self, authority: Authority, pair: Issued) -> None:
        assert leg_of(authority, pair).context.minimum_version is ssl.TLSVersion.TLSv1_2

    def test_without_cas_the_systems_are_trusted(self, pair: Issued) -> None:
        none = Given("REDIS_TLS_CERT", "")
        leg = Leg("redis", Given("REDIS_TLS_CA", ""), none, none, server_name="redis.test")
        default = ssl.create_default_context()
        assert leg.context.cert_store_stats() == default.cert_store_stats()
        assert leg.context.verify_mode is ssl.CERT_REQUIRED
        assert leg.pem == (b"", b"", b"")


class TestWhatIsRefused:
    def test_a_file_that_is_not_there(self, authority: Authority, pair: Issued) -> None:
        pair.key.unlink()
        with pytest.raises(SettingError) as refusal:
            leg_of(authority, pair)
        assert str(refusal.value) == (
            f"UPSTREAM_TLS_KEY: '{pair.key}' cannot be read: No such file or directory; accepted: the path of a PEM "
            "file"
        )

    @pytest.mark.parametrize("content", [b"", b"nonsense", b"-----BEGIN CERTIFICATE-----\nMIIB"])
    def test_what_holds_no_certificate(self, authority: Authority, pair: Issued, content: bytes) -> None:
        authority.ca.write_bytes(content)
        with pytest.raises(
            SettingError, match=r"^UPSTREAM_TLS_CA: '.*/ca\.pem' cannot be used \((no|not|bad) [a-z ]+\); acc"
        ):
            leg_of(authority, pair)

    def test_the_key_of_another_certificate(self, authority: Authority, pair: Issued) -> None:
        other = Issued(pair.cert, authority.issue("media.test").key)
        with pytest.raises(SettingError) as refusal:
            leg_of(authority, other)
        assert str(refusal.value) == (
            f"UPSTREAM_TLS_CERT: '{pair.cert}' cannot be used (key values mismatch); accepted: a PEM certificate whose "
            f"unencrypted key is in UPSTREAM_TLS_KEY ({other.key})"
        )

    def test_an_encrypted_key_is_refused_without_asking_for_its_password(
        self, authority: Authority, pair: Issued, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Left to itself OpenSSL asks whoever sits at the terminal, and waits."""
        asked: list[str] = []

        def password() -> str:
            asked.append("us")
            return ""

        monkeypatch.setattr(tls, "_no_password", password)
        key = serialization.load_pem_private_key(pair.key.read_bytes(), None)
        pair.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.BestAvailableEncryption(b"pw"),
            )
        )
        with pytest.raises(
            SettingError, match=r"UPSTREAM_TLS_CERT: .* accepted: a PEM certificate whose unencrypted key"
        ):
            leg_of(authority, pair)
        assert asked == ["us"]


class TestChange:
    def test_nothing_new_is_not_read(self, authority: Authority, pair: Issued) -> None:
        leg = leg_of(authority, pair)
        before = leg.pem
        assert not leg.look()
        assert leg.pem is before

    def test_renewed_files_are_read_and_told_of(
        self, authority: Authority, pair: Issued, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO)
        leg = leg_of(authority, pair)
        context = leg.context
        authority.issue("media.test").write_to(pair)
        assert leg.look()
        assert leg.pem.cert == pair.cert.read_bytes()
        assert leg.context is not context
        assert [record.getMessage() for record in caplog.records] == ["the certificates for upstream were reloaded"]
        assert not leg.look()

    def test_a_ca_that_is_gone_is_no_longer_trusted(
        self, authority: Authority, stranger: Authority, pair: Issued
    ) -> None:
        client, server = leg_of(authority, pair), leg_of(authority, pair, server=True)
        swap(stranger.ca, authority.ca)
        assert client.look()
        with pytest.raises(ssl.SSLCertVerificationError, match="self-signed certificate"):
            handshake(client.context, server.context, "media.test")

    def test_the_link_above_the_files_is_swapped_as_kubernetes_does(self, authority: Authority, tmp_path: Path) -> None:
        first, second = tmp_path / "..1", tmp_path / "..2"
        for directory in (first, second):
            directory.mkdir()
            authority.issue("media.test").write_to(Issued(directory / "tls.crt", directory / "tls.key"))
        (tmp_path / "..data").symlink_to(first)
        pair = Issued(tmp_path / "tls.crt", tmp_path / "tls.key")
        for path in (pair.cert, pair.key):
            path.symlink_to(Path("..data") / path.name)
        leg = leg_of(authority, pair)
        (tmp_path / "..tmp").symlink_to(second)
        os.replace(tmp_path / "..tmp", tmp_path / "..data")  # noqa: PTH105
        assert leg.look()
        assert leg.pem.key == (second / "tls.key").read_bytes()

    @pytest.mark.parametrize("part", ["half", "mismatch", "gone"])
    def test_what_turned_bad_is_one_warning_and_the_old_is_used_on(
        self, authority: Authority, pair: Issued, part: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        leg = leg_of(authority, pair)
        before, renewed = (leg.pem, leg.context), authority.issue("media.test")
        if part == "half":
            pair.cert.write_bytes(renewed.cert.read_bytes()[:200])
        elif part == "mismatch":
            swap(renewed.cert, pair.cert)
        else:
            pair.cert.unlink()
        assert not leg.look()
        assert not leg.look()
        pair.key.write_bytes(b"worse")
        assert not leg.look()
        assert (leg.pem, leg.context) == before
        (warning,) = caplog.records
        assert warning.levelno == logging.WARNING
        assert warning.getMessage().startswith("UPSTREAM_TLS_CERT: ")
        assert warning.getMessage().endswith("; until then the previous files stay in use")
        renewed.write_to(pair)
        assert leg.look()
        assert leg.pem.cert == renewed.cert.read_bytes()

    def test_what_is_being_written_is_looked_at_again(
        self, authority: Authority, pair: Issued, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Certificate and key are swapped one after the other, and the look falls in between."""
        leg, renewed = leg_of(authority, pair), authority.issue("media.test")
        swap(renewed.cert, pair.cert)
        read = leg._read

        def then_the_key() -> object:
            try:
                return read()
            finally:
                swap(renewed.key, pair.key)

        monkeypatch.setattr(leg, "_read", then_the_key)
        assert not leg.look()
        assert not caplog.records
        monkeypatch.setattr(leg, "_read", read)
        assert leg.look()
        assert leg.pem.key == renewed.key.read_bytes()

    def test_old_and_new_are_never_mixed(
        self, authority: Authority, pair: Issued, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Both files are swapped between the reading of the one and of the other; what is on disk fits together."""
        leg, renewed = leg_of(authority, pair), authority.issue("media.test")
        before, content = leg.pem, tls._content
        os.utime(pair.cert, ns=(0, 0))

        def swapped_after_the_certificate(given: Given) -> bytes:
            read = content(given)
            if given.path == str(pair.cert):
                renewed.write_to(pair)
            return read

        monkeypatch.setattr(tls, "_content", swapped_after_the_certificate)
        assert not leg.look()
        assert leg.pem == before
        monkeypatch.setattr(tls, "_content", content)
        assert leg.look()
        assert leg.pem[1:] == (renewed.cert.read_bytes(), renewed.key.read_bytes())


class TestTls:
    def test_plaintext_is_the_default(self) -> None:
        assert Tls.load(Settings()) == Tls()

    def test_which_settings_make_which_leg(self, authority: Authority, pair: Issued) -> None:
        legs = Tls.load(
            Settings(
                listen_tls_cert=str(pair.cert),
                listen_tls_key=str(pair.key),
                listen_tls_client_ca=str(authority.ca),
                upstream_tls="on",
                upstream_tls_server_name="media.test",
                redis_addr=RedisAddr().parse("rediss://redis"),
                redis_tls_cert=str(pair.cert),
                redis_tls_key=str(pair.key),
                rabbitmq_addr=("amqps://rabbit",),
                rabbitmq_tls_ca=str(authority.ca),
            )
        )
        ca, cert, key = (path.read_bytes() for path in (authority.ca, pair.cert, pair.key))
        assert legs.listen is not None
        assert legs.listen.pem == (ca, cert, key)
        assert legs.upstream is not None
        assert (legs.upstream.pem, legs.upstream.server_name) == ((b"", b"", b""), "media.test")
        assert legs.redis is not None
        assert legs.redis.pem == (b"", cert, key)
        assert legs.rabbitmq is not None
        assert legs.rabbitmq.pem == (ca, b"", b"")

    def test_what_an_address_says_for_itself_is_left_to_it(self) -> None:
        settings = Settings(redis_addr=RedisAddr().parse("rediss://redis"), rabbitmq_addr=("amqps://rabbit",))
        assert Tls.load(settings) == Tls()

    def test_the_variable_of_a_bad_file_is_named(self, pair: Issued) -> None:
        with pytest.raises(SettingError, match=r"^LISTEN_TLS_CLIENT_CA: '/nowhere' cannot be read: No such file"):
            Tls.load(
                Settings(listen_tls_cert=str(pair.cert), listen_tls_key=str(pair.key), listen_tls_client_ca="/nowhere")
            )

    async def test_who_asked_is_told_of_each_change(self, authority: Authority, pair: Issued) -> None:
        leg, other = leg_of(authority, pair), leg_of(authority, authority.issue("other.test"))
        told: list[bytes] = []
        leg.on_change(lambda: told.append(leg.pem.cert))
        other.on_change(lambda: told.append(b"other"))
        watch = asyncio.create_task(Tls(upstream=leg, redis=other).watch(0.01))
        for _ in range(2):
            authority.issue("media.test").write_to(pair)
            await until(lambda: told[-1:] == [pair.cert.read_bytes()], "the change to be told of")
        watch.cancel()
        await asyncio.wait([watch])
        assert b"other" not in told

    async def test_without_files_there_is_nothing_to_watch(self) -> None:
        await Tls().watch()
