"""Become another program that dies with the supervisor, as another account when asked.

Run by path (`python -I -S launch.py …`), so it imports the standard library only and costs some ten milliseconds:

    launch.py SIGNAL PARENT ACCOUNT CAPABILITY PROGRAM [ARGUMENT …]

`SIGNAL` is sent to the program when `PARENT` dies, however it dies. `ACCOUNT` is a name to drop to, or `-`.
`CAPABILITY` is `-`, or `reach`: the account keeps root's passage through directories closed to it.
"""

import ctypes
import os
import sys

_PR_SET_PDEATHSIG = 1
_PR_SET_SECUREBITS = 28
_SECBIT_NO_SETUID_FIXUP = 1 << 2
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_RAISE = 2
_CAP_DAC_OVERRIDE = 1
_CAPABILITY_VERSION_3 = 0x20080522


def command(
    program: tuple[str, ...], death_signal: int, *, account: str | None = None, reach: bool = False
) -> tuple[str, ...]:
    """Return the argument list that runs the program as a child of the calling process."""
    here = (sys.executable, "-I", "-S", __file__)
    return (*here, str(int(death_signal)), str(os.getpid()), account or "-", "reach" if reach else "-", *program)


def main(argv: list[str]) -> None:
    """Prepare this process as the arguments say and become the program."""
    signal, parent, account, capability = int(argv[0]), int(argv[1]), argv[2], argv[3]
    program = argv[4:]
    if account != "-":
        _become(account, reach=capability == "reach")
    if sys.platform == "linux":
        # After the change of account: the kernel forgets the signal when credentials change.
        _prctl(_PR_SET_PDEATHSIG, signal)
        if os.getppid() != parent:
            sys.exit("the supervisor ended while this process started")
    os.execvp(program[0], program)  # noqa: S606 -- there is no shell, on purpose


def _become(account: str, *, reach: bool) -> None:
    import pwd  # noqa: PLC0415 -- most processes keep their account

    entry = pwd.getpwnam(account)
    os.setgroups([entry.pw_gid])
    os.setresgid(entry.pw_gid, entry.pw_gid, entry.pw_gid)
    if reach:
        # Without it, access(2), by which Postgres looks for its own files, would not count the capability.
        _prctl(_PR_SET_SECUREBITS, _SECBIT_NO_SETUID_FIXUP)
    os.setresuid(entry.pw_uid, entry.pw_uid, entry.pw_uid)
    if reach:
        _keep_only(_CAP_DAC_OVERRIDE)


def _keep_only(capability: int) -> None:
    """Hold one capability, inheritable over exec, and none besides."""
    bit = 1 << capability
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    data = (ctypes.c_uint32 * 6)(bit, bit, bit, 0, 0, 0)
    if _libc().capset(header, data) != 0:
        raise OSError(ctypes.get_errno(), "capset")
    _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, capability)


def _prctl(option: int, *arguments: int) -> None:
    words = [ctypes.c_ulong(word) for word in (*arguments, 0, 0, 0, 0)[:4]]
    if _libc().prctl(option, *words) != 0:
        raise OSError(ctypes.get_errno(), f"prctl {option}")


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except (OSError, KeyError) as exc:
        sys.exit(f"cannot start {sys.argv[5]}: {exc}")
