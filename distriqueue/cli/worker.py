"""`distriqueue worker`: one worker, configured by the environment, or by the stack in the home."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final

import typer

from distriqueue.cli import reload
from distriqueue.cli.help import examples
from distriqueue.cli.home import running
from distriqueue.cli.options import DEFAULT_HOME, HomeOption
from distriqueue.cli.output import note
from distriqueue.core.errors import BadSetting
from distriqueue.local.state import Role
from distriqueue.settings import PREFIX

app = typer.Typer(rich_markup_mode=None, add_completion=False)

WORKERS_KEY: Final = "workers.key"
WEBHOOK_SECRET: Final = "webhook.secret"  # noqa: S105 -- a file name


@app.command(
    epilog=examples(
        "distriqueue worker shop.jobs:registry --reload",
        "DISTRIQUEUE_BROKER_URL=amqp://u:p@mq/ DISTRIQUEUE_GATEWAY_URL=http://gw:8080 distriqueue worker",
    )
)
def worker(
    registry: Annotated[
        str | None, typer.Argument(metavar="[MODULE:REGISTRY]", help="Your handlers; the ones that ship if not given.")
    ] = None,
    *,
    reload_: Annotated[bool, typer.Option("--reload", help="Start again when a .py file below here changes.")] = False,
    home: HomeOption = DEFAULT_HOME,
) -> None:
    """Run one worker until it is told to stop; Ctrl-C drains it.

    It is configured by DISTRIQUEUE_* in the environment. Without DISTRIQUEUE_BROKER_URL it joins the stack in the home.
    """
    if registry is not None and not all(registry.partition(":")):
        raise BadSetting(f"{registry!r} is not of the form module:registry, such as shop.jobs:registry")
    command = (sys.executable, "-m", "workers", *([registry] if registry else []))
    env = {**os.environ, **_of_stack(home)}
    # Found where it is started, as by `python -m`.
    if reload_:
        raise typer.Exit(reload.run(command, env, Path.cwd(), announce=note))
    os.execve(sys.executable, command, env)  # noqa: S606 -- there is no shell, on purpose


def _of_stack(home: Path) -> Mapping[str, str]:
    """Return the settings by which a worker joins the stack in the home; none when the environment names a broker."""
    if os.environ.get(f"{PREFIX}BROKER_URL"):
        return {}
    current = running(home)
    if current is None or current.broker_url is None:
        raise BadSetting(
            f"no stack runs in {home.absolute()}, and {PREFIX}BROKER_URL is not set: start one by `distriqueue up`,"
            f" name its home by --home, or set {PREFIX}BROKER_URL, {PREFIX}GATEWAY_URL and {PREFIX}ORCHESTRATOR_URLS"
        )
    urls = {
        role: ",".join(each.url for each in current.of(role) if each.url) for role in (Role.GATEWAY, Role.ORCHESTRATOR)
    }
    joined = {
        f"{PREFIX}BROKER_URL": current.broker_url,
        f"{PREFIX}GATEWAY_URL": urls[Role.GATEWAY],
        f"{PREFIX}ORCHESTRATOR_URLS": urls[Role.ORCHESTRATOR],
    }
    secrets = {f"{PREFIX}API_KEY": WORKERS_KEY, f"{PREFIX}WEBHOOK_SECRETS": WEBHOOK_SECRET}
    for name, file in secrets.items():
        path = home.absolute() / file
        if name not in os.environ and path.is_file():
            joined[name] = path.read_text(encoding="utf-8").strip()
    return joined
