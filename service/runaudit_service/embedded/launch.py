"""The step between fork and exec: ties a process to its parent's life, and gives up root where it must.

Run by its path with the standard library only (`python -I -S launch.py OPTIONS -- COMMAND`), so that starting a part
costs milliseconds and needs no code between fork and exec in a process that may have threads.

Why capabilities: PostgreSQL refuses to run as root, but a virtual environment or a clone below /root can't be reached
by any other account. Instead of changing the modes of a person's folders, the new account keeps the one capability to
read and traverse (capabilities(7), CAP_DAC_READ_SEARCH), as an ambient capability, so that it survives exec.
SECBIT_NO_SETUID_FIXUP matters: access(2), by which postgres looks for its own files, ignores capabilities without it.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
PR_SET_SECUREBITS = 28
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
SECBIT_NO_SETUID_FIXUP = 1 << 2
CAP_DAC_OVERRIDE = 1
CAP_DAC_READ_SEARCH = 2
LINUX_CAPABILITY_VERSION_3 = 0x20080522


class _CapabilityHeader(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]


class _CapabilityData(ctypes.Structure):
    _fields_ = [("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32)]


_libc = ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: str) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")


def _prctl(option: int, *arguments: int) -> None:
    padded = [*arguments, 0, 0, 0, 0][:4]
    _checked(_libc.prctl(option, *(ctypes.c_ulong(argument) for argument in padded)), f"prctl {option}")


def _permitted() -> int:
    header = _CapabilityHeader(LINUX_CAPABILITY_VERSION_3, 0)
    data = (_CapabilityData * 2)()
    _checked(_libc.capget(ctypes.byref(header), data), "capget")
    return int(data[0].permitted)


def _keep_only(capability: int | None) -> None:
    """Drops every capability of this process but `capability`, and makes that one survive exec."""
    header = _CapabilityHeader(LINUX_CAPABILITY_VERSION_3, 0)
    data = (_CapabilityData * 2)()
    if capability is not None:
        data[0].effective = data[0].permitted = data[0].inheritable = 1 << capability
    _checked(_libc.capset(ctypes.byref(header), data), "capset")
    if capability is not None:
        _prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability)


def _reachable_as(uid: int, gid: int, paths: list[str]) -> bool:
    """Whether an account without capabilities can read all of `paths`; asked in a throw-away child."""
    child = os.fork()
    if child == 0:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
        os._exit(0 if all(os.access(path, os.R_OK) for path in paths) else 1)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status) == 0


def become(uid: int, gid: int, paths: list[str]) -> None:
    """Gives up root for `uid`; keeps the right to read and traverse only if `paths` can't be reached without it.

    Containers often lack CAP_DAC_READ_SEARCH but have CAP_DAC_OVERRIDE: the first of the two that is there is kept.
    """
    if sys.platform != "linux" or _reachable_as(uid, gid, paths):
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
        return
    permitted = _permitted()
    kept = next((one for one in (CAP_DAC_READ_SEARCH, CAP_DAC_OVERRIDE) if permitted & (1 << one)), None)
    if kept is None:
        raise PermissionError("account can't reach " + ", ".join(paths) + " and no capability is there to help it")
    _prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP)
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)
    _keep_only(kept)


def follow_parent(parent: int, death_signal: int) -> None:
    """Has the kernel send `death_signal` when the parent's thread that started this process ends (Linux only).

    Must come after any change of account, which would clear it.
    """
    if sys.platform == "linux":
        _prctl(PR_SET_PDEATHSIG, death_signal)
    if os.getppid() != parent:
        raise ProcessLookupError("the parent ended before its child was started")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--death-signal", type=int, default=int(signal.SIGKILL))
    parser.add_argument("--uid", type=int)
    parser.add_argument("--gid", type=int)
    parser.add_argument("--reach", action="append", default=[], help="a path that the account must be able to read")
    parser.add_argument("command", nargs="+")
    options = parser.parse_args()
    if options.uid is not None:
        become(options.uid, options.gid, options.reach)
    follow_parent(options.parent, options.death_signal)
    os.execv(options.command[0], options.command)  # noqa: S606  # the whole point of this file


if __name__ == "__main__":
    main()
