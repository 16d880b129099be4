"""A private RabbitMQ, from the system's package, as whatever user runs the tests."""

import os
import secrets
import shutil
import signal
import tempfile
from pathlib import Path
from typing import Final

from distriqueue.local.ports import free_block
from tests.servers.process import ServerFailed, ServerProcess, accepts, private_env

_INSTALLED: Final = (
    "/usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin/rabbitmq-server",
    "/opt/rabbitmq*/sbin/rabbitmq-server",
    "/opt/homebrew/opt/rabbitmq/sbin/rabbitmq-server",
    "/usr/local/opt/rabbitmq/sbin/rabbitmq-server",
)


def find_program() -> Path:
    """Return RabbitMQ's own start script; ServerFailed says what to install.

    Not the one that Debian puts on the search path: that is a wrapper that insists on the system's `rabbitmq` user.
    """
    found = [path for pattern in _INSTALLED for path in Path("/").glob(pattern.removeprefix("/"))]
    if not found:
        raise ServerFailed("RabbitMQ is not installed: the package is `rabbitmq-server` (3.10 or later)")
    if shutil.which("erl") is None or shutil.which("epmd") is None:
        raise ServerFailed("RabbitMQ needs Erlang's `erl` and `epmd` on the search path: package `erlang-base`")
    return sorted(found)[-1]


class RabbitMQServer:
    """RabbitMQ on 127.0.0.1 with ports, data, cookie and name server (epmd) of its own."""

    def __init__(self) -> None:
        program = find_program()
        self._home = Path(tempfile.mkdtemp(prefix="dq-rabbitmq-"))
        self.port = free_block(3)
        self._epmd_port = self.port + 1
        env = private_env(
            **self._files(),
            HOME=str(self._home),
            ERL_EPMD_PORT=str(self._epmd_port),
            ERL_EPMD_ADDRESS="127.0.0.1",
            RABBITMQ_NODENAME=f"dq-{secrets.token_hex(4)}@localhost",
            RABBITMQ_NODE_PORT=str(self.port),
            RABBITMQ_NODE_IP_ADDRESS="127.0.0.1",
            RABBITMQ_DIST_PORT=str(self.port + 2),
            RABBITMQ_MNESIA_BASE=str(self._home / "data"),
            RABBITMQ_LOG_BASE=str(self._home / "log"),
            RABBITMQ_LOGS="-",
            # With it the script becomes the server, instead of a shell that waits for it.
            RABBITMQ_ALLOW_INPUT="true",
            RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=(
                "-noinput -start_epmd false -kernel inet_dist_use_interface {127,0,0,1} +S 2:2"
            ),
        )
        self._names = ServerProcess(
            ["epmd", "-port", str(self._epmd_port), "-address", "127.0.0.1"], log=self._home / "epmd.log", env=env
        )
        self._process = ServerProcess([str(program)], log=self._home / "rabbitmq.log", env=env)

    def _files(self) -> dict[str, str]:
        """Write the configuration, so that nothing of the system's is read."""
        config = self._home / "rabbitmq.conf"
        config.write_text(
            "log.console = true\nlog.console.level = warning\nlog.file = false\n"
            "disk_free_limit.absolute = 50MB\nraft.wal_max_size_bytes = 67108864\n"
        )
        plugins = self._home / "enabled_plugins"
        plugins.write_text("[].\n")
        empty = self._home / "rabbitmq-env.conf"
        empty.touch()
        cookie = self._home / ".erlang.cookie"
        cookie.write_text(secrets.token_hex(16))
        cookie.chmod(0o400)
        return {
            "RABBITMQ_CONFIG_FILE": str(config),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(self._home / "advanced.config"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(plugins),
            "RABBITMQ_CONF_ENV_FILE": str(empty),
        }

    @property
    def pid(self) -> int:
        """The Erlang machine's process id."""
        return self._process.pid

    @property
    def url(self) -> str:
        """The URL of its default vhost."""
        return f"amqp://guest:guest@127.0.0.1:{self.port}/"

    def start(self) -> None:
        """Start it and wait until it takes connections."""
        if not accepts(self._epmd_port):
            self._names.start(lambda: accepts(self._epmd_port), timeout_s=10.0)
        self._process.start(lambda: accepts(self.port))

    def stop(self) -> None:
        """End it in good order."""
        self._process.stop()

    def kill(self) -> None:
        """End it as a crash would."""
        self._process.kill()

    def pause(self) -> None:
        """Freeze it: its connections stay open and nothing answers."""
        os.kill(self.pid, signal.SIGSTOP)

    def unpause(self) -> None:
        """Let it go on."""
        os.kill(self.pid, signal.SIGCONT)

    def restart(self) -> None:
        """Stop and start again, on the same port and data."""
        self.stop()
        self.start()

    def close(self) -> None:
        """End it and its name server, and remove its data."""
        self._process.kill()
        self._names.kill()
        shutil.rmtree(self._home, ignore_errors=True)
