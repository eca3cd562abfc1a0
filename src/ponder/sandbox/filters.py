"""The seccomp filters of the sandbox: a list of system calls that are allowed; every other one fails with EPERM.

Allowed is what Python needs to compute, use threads and touch files (Landlock decides which). Not on the list, so
denied: exec, fork, sockets, ptrace and reading of other processes, namespaces, mounts, keys, bpf, io_uring. `clone`
passes only for threads, `kill` and `tgkill` only for the process itself. `clone3` answers ENOSYS, so that the C library
falls back to `clone`, whose flags a filter can read. Compilers and commands in a cell fork and execute, so for them there
is a list of what is forbidden (`deny`): the cell bounds them. Standard library only: the worker loads it.
"""

from __future__ import annotations

import errno
import platform
import struct

Instruction = tuple[int, int, int, int]
LOAD, EQUAL, AT_LEAST, ANY_BIT, MASK, JUMP, RETURN = 0x20, 0x15, 0x35, 0x45, 0x54, 0x05, 0x06
ALLOW, KILL, FAIL = 0x7FFF0000, 0x80000000, 0x00050000
_ALLOWED: Instruction = (RETURN, 0, 0, ALLOW)
_REFUSED: Instruction = (RETURN, 0, 0, FAIL | errno.EPERM)
CLONE_THREAD = 0x00010000
SELF = 0x7EAD5E1F  # stands for the process until `bind` puts its number there
_IOCTLS = (
    0x5401,
    0x5413,
    0x5421,
    0x5450,
    0x5451,
    0x541B,
)  # terminal? its size, non-blocking, close on exec, bytes left
_FCNTLS = (*range(8), 36, 37, 38, 1030, 1032)  # copies, flags, locks, a pipe's size; no owner, who would get signals
_PRCTLS = (15, 0x53564D41)  # the names of threads and of memory

# name: number on x86_64, number on aarch64 (None: it does not exist there)
_PLAIN: dict[str, tuple[int | None, int | None]] = {
    "read": (0, 63), "write": (1, 64), "close": (3, 57), "stat": (4, None), "fstat": (5, 80), "lstat": (6, None),
    "poll": (7, None), "lseek": (8, 62), "mmap": (9, 222), "mprotect": (10, 226), "munmap": (11, 215), "brk": (12, 214),
    "rt_sigaction": (13, 134), "rt_sigprocmask": (14, 135), "rt_sigreturn": (15, 139), "pread64": (17, 67),
    "pwrite64": (18, 68), "readv": (19, 65), "writev": (20, 66), "access": (21, None), "pipe": (22, None),
    "select": (23, None), "sched_yield": (24, 124), "mremap": (25, 216), "msync": (26, 227), "mincore": (27, 232),
    "madvise": (28, 233), "dup": (32, 23), "dup2": (33, None), "pause": (34, None), "nanosleep": (35, 101),
    "getitimer": (36, 102), "alarm": (37, None), "setitimer": (38, 103), "getpid": (39, 172), "sendfile": (40, 71),
    "recvfrom": (45, 207), "exit": (60, 93), "wait4": (61, 260), "uname": (63, 160),
    "flock": (73, 32), "fsync": (74, 82), "fdatasync": (75, 83), "ftruncate": (77, 46),
    "getdents": (78, None), "getcwd": (79, 17), "chdir": (80, 49), "fchdir": (81, 50), "rename": (82, None),
    "mkdir": (83, None), "rmdir": (84, None), "creat": (85, None), "unlink": (87, None), "readlink": (89, None),
    "umask": (95, 166), "gettimeofday": (96, 169), "getrlimit": (97, 163), "getrusage": (98, 165), "sysinfo": (99, 179),
    "times": (100, 153), "getuid": (102, 174), "getgid": (104, 176), "geteuid": (107, 175), "getegid": (108, 177),
    "getppid": (110, 173), "getpgrp": (111, None), "getgroups": (115, 158), "rt_sigpending": (127, 136),
    "rt_sigtimedwait": (128, 137), "rt_sigsuspend": (130, 133), "sigaltstack": (131, 132), "statfs": (137, 43),
    "fstatfs": (138, 44), "arch_prctl": (158, None), "gettid": (186, 178), "time": (201, None), "futex": (202, 98),
    "sched_getaffinity": (204, 123), "getdents64": (217, 61), "set_tid_address": (218, 96), "fadvise64": (221, 223),
    "clock_gettime": (228, 113), "clock_getres": (229, 114), "clock_nanosleep": (230, 115), "exit_group": (231, 94),
    "epoll_wait": (232, None), "epoll_ctl": (233, 21), "waitid": (247, 95), "openat": (257, 56), "open": (2, None),
    "mkdirat": (258, 34), "newfstatat": (262, 79), "unlinkat": (263, 35), "renameat": (264, 38),
    "readlinkat": (267, 78), "faccessat": (269, 48), "pselect6": (270, 72), "ppoll": (271, 73),
    "set_robust_list": (273, 99), "epoll_pwait": (281, 22), "eventfd2": (290, 19),
    "epoll_create1": (291, 20), "dup3": (292, 24), "pipe2": (293, 59), "getcpu": (309, 168), "renameat2": (316, 276),
    "getrandom": (318, 278), "membarrier": (324, 283), "copy_file_range": (326, 285), "statx": (332, 291),
    "rseq": (334, 293), "close_range": (436, 436), "faccessat2": (439, 439),
}  # fmt: skip
_CHECKED = {
    "kill": (62, 129), "tgkill": (234, 131), "clone": (56, 220), "clone3": (435, 435), "ioctl": (16, 29),
    "prctl": (157, 167), "prlimit64": (302, 261), "socketpair": (53, 199), "sendto": (44, 206),
    "fcntl": (72, 25),
}  # fmt: skip
_DENIED: dict[str, tuple[int | None, int | None]] = {
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "kcmp": (312, 272),
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51), "unshare": (272, 97),
    "setns": (308, 268), "open_tree": (428, 428), "move_mount": (429, 429), "fsopen": (430, 430),
    "fsconfig": (431, 431), "fsmount": (432, 432), "fspick": (433, 433), "mount_setattr": (442, 442),
    "keyctl": (250, 219), "add_key": (248, 217), "request_key": (249, 218), "bpf": (321, 280),
    "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
    "perf_event_open": (298, 241), "userfaultfd": (323, 282), "kexec_load": (246, 104), "kexec_file_load": (320, 294),
    "init_module": (175, 105), "finit_module": (313, 273), "delete_module": (176, 106), "reboot": (169, 142),
    "swapon": (167, 224), "swapoff": (168, 225), "syslog": (103, 116), "acct": (163, 89), "quotactl": (179, 60),
    "settimeofday": (164, 170), "clock_settime": (227, 112), "adjtimex": (159, 171), "clock_adjtime": (305, 266),
    "sethostname": (170, 161), "setdomainname": (171, 162), "pidfd_getfd": (438, 438), "pidfd_send_signal": (424, 424),
    "name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265), "iopl": (172, None), "ioperm": (173, None),
    "modify_ldt": (154, None), "personality": (135, 92), "memfd_create": (319, 279), "memfd_secret": (447, 447),
    "shmget": (29, 194), "msgget": (68, 186), "semget": (64, 190), "mq_open": (240, 180), "socket": (41, 198),
    "setpriority": (141, 140), "sched_setaffinity": (203, 122), "sched_setscheduler": (144, 119),
    "sched_setparam": (142, 118), "sched_setattr": (314, 274), "ioprio_set": (251, 30), "migrate_pages": (256, 238),
    "move_pages": (279, 239), "process_madvise": (440, 440), "pidfd_open": (434, 434),
}  # fmt: skip
_EXECVEAT = (322, 281)
NAMESPACES = 0x7E020000
_X32 = 0x40000000
_MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7), "arm64": (1, 0xC00000B7)}


def bind(program: bytes | None, pid: int) -> bytes | None:
    """The filter for the process `pid`."""
    return None if program is None else program.replace(struct.pack("=I", SELF), struct.pack("=I", pid))


def build(pid: int = SELF, machine: str = "", become: bool = False) -> bytes | None:
    """The filter for the process `pid` as the kernel reads it; None for a machine whose numbers are not known here.

    With `become` a process may execute a file that it holds open, in its own place."""
    column, architecture = _MACHINES.get(machine or platform.machine(), (-1, 0))
    if column < 0:
        return None
    blocks = {number: [_ALLOWED] for row in _PLAIN.values() if (number := row[column]) is not None}
    blocks |= {row[column]: _check(name, pid) for name, row in _CHECKED.items()}
    if become:  # only by descriptor: AT_EMPTY_PATH
        blocks[_EXECVEAT[column]] = [_low(4), (EQUAL, 0, 1, 0x1000), _ALLOWED, _REFUSED]
    return _assemble(architecture, blocks, _REFUSED)


def deny(machine: str = "") -> bytes | None:
    """The filter for compilers and commands: everything but what is listed here; None as for `build`."""
    column, architecture = _MACHINES.get(machine or platform.machine(), (-1, 0))
    if column < 0:
        return None
    blocks = {number: [_REFUSED] for row in _DENIED.values() if (number := row[column]) is not None}
    checks = {name: _check(name, 0) for name in ("clone3", "socketpair")}
    checks["clone"] = [_low(0), (ANY_BIT, 1, 0, NAMESPACES), _ALLOWED, _REFUSED]
    checks["prlimit64"] = _one_of(0, (0,))  # its own limits only, and these only down
    typing = [(EQUAL, 2, 0, 0x5412), (EQUAL, 1, 0, 0x541C)]  # at a terminal, for others
    checks["ioctl"] = [_low(1), *typing, _ALLOWED, _REFUSED]
    blocks |= {_CHECKED[name][column]: block for name, block in checks.items()}
    return _assemble(architecture, blocks, _ALLOWED)


def _assemble(architecture: int, blocks: dict[int, list[Instruction]], other: Instruction) -> bytes:
    """A filter that goes to the block of a call's number, else to `other`.

    Another machine's calls end the process, and the x32 numbers are refused. The kernel runs a filter over all numbers
    when it is loaded, for every sample anew: so the numbers are searched by halves and not one by one."""
    cases: list[tuple[int, list[Instruction]]] = []
    for number in (*range(max(blocks) + 2), _X32):
        block = [_REFUSED] if number == _X32 else blocks.get(number, [other])
        if not cases or cases[-1][1] != block:
            cases.append((number, block))
    code: list[Instruction] = [(LOAD, 0, 0, 4), (EQUAL, 1, 0, architecture), (RETURN, 0, 0, KILL), (LOAD, 0, 0, 0)]
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in code + _halves(cases))


def _halves(cases: list[tuple[int, list[Instruction]]]) -> list[Instruction]:
    """The instructions for cases in order, each given by the first number it is for."""
    if len(cases) == 1:
        return cases[0][1]
    middle = len(cases) // 2
    low, high = _halves(cases[:middle]), _halves(cases[middle:])
    if len(low) < 256:
        return [(AT_LEAST, len(low), 0, cases[middle][0]), *low, *high]
    return [(AT_LEAST, 0, 1, cases[middle][0]), (JUMP, 0, 0, len(low)), *low, *high]


def _check(name: str, pid: int) -> list[Instruction]:
    """What follows when the call is `name`; always ends in a return."""
    if name == "clone3":
        return [(RETURN, 0, 0, FAIL | errno.ENOSYS)]
    if name in ("kill", "tgkill"):
        return _one_of(0, (pid,))
    if name == "clone":
        return [_low(0), (ANY_BIT, 0, 1, CLONE_THREAD), _ALLOWED, _REFUSED]
    if name == "ioctl":
        return _one_of(1, _IOCTLS)
    if name == "fcntl":
        return _one_of(1, _FCNTLS)
    if name == "prctl":
        return _one_of(0, _PRCTLS)
    if name == "socketpair":  # AF_UNIX streams only: they lead nowhere, and asyncio wakes itself by one
        return [_low(0), (EQUAL, 0, 4, 1), _low(1), (MASK, 0, 0, 0xFF), (EQUAL, 0, 1, 1), _ALLOWED, _REFUSED]
    argument = 2 if name == "prlimit64" else 4  # no new limits; no address
    return [_low(argument), (EQUAL, 0, 3, 0), _high(argument), (EQUAL, 0, 1, 0), _ALLOWED, _REFUSED]


def _one_of(argument: int, values: tuple[int, ...]) -> list[Instruction]:
    code = [_low(argument)]
    for value in values:
        code += [(EQUAL, 0, 1, value), _ALLOWED]
    return [*code, _REFUSED]


def _low(argument: int) -> Instruction:
    return (LOAD, 0, 0, 16 + 8 * argument)


def _high(argument: int) -> Instruction:
    return (LOAD, 0, 0, 20 + 8 * argument)
