"""`Nginx`: a reverse proxy of the media service that closes each connection after `keepalive_requests` calls."""

import asyncio
import tempfile
from pathlib import Path

from tests.support.servers.children import Child, free_port, program
from tests.support.servers.server import Server

_CONFIGURATION = """
daemon off;
master_process off;
pid {folder}/pid;
error_log stderr warn;
events {{ worker_connections 512; }}
http {{
    access_log off;
    {temporary}
    upstream media {{ server {upstream}; keepalive 16; }}
    server {{
        listen 127.0.0.1:{port} http2;
        keepalive_requests {calls};
        location / {{ grpc_pass grpc://media; }}
    }}
}}
"""
_TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


class Nginx(Server):
    """It passes calls on to `upstream` (host:port)."""

    def __init__(self, upstream: str, calls: int) -> None:
        self.port, self.directory = free_port(), Path(tempfile.mkdtemp(prefix="test-nginx-"))
        file = self.directory / "nginx.conf"
        temporary = " ".join(f"{name}_temp_path {self.directory}/{name};" for name in _TEMPORARY)
        file.write_text(
            _CONFIGURATION.format(
                folder=self.directory, temporary=temporary, upstream=upstream, port=self.port, calls=calls
            )
        )
        nginx = program("nginx-light", "nginx", "/usr/sbin/nginx")
        self.child = Child("nginx", [nginx, "-p", str(self.directory), "-e", "stderr", "-c", str(file)], self.directory)

    @property
    def addr(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def serving(self) -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            return False
        writer.close()
        return True
