"""A program's system calls, one after the other, with their arguments: Linux on x86-64, through ptrace.

What libraries in C do is seen too, such as SQLite's writes. Between the end of a call and the next step of
its thread the program stands still, so whatever follows from a call comes after it.
"""

from __future__ import annotations

import ctypes
import os
import platform
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

TRACEME, SYSCALL, GETREGS, SETOPTIONS = 0, 24, 12, 0x4200
OPTIONS = 1 | 2 | 4 | 8 | 0x100000
"""System calls are told apart from signals; forks and threads are watched; all end with who watches."""
ALL_CHILDREN = 0x40000000
SYSCALL_STOP = signal.SIGTRAP | 0x80
AT_FDCWD = -100


REGISTERS = (
    "r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax "
    "rip cs eflags rsp ss fs_base gs_base ds es fs gs"
)


class _Registers(ctypes.Structure):
    _fields_ = [(name, ctypes.c_ulonglong) for name in REGISTERS.split(" ")]


_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)
_libc.ptrace.restype = ctypes.c_long


@dataclass(slots=True)
class Call:
    """A system call of a thread that stands still."""

    thread: int
    number: int
    arguments: tuple[int, ...]
    result: int = 0

    @property
    def _proc(self) -> Path:
        return Path(f"/proc/{self.thread}")

    def memory(self, address: int, size: int) -> bytes:
        """Return bytes of the program."""
        with (self._proc / "mem").open("rb", buffering=0) as memory:
            memory.seek(address)
            return memory.read(size)

    def text(self, address: int) -> str:
        """Return text of the program that ends with a zero byte, such as a path."""
        found = b""
        while b"\0" not in found:
            found += self.memory(address + len(found), 256 - (address + len(found)) % 256)
        return os.fsdecode(found.partition(b"\0")[0])

    def path_of(self, descriptor: int) -> str:
        """Return the path of an open file as it is now; of a removed one, with a note of the kernel."""
        return str((self._proc / f"fd/{descriptor}").readlink())

    def path_at(self, address: int, folder: int = AT_FDCWD) -> str:
        """Return an argument that is a path, made absolute."""
        path, folder = self.text(address), ctypes.c_int(folder).value
        if path.startswith("/"):
            return os.path.normpath(path)
        base = (self._proc / "cwd").readlink() if folder == AT_FDCWD else self.path_of(folder)
        return os.path.normpath(f"{base}/{path}")

    def identity(self, descriptor: int) -> tuple[int, int]:
        """Return what tells an open file from others, whatever its name."""
        found = (self._proc / f"fd/{descriptor}").stat()
        return found.st_dev, found.st_ino

    def is_folder(self, descriptor: int) -> bool:
        """Return whether a descriptor is that of a folder."""
        return (self._proc / f"fd/{descriptor}").is_dir()

    def position(self, descriptor: int) -> int:
        """Return where the next byte of an open file is read or written."""
        with (self._proc / f"fdinfo/{descriptor}").open() as lines:
            return int(next(line for line in lines if line.startswith("pos:")).split()[1])


def why_not() -> str:
    """Return why programs cannot be watched here, empty when they can."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return "system calls are watched on Linux for x86-64 only"
    child = os.fork()
    if child == 0:
        os._exit(0 if _libc.ptrace(TRACEME, 0, None, None) == 0 else 1)
    return "" if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0 else "ptrace is not allowed here"


def watch(command: Sequence[str], begins: Callable[[Call], bool], ends: Callable[[Call], None]) -> int:
    """Run a program; return its exit code, negative for a signal.

    `begins` is told of each call before it is made, and kills the program when it returns False; `ends` of
    each that has been made, with its result.
    """
    child = os.fork()
    if child == 0:
        _libc.ptrace(TRACEME, 0, None, None)
        os.kill(os.getpid(), signal.SIGSTOP)
        os.execv(command[0], list(command))
    os.waitpid(child, 0)
    _libc.ptrace(SETOPTIONS, child, None, OPTIONS)
    _libc.ptrace(SYSCALL, child, None, None)
    inside: dict[int, Call] = {}
    while True:
        thread, status = os.waitpid(-1, ALL_CHILDREN)
        if not os.WIFSTOPPED(status):
            inside.pop(thread, None)
            if thread == child:
                return os.waitstatus_to_exitcode(status)
            continue
        number, passed_on = os.WSTOPSIG(status), 0
        if number == SYSCALL_STOP:
            registers = _Registers()
            _libc.ptrace(GETREGS, thread, None, ctypes.addressof(registers))
            call = inside.pop(thread, None)
            if call is not None:
                call.result = ctypes.c_longlong(registers.rax).value
                ends(call)
            else:
                call = inside[thread] = _call(thread, registers)
                if not begins(call):
                    os.kill(child, signal.SIGKILL)
        elif number not in (signal.SIGTRAP, signal.SIGSTOP):
            passed_on = number
        _libc.ptrace(SYSCALL, thread, None, passed_on)


def _call(thread: int, registers: _Registers) -> Call:
    named = (getattr(registers, name) for name in ("rdi", "rsi", "rdx", "r10", "r8"))
    arguments = tuple(ctypes.c_longlong(value).value for value in named)
    return Call(thread, ctypes.c_longlong(registers.orig_rax).value, arguments)
