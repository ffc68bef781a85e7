"""proxy.envoy.worker: what pyvoy loads."""

import subprocess
import sys


def test_the_proxy_is_loaded_once_the_application_is_called() -> None:
    program = "import sys, proxy.envoy.worker; sys.exit('proxy.app' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
