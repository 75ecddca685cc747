"""`python -m pystack.launched`: the command, as launcher/pystack_ptrace.c starts it.

It arrives with CAP_SYS_PTRACE in the inheritable and ambient sets, which every program that it starts would
inherit. So they are emptied before anything else is imported: only this process has the capability.
"""

import ctypes
import os
import sys

_VERSION_3 = 0x20080522  # _LINUX_CAPABILITY_VERSION_3
_WORDS = 6  # effective, permitted and inheritable of capabilities 0 to 31, then those of 32 to 63
_INHERITABLE = (2, 5)


def keep_capabilities_here() -> None:
    """Empties the inheritable and ambient sets of this process. Raises OSError if the kernel refuses."""
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(_VERSION_3, 0)
    sets = (ctypes.c_uint32 * _WORDS)()
    if libc.capget(header, sets) == 0:
        for word in _INHERITABLE:
            sets[word] = 0
        # A capability that is not inheritable leaves the ambient set, too.
        if libc.capset(header, sets) == 0:
            return
    number = ctypes.get_errno()
    raise OSError(number, f"cannot limit the capabilities: {os.strerror(number)}")


if __name__ == "__main__":
    keep_capabilities_here()
    from pystack.__main__ import command

    sys.exit(command())
