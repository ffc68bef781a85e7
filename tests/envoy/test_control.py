"""Messages between `serve` and Envoy arrive unchanged."""

from multiprocessing import Pipe
from pathlib import Path

import pytest

from proxy.envoy.bootstrap import Place
from proxy.envoy.control import Ended, Failed, Hello, Live, Stop
from proxy.settings.config import Settings
from proxy.settings.setting_types import RedisAddr

SETTINGS = Settings(redis_addr=RedisAddr().parse("redis://:secret@redis:6379/1"), admin_token="secret")
HELLO = Hello(SETTINGS, {"redis_addr": "environment"}, Place(Path("/run/here"), "/pyvoy.so", "/roots.pem"), 3)


@pytest.mark.parametrize("message", [HELLO, Stop(), Live(), Failed("why"), Ended(1)])
def test_it_arrives(message: object) -> None:
    ours, theirs = Pipe()
    ours.send(message)
    assert theirs.recv() == message
    ours.close()
    theirs.close()
