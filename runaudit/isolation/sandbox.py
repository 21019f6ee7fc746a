"""The walls around a child process: no network, no privileges, bounded resources, death with its parent.

Every layer is the kernel's and needs no root. A layer that this kernel lacks is reported, never taken as given.
Sources: seccomp(2), prctl(2), landlock(7), setrlimit(2); research/security.md E for the choice.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import resource
import signal
import struct
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

PR_SET_PDEATHSIG: Final = 1
PR_SET_NO_NEW_PRIVS: Final = 38
PR_SET_SECCOMP: Final = 22
SECCOMP_MODE_FILTER: Final = 2
SECCOMP_RET_ALLOW: Final = 0x7FFF0000
SECCOMP_RET_ERRNO: Final = 0x00050000

FIRST_TO_KILL: Final = 1000
"""the highest oom_score_adj"""

# AUDIT_ARCH_*, then the numbers of the system calls that a child never needs: socket, ptrace,
# process_vm_readv, process_vm_writev, bpf, userfaultfd, io_uring_setup, mount, keyctl.
_SYSCALLS: Final = {
    "x86_64": (0xC000003E, 41, (101, 310, 311, 321, 323, 425, 165, 250)),
    "aarch64": (0xC00000B7, 198, (117, 270, 271, 280, 282, 425, 40, 219)),
}
_X32_BIT: Final = 0x40000000

LANDLOCK_CREATE_RULESET: Final = 444
LANDLOCK_ADD_RULE: Final = 445
LANDLOCK_RESTRICT_SELF: Final = 446
LANDLOCK_CREATE_RULESET_VERSION: Final = 1
# Rights that change the file system, by the ABI that brought them: write, remove and make; refer; truncate.
# Reading and executing are left alone.
_WRITE_RIGHTS_SINCE: Final = {1: (1 << 1) | sum(1 << bit for bit in range(4, 13)), 2: 1 << 13, 3: 1 << 14}
_RULE_PATH_BENEATH: Final = 1


class _Filter(ctypes.Structure):
    _fields_ = (
        ("code", ctypes.c_uint16),
        ("jt", ctypes.c_uint8),
        ("jf", ctypes.c_uint8),
        ("k", ctypes.c_uint32),
    )


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.POINTER(_Filter)))


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _is_linux() -> bool:
    # Through a call, since mypy takes sys.platform for a constant and would drop the other branch.
    return platform.system() == "Linux"


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when the thread that started it ends.

    Exits at once if `parent` (a pid) is gone already: the signal would then never come.
    """
    if _is_linux():
        _libc().prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(70)


def volunteer_to_be_killed() -> None:
    """Have the kernel choose this process first where memory runs out, and not the database or the worker.

    Raising one's own score needs no privilege (proc_pid_oom_score_adj(5)). Must come before `confine_writes`.
    """
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(FIRST_TO_KILL))


def limit_resources(*, memory_bytes: int | None, file_bytes: int, open_files: int = 4096) -> None:
    """Bound file size, open files and, unless None (CUDA reserves more than it uses), address space; no core dumps."""
    bounds = {resource.RLIMIT_CORE: 0, resource.RLIMIT_FSIZE: file_bytes, resource.RLIMIT_NOFILE: open_files}
    if memory_bytes is not None:
        bounds[resource.RLIMIT_AS] = memory_bytes
    for kind, bound in bounds.items():
        _, hard = resource.getrlimit(kind)
        value = bound if hard == resource.RLIM_INFINITY else min(bound, hard)
        resource.setrlimit(kind, (value, value))


def _statement(code: int, k: int, jt: int = 0, jf: int = 0) -> _Filter:
    return _Filter(code, jt, jf, k)


def _filter_program(machine: str, *, allow_unix_sockets: bool) -> list[_Filter]:
    """A classic BPF program: foreign architectures and listed calls are refused, sockets by their family."""
    load, jump_equal, jump_at_least, give = 0x20, 0x15, 0x35, 0x06
    architecture, socket, refused = _SYSCALLS[machine]
    deny = SECCOMP_RET_ERRNO | errno.EPERM
    no_network = SECCOMP_RET_ERRNO | errno.EACCES
    program = [
        _statement(load, 4),
        _statement(jump_equal, architecture, jt=1),
        _statement(give, deny),
        _statement(load, 0),
        _statement(jump_at_least, _X32_BIT, jf=1),
        _statement(give, deny),
    ]
    for number in refused:
        program += [_statement(jump_equal, number, jf=1), _statement(give, deny)]
    program += [
        _statement(jump_equal, socket, jt=1),
        _statement(give, SECCOMP_RET_ALLOW),
        _statement(load, 16),  # the low half of the first argument, the address family
    ]
    if allow_unix_sockets:
        program += [_statement(jump_equal, 1, jf=1), _statement(give, SECCOMP_RET_ALLOW)]
    return [*program, _statement(give, no_network)]


def block_network(*, allow_unix_sockets: bool) -> str:
    """Refuse internet sockets (all sockets, unless `allow_unix_sockets`) and calls that reach into other processes.

    Returns `blocked`, or why it could not be done.
    """
    machine = platform.machine()
    if not _is_linux() or machine not in _SYSCALLS:
        return f"not available on {platform.system()} {machine}"
    program = _filter_program(machine, allow_unix_sockets=allow_unix_sockets)
    filters = (_Filter * len(program))(*program)
    libc = _libc()
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        return f"no_new_privs refused: {os.strerror(ctypes.get_errno())}"
    argument = ctypes.byref(_Program(len(program), filters))
    if libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, argument, 0, 0) != 0:
        return f"seccomp refused: {os.strerror(ctypes.get_errno())}"
    return "blocked"


def confine_writes(folders: Iterable[Path]) -> str:
    """Let this process change files only below `folders` (and devices), by Landlock.

    Returns `confined`, or why it could not be done.
    """
    if not _is_linux():
        return f"not available on {platform.system()}"
    libc = _libc()
    abi = libc.syscall(LANDLOCK_CREATE_RULESET, None, ctypes.c_size_t(0), LANDLOCK_CREATE_RULESET_VERSION)
    rights = sum(bits for since, bits in _WRITE_RIGHTS_SINCE.items() if since <= abi)
    attributes = ctypes.create_string_buffer(struct.pack("=Q", rights))
    ruleset = libc.syscall(LANDLOCK_CREATE_RULESET, attributes, ctypes.c_size_t(8), 0)
    if ruleset < 0:
        return f"landlock refused: {os.strerror(ctypes.get_errno())}"
    try:
        for folder in (*folders, Path("/dev")):
            descriptor = os.open(folder, os.O_PATH | os.O_CLOEXEC)
            try:
                rule = ctypes.create_string_buffer(struct.pack("=Qi", rights, descriptor))
                if libc.syscall(LANDLOCK_ADD_RULE, ruleset, _RULE_PATH_BENEATH, rule, 0) != 0:
                    return f"landlock rule refused: {os.strerror(ctypes.get_errno())}"
            finally:
                os.close(descriptor)
        if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
            return f"no_new_privs refused: {os.strerror(ctypes.get_errno())}"
        if libc.syscall(LANDLOCK_RESTRICT_SELF, ruleset, 0) != 0:
            return f"landlock refused: {os.strerror(ctypes.get_errno())}"
    finally:
        os.close(ruleset)
    return "confined"


def active_layers() -> dict[str, str]:
    """What the walls do on this machine, layer -> `blocked`, `confined`, or why not; tried out in a forked child."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        layers = f"{block_network(allow_unix_sockets=False)}\n{confine_writes([])}"
        os.write(writing, layers.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as stream:
        network, _, writes = stream.read().partition("\n")
    os.waitpid(child, 0)
    return {"network": network or "unknown", "writes": writes or "unknown"}
