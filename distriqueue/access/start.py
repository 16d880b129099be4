"""No service beyond loopback without keys."""

from distriqueue.access.keyring import Keys
from distriqueue.core.errors import BadSetting, Unavailable
from distriqueue.lifecycle import is_loopback, require_loopback


async def require_keys(host: str, keys: Keys, *, insecure: bool, setting: str) -> None:
    """Refuse to serve the world without keys: BadSetting. On loopback nothing is asked, so Postgres may be down."""
    if insecure or is_loopback(host):
        return
    try:
        live = await keys.load()
    except Unavailable as exc:
        raise BadSetting(
            f"{setting}={host} serves everyone who has an API key, and whether there are any cannot be told:"
            f" {exc.message}. Start Postgres first, or serve on 127.0.0.1"
        ) from exc
    require_loopback(host, insecure=insecure, setting=setting, has_keys=live.configured)
