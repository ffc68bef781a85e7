"""The keeper with mounted files that others write: changes, broken files, caBundles set by others, alarms."""

import base64
import logging
from datetime import UTC, datetime
from pathlib import Path

import pytest

from proxy.injector import pki
from proxy.injector.certificates import CertificateError, Mounted
from proxy.injector.cluster import Cluster
from proxy.injector.pki import Pair
from tests.injector.fake_api import FakeApi
from tests.injector.replicas import DAY, NAME, SETTLE, Clock, Replica


def write(directory: Path, pair: Pair) -> None:
    for name, content in (("tls.crt", pair.certificate), ("tls.key", pair.key), ("ca.crt", pair.ca)):
        (directory / name).write_bytes(content)


async def test_files_that_change_on_disk_are_served_after_their_ca_is_trusted(
    cluster: Cluster, api: FakeApi, tmp_path: Path
) -> None:
    clock = Clock()
    clock.now = datetime.now(UTC)
    one, two = (pki.make([NAME], clock.now, 90 * DAY) for _ in range(2))
    write(tmp_path, one)
    replica = Replica(cluster, clock, Mounted(tmp_path))
    await replica.keeper.check()
    assert replica.presented() == one.certificate
    write(tmp_path, two)
    await replica.keeper.check()
    assert replica.presented() == one.certificate
    assert api.bundle() == one.ca + two.ca
    clock.now += SETTLE
    await replica.keeper.check()
    assert replica.presented() == two.certificate
    assert not [call for call in api.calls if "secrets" in call], "the Secret is mounted, not asked for"


async def test_files_that_break_leave_the_old_ones_served(cluster: Cluster, tmp_path: Path) -> None:
    clock = Clock()
    clock.now = datetime.now(UTC)
    pair = pki.make([NAME], clock.now, 90 * DAY)
    write(tmp_path, pair)
    replica = Replica(cluster, clock, Mounted(tmp_path))
    await replica.keeper.check()
    (tmp_path / "tls.key").write_bytes(b"half a k")
    await replica.keeper.check()
    (tmp_path / "tls.crt").unlink()
    await replica.keeper.check()
    assert replica.presented() == pair.certificate
    assert replica.problem() is None
    assert replica.number("media_cache_injector_certificate_checks_total", outcome="failed") == 2


async def test_a_bundle_that_others_write_is_judged_and_not_touched(
    cluster: Cluster, api: FakeApi, tmp_path: Path
) -> None:
    pair = pki.make([NAME], datetime.now(UTC), 90 * DAY)
    write(tmp_path, pair)
    replica = Replica(cluster, Clock(), Mounted(tmp_path), writes_bundle=False)
    await replica.keeper.check()
    assert (replica.problem() or "").startswith("the webhook configuration's caBundle does not match the certificate: ")
    api.bundles["pods.example"] = base64.b64encode(pair.ca).decode()
    await replica.keeper.check()
    assert replica.problem(), "one of the two webhooks is not trusted yet"
    api.bundles = dict.fromkeys(api.bundles, base64.b64encode(pair.ca).decode())
    await replica.keeper.check()
    assert replica.problem() is None
    assert not [call for call in api.calls if call.startswith("PATCH")]


async def test_an_expiry_that_comes_near_is_an_alarm_once(
    cluster: Cluster, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    clock.now = datetime.now(UTC)
    write(tmp_path, pki.make([NAME], clock.now, 8 * DAY))
    replica = Replica(cluster, clock, Mounted(tmp_path))
    await replica.keeper.check()
    assert not [record for record in caplog.records if record.levelno == logging.ERROR]
    clock.now += 7 * DAY  # a sixth of its life is 32 h
    for _ in range(2):
        await replica.keeper.check()
    alarms = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert [record.message for record in alarms] == ["the certificate expires soon and was not renewed"]
    clock.now += 1.5 * DAY
    await replica.keeper.check()
    assert (replica.problem() or "").startswith("the certificate expired at ")


async def test_files_that_are_not_there_are_told(tmp_path: Path) -> None:
    with pytest.raises(CertificateError, match=r"tls\.crt.*; mount a Secret with tls\.crt and tls\.key there"):
        await Mounted(tmp_path).pair(None)
