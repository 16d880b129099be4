"""Whom Postgres runs as when we are root, which it refuses to be."""

import contextlib
import os
import pwd
import stat
import sys
from pathlib import Path

from distriqueue.core.errors import BadSetting


def account_for(data: Path) -> str | None:
    """Return the owner of the data, for new data `postgres` or `nobody`; None when we are not root."""
    if os.geteuid() != 0:
        return None
    with contextlib.suppress(FileNotFoundError, KeyError):
        owner = pwd.getpwuid(data.stat().st_uid)
        if owner.pw_uid != 0:
            return owner.pw_name
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name).pw_name
    raise BadSetting(
        "Postgres does not run as root, and there is neither an account `postgres` nor `nobody`: "
        "run this as a normal user, or give --database-url"
    )


def everyone_passes(paths: tuple[Path, ...]) -> bool:
    """Tell whether every account may pass through the directories; else it must be lent root's passage (Linux)."""
    if sys.platform != "linux":
        return True
    through = {each for path in paths for each in (path, *path.parents)}
    return all(each.stat().st_mode & stat.S_IXOTH for each in through)
