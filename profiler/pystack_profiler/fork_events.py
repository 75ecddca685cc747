"""Waits for forks of certain processes, as far as the kernel tells of them.

The kernel's process connector (CONFIG_PROC_EVENTS) sends a message for each fork of the machine. It
stops and slows no process, but only root of the machine's own namespaces may listen (CAP_NET_ADMIN). For
everybody else, waiting is all that happens here.
"""

from __future__ import annotations

import ctypes
import errno
import os
import select
import socket
import struct
import sys
import time
from collections.abc import Container
from contextlib import suppress

_NETLINK_CONNECTOR = 11
_CN_IDX_PROC = _CN_VAL_PROC = 1
_PROC_CN_MCAST_LISTEN = 1
_PROC_EVENT_FORK = 1
_NLMSG_DONE = 3
_SO_ATTACH_FILTER = 26

#: Offsets in a message: struct nlmsghdr, struct cn_msg, then struct proc_event [linux/cn_proc.h].
_WHAT, _PARENT_TGID, _CHILD_PID, _CHILD_TGID = 36, 56, 60, 64
_MESSAGE_BYTES = 76

#: A machine can fork more often than anyone can look: messages come together, this often at most.
_GATHER_S = 0.001
_MOST_AT_ONCE = 256


class ForkEvents:
    """Wakes up early when a process forks."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        with suppress(OSError):
            self._socket = _listen()

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()

    def wait(self, timeout_s: float, parents: Container[int]) -> None:
        """Waits until one of `parents` has forked, or the time is over."""
        end_s = time.monotonic() + timeout_s
        while (left_s := end_s - time.monotonic()) > 0:
            if self._socket is None:
                time.sleep(left_s)
                return
            if not select.select([self._socket], [], [], left_s)[0]:
                return
            if self._has_fork_of(self._socket, parents):
                return
            time.sleep(min(_GATHER_S, left_s))

    def _has_fork_of(self, source: socket.socket, parents: Container[int]) -> bool:
        """Takes the messages that have come."""
        has_fork = False
        for _ in range(_MOST_AT_ONCE):
            try:
                message, sender = source.recvfrom(_MESSAGE_BYTES, socket.MSG_DONTWAIT)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != errno.ENOBUFS:  # Some were lost, which may have been ours.
                    self.close()
                    self._socket = None
                return True
            is_kernel = sender[0] == 0
            if is_kernel and len(message) == _MESSAGE_BYTES:
                has_fork |= struct.unpack_from("=I", message, _PARENT_TGID)[0] in parents
        return has_fork


def _listen() -> socket.socket:
    """A socket that receives forks. Raises OSError where that is not allowed."""
    source = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, _NETLINK_CONNECTOR)
    try:
        _attach_filter(source)
        source.bind((0, _CN_IDX_PROC))
        body = struct.pack("=I", _PROC_CN_MCAST_LISTEN)
        request = struct.pack("=IIIIHH", _CN_IDX_PROC, _CN_VAL_PROC, 0, 0, len(body), 0) + body
        header = struct.pack("=IHHII", 16 + len(request), _NLMSG_DONE, 0, 0, os.getpid())
        source.send(header + request)
    except BaseException:
        source.close()
        raise
    return source


def _attach_filter(source: socket.socket) -> None:
    """Lets only new processes through: threads and everything else would wake us for nothing."""
    load, jump_if_equal, jump_if_equal_x, copy_to_x, give = 0x20, 0x15, 0x1D, 0x07, 0x06
    # Words are loaded as big-endian numbers.
    fork = int.from_bytes(_PROC_EVENT_FORK.to_bytes(4, sys.byteorder), "big")
    program = (
        (load, 0, 0, _WHAT),
        (jump_if_equal, 0, 5, fork),
        (load, 0, 0, _CHILD_PID),
        (copy_to_x, 0, 0, 0),
        (load, 0, 0, _CHILD_TGID),
        (jump_if_equal_x, 0, 1, 0),
        (give, 0, 0, 0xFFFF),
        (give, 0, 0, 0),
    )
    code = b"".join(struct.pack("=HBBI", *one) for one in program)
    buffer = ctypes.create_string_buffer(code, len(code))
    described = struct.pack("@HP", len(program), ctypes.addressof(buffer))
    source.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, described)
