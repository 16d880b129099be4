"""Every setting of every process, from `DISTRIQUEUE_*` in the environment; `docs/settings.md` is generated of it."""

import base64
import ipaddress
import os
import re
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from distriqueue.core.errors import BadSetting
from distriqueue.core.job import Priority
from distriqueue.core.messages import DISPATCH_PACK

PREFIX: Final = "DISTRIQUEUE_"
WHSEC: Final = "whsec_"
"""What the secrets of Standard Webhooks start with."""

DEFAULT_URL: Final = "http://127.0.0.1:8080"
"""Of a gateway."""

Urls = Annotated[tuple[str, ...], NoDecode]
Lanes = Annotated[tuple[Priority, ...], NoDecode]


class _Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore", env_ignore_empty=True)

    @classmethod
    def load(cls, **overrides: object) -> Self:
        """Read the environment; BadSetting names each wrong setting and says what is wrong."""
        try:
            return cls(**overrides)  # type: ignore[arg-type]
        except ValidationError as exc:
            wrong = [f"{PREFIX}{'_'.join(map(str, e['loc'])).upper()}: {e['msg']}" for e in exc.errors()]
            raise BadSetting("; ".join(wrong)) from None


class StoreSettings(_Settings):
    """Postgres, the truth."""

    database_url: SecretStr = Field(description="Postgres with the jobs, `postgresql://user:password@host:port/name`.")
    store_pool_size: int = Field(
        default=8, ge=1, le=200, description="Connections to Postgres per process; up to 4 more for claims."
    )
    store_timeout: float = Field(default=10.0, gt=0, description="Seconds one statement may take.")


class BrokerSettings(_Settings):
    """Where dispatches go."""

    broker_url: SecretStr = Field(
        description="`amqp://user:password@host:port/vhost` for RabbitMQ, `postgresql://…` for the Postgres broker."
    )
    publish_timeout: float = Field(default=5.0, gt=0, description="Seconds to wait for the broker to confirm.")
    dispatch_pack: int = Field(
        default=DISPATCH_PACK,
        ge=1,
        le=256,
        description="Most jobs sent in one message, when many are sent together; 1: always one, while workers that"
        " read no more are being replaced.",
    )


class LogSettings(_Settings):
    """How a process logs."""

    log_format: str = Field(
        default="auto",
        pattern="^(auto|json|console)$",
        description="`json`, `console`, or `auto`: console on a terminal.",
    )
    log_level: str = Field(default="info", pattern="^(debug|info|warning|error)$", description="Least level logged.")


class TraceSettings(_Settings):
    """Whether a process sends traces; the standard's own variables, `OTEL_…`, say where to and which."""

    tracing: bool = Field(
        default=False,
        description="Send traces by OTLP to `OTEL_EXPORTER_OTLP_ENDPOINT`; needs the extra `distriqueue[tracing]`.",
    )


class GatewaySettings(_Settings):
    """The REST API."""

    gateway_host: str = Field(default="127.0.0.1", description="Address to serve on.")
    gateway_port: int = Field(default=8080, ge=0, le=65535, description="Port to serve on.")
    max_body_bytes: int = Field(
        default=1_048_576, ge=1024, description="Largest single job, in bytes; larger ones get a 413."
    )
    max_batch_body_bytes: int = Field(
        default=33_554_432, ge=1024, description="Largest batch or list of reports, in bytes."
    )
    max_result_bytes: int = Field(
        default=1_048_576, ge=1024, description="Largest result of a job, in bytes; a larger one fails the job."
    )
    max_backlog: int = Field(
        default=1_000_000, ge=1, description="Jobs that may wait to be run; at that, new ones get a 429."
    )
    max_batch_jobs: int = Field(default=1000, ge=1, description="Most jobs in one batch.")
    intake_queue: int = Field(
        default=20_000, ge=1, description="Submissions that may wait for a commit; more get a 429."
    )
    insecure: bool = Field(default=False, description="Serve beyond loopback although there are no API keys.")


class DutySettings(_Settings):
    """What the leader does by itself."""

    requeue_after: float = Field(
        default=15.0,
        gt=0,
        description="Seconds a job is queued, its lane in the broker being empty, until it is sent again.",
    )
    keep_events_days: float = Field(default=7.0, gt=0, description="Days that events are kept, for streams to resume.")
    keep_completed_days: float = Field(default=30.0, gt=0, description="Days that completed jobs are kept.")
    keep_cancelled_days: float = Field(default=30.0, gt=0, description="Days that cancelled jobs are kept.")
    keep_failed_days: float = Field(default=90.0, gt=0, description="Days that failed and timed out jobs are kept.")
    keep_statistics_days: float = Field(default=400.0, gt=0, description="Days that hourly figures are kept.")
    keep_audit_days: float = Field(default=400.0, gt=0, description="Days that the audit log is kept.")
    keep_idempotency_hours: float = Field(
        default=24.0, gt=0, description="Hours that a request with an `Idempotency-Key` gets its first answer again."
    )
    archive_dir: Path | None = Field(
        default=None,
        description="Directory that jobs are archived to before retention deletes them; none if not given.",
    )


class OrchestratorSettings(DutySettings):
    """One node of the orchestrator cluster."""

    orchestrator_host: str = Field(default="127.0.0.1", description="Address to serve on.")
    orchestrator_port: int = Field(default=8081, ge=0, le=65535, description="Port to serve on.")
    node_id: str = Field(
        default="orchestrator1",
        pattern=r"^[A-Za-z0-9._-]{1,100}$",
        description="This node's name in the cluster.",
    )
    peers: Annotated[tuple[str, ...] | None, NoDecode] = Field(
        default=None,
        description="All voters with the address of their election port, this node too:"
        " `orchestrator1=http://10.0.0.1:9081,…`; one node alone needs none.",
    )
    cluster_name: str = Field(
        default="distriqueue", min_length=1, max_length=100, description="Name that all nodes of a cluster share."
    )
    cluster_secret: SecretStr | None = Field(
        default=None, description="What nodes authenticate each other by, 16 characters at least; for more than one."
    )
    data_dir: Path | None = Field(
        default=None, description="Where this node keeps its term and vote, on a disk of its own; for more than one."
    )
    raft_host: str | None = Field(
        default=None, description="Address to hear the other nodes on; that of the API if not given."
    )
    raft_port: int = Field(
        default=0, ge=0, le=65535, description="Port to hear the other nodes on; 0: that of this node in the peers."
    )
    raft_heartbeat: float = Field(default=0.15, gt=0, le=5, description="Seconds between a leader's heartbeats.")
    election_timeout: float = Field(
        default=1.0,
        gt=0,
        le=60,
        description="Least seconds of silence before an election; drawn up to twice that. The same on every node.",
    )
    worker_timeout: float = Field(
        default=5.0, gt=0, description="Seconds without a heartbeat until a worker is unresponsive."
    )
    insecure: bool = Field(default=False, description="Serve beyond loopback although there are no API keys.")

    @field_validator("peers", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


class AccessSettings(_Settings):
    """How a program of ours calls gateways and orchestrators."""

    api_key: SecretStr | None = Field(default=None, description="API key to call gateways and orchestrators with.")

    @field_validator("api_key")
    @classmethod
    def _sendable(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not re.fullmatch(r"[\x21-\x7e]+", value.get_secret_value()):
            raise ValueError("an API key is one word of printable ASCII")
        return value


class NodesSettings(AccessSettings):
    """Where the orchestrators are."""

    orchestrator_urls: Urls = Field(
        default=("http://127.0.0.1:8081",),
        description="Orchestrators, separated by commas: workers send them heartbeats, the dashboard and the command"
        " line ask them.",
    )

    @field_validator("orchestrator_urls", mode="before")
    @classmethod
    def _split_nodes(cls, value: object) -> object:
        return _urls(value)


class ClientSettings(AccessSettings):
    """How clients and the command line reach a gateway."""

    url: str = Field(
        default=DEFAULT_URL,
        description="Gateway to call; the command line's default is that of the stack in its home, if one runs there.",
    )

    @field_validator("url")
    @classmethod
    def _callable(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname or re.search(r"[\s?#]", value):
            raise ValueError(f"must be an address such as {DEFAULT_URL}, not {value!r}")
        if parts.username or parts.password:
            raise ValueError("must be without user name and password: give the key by DISTRIQUEUE_API_KEY")
        _ = parts.port  # ValueError when it is none
        return value.rstrip("/")


class HomeSettings(_Settings):
    """The stack on this machine."""

    home: Path = Field(
        default=Path(".distriqueue"), description="Directory of the stack on this machine: data, logs, state."
    )


class WorkerSettings(NodesSettings):
    """One worker process."""

    worker_id: str = Field(
        default_factory=lambda: f"{socket.gethostname()}-{os.getpid()}",
        min_length=1,
        max_length=150,
        description="This worker's name; each start adds a suffix of its own, so that a restart is another worker.",
    )
    worker_capacity: int = Field(default=10, ge=1, le=10_000, description="Jobs run at once.")
    worker_queues: Lanes = Field(default=tuple(Priority), description="Lanes to take from, separated by commas.")
    worker_strict: bool = Field(
        default=False, description="Take a lane only while all higher ones are empty, instead of by weight."
    )
    worker_drain: float = Field(default=25.0, ge=0, description="Seconds that running jobs get to end on SIGTERM.")
    worker_metrics_host: str = Field(
        default="127.0.0.1", description="Address to serve a worker's metrics on, to anyone who asks."
    )
    worker_metrics_port: int = Field(
        default=0, ge=0, le=65535, description="Port to serve a worker's metrics on, at `/metrics`; 0: none."
    )
    gateway_url: Urls = Field(
        default=("http://127.0.0.1:8080",), description="Gateways to report to, separated by commas."
    )

    @field_validator("gateway_url", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return _urls(value)

    @field_validator("worker_queues", mode="before")
    @classmethod
    def _split_lanes(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(Priority.parse(part.strip().removeprefix("job.")) for part in value.split(",") if part.strip())
        return value


class WebhookSettings(_Settings):
    """How a worker sends webhooks: signed, and to public addresses."""

    webhook_secrets: Annotated[tuple[SecretStr, ...], NoDecode] = Field(
        default=(),
        description="Secrets that webhooks are signed with, newest first, separated by commas: `whsec_` and 24 to 64"
        " random bytes in Base64, on every worker. Without any, webhooks fail.",
    )
    webhook_allow: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Hosts, addresses and networks (`10.1.0.0/16`) that webhooks may go to although they are not"
        " public, separated by commas.",
    )

    @field_validator("webhook_secrets", mode="before")
    @classmethod
    def _split_secrets(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        secrets = [part.strip() for part in value.split(",") if part.strip()]
        for place, secret in enumerate(secrets, 1):
            _check_webhook_secret(secret, f"secret {place} of {len(secrets)}")
        return tuple(secrets)

    @field_validator("webhook_allow", mode="before")
    @classmethod
    def _split_allow(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        allowed = tuple(part.strip() for part in value.split(",") if part.strip())
        for each in allowed:
            _check_allowed(each)
        return allowed


def _urls(value: object) -> object:
    if isinstance(value, str):
        return tuple(part.strip().rstrip("/") for part in value.split(",") if part.strip())
    return value


def _check_webhook_secret(secret: str, which: str) -> None:
    """Refuse what receivers could not verify with (Standard Webhooks 1.0); never say what it is."""
    if not secret.startswith(WHSEC):
        raise ValueError(f"{which} does not start with {WHSEC}")
    try:
        size_bytes = len(base64.b64decode(secret.removeprefix(WHSEC), validate=True))
    except ValueError:
        raise ValueError(f"{which} is not Base64 after {WHSEC}") from None
    if not 24 <= size_bytes <= 64:
        raise ValueError(f"{which} has {size_bytes} bytes, it must have 24 to 64")


def _check_allowed(text: str) -> None:
    """Refuse what is neither address, network nor host name; a half-right address would be a name nobody has."""
    try:
        ipaddress.ip_network(text)
    except ValueError as exc:
        if not re.fullmatch(r"(?!(.*\.)?\d+$)[A-Za-z0-9_]([A-Za-z0-9._-]*)", text):
            raise ValueError(f"{text!r} is no host, address or network: {exc}") from None


READ_BY: Final[Mapping[str, tuple[type[_Settings], ...]]] = {
    "gateway": (StoreSettings, BrokerSettings, GatewaySettings, NodesSettings, LogSettings, TraceSettings),
    "orchestrator": (StoreSettings, BrokerSettings, OrchestratorSettings, LogSettings, TraceSettings),
    "worker": (BrokerSettings, WorkerSettings, WebhookSettings, LogSettings, TraceSettings),
    "client": (ClientSettings,),
    "command line": (ClientSettings, HomeSettings, NodesSettings),
}
"""Who is configured by what."""
