"""The directory that a stack lives in, and the lock that keeps it to one stack."""

import base64
import contextlib
import fcntl
import os
import secrets
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from distriqueue.core.errors import BadSetting, Conflict


@dataclass(frozen=True, slots=True)
class Home:
    """Where everything of one stack is."""

    path: Path

    @classmethod
    def at(cls, path: Path) -> "Home":
        """Return the home at this place, made when missing."""
        try:
            path.mkdir(parents=True, exist_ok=True)
            (path / "logs").mkdir(exist_ok=True)
        except OSError as exc:
            raise BadSetting(f"cannot make the home {path} ({exc.strerror}): choose another place with --home") from exc
        return cls(path.resolve())

    @property
    def logs(self) -> Path:
        """One file per process."""
        return self.path / "logs"

    @property
    def state(self) -> Path:
        """What runs."""
        return self.path / "state.json"

    @property
    def cluster(self) -> Path:
        """The data of Postgres."""
        return self.path / "postgres"

    @property
    def orchestrators(self) -> Path:
        """The term and the vote of each orchestrator of several."""
        return self.path / "orchestrators"

    def log_of(self, name: str) -> Path:
        """Return the log of one process."""
        return self.logs / f"{name}.log"

    def secret(self, name: str) -> str:
        """Return a password that is made at first use and kept here, readable by its owner only."""
        file = self.path / name
        if not file.exists():
            write_private(file, secrets.token_urlsafe(24))
        return file.read_text(encoding="utf-8").strip()

    def webhook_secret(self) -> str:
        """Return the secret that signs the webhooks, in the form of Standard Webhooks; made and kept as the others."""
        file = self.path / "webhook.secret"
        if not file.exists():
            write_private(file, f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}")
        return file.read_text(encoding="utf-8").strip()

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Keep the home to this process until the block, or the process, ends; Conflict when another has it."""
        with (self.path / "lock").open("a", encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as exc:
                here = shlex.quote(str(self.path))
                raise Conflict(
                    f"a stack already runs in {self.path}: `distriqueue down --home {here}` stops it, "
                    "`--home` and `--port` start another beside it"
                ) from exc
            yield


def write_private(file: Path, text: str) -> None:
    """Write the whole file or nothing of it, readable by its owner only."""
    part = file.with_name(f"{file.name}.{os.getpid()}.part")
    with contextlib.suppress(FileNotFoundError):
        part.unlink()
    part.touch(mode=0o600, exist_ok=False)
    with part.open("w", encoding="utf-8") as out:
        out.write(text)
        out.flush()
        os.fsync(out.fileno())
    part.replace(file)
