"""Waits in the kernel for a child that waits to open a FIFO before it runs its program.

    vfork.py FACTS_FILE

The FIFO is in the folder of the facts.
"""

import ctypes
import os
import sys

fifo = os.path.join(os.path.dirname(os.path.abspath(sys.argv[1])), "fifo")
os.mkfifo(fifo)
libc = ctypes.CDLL(None)
actions = ctypes.create_string_buffer(1024)
libc.posix_spawn_file_actions_init(actions)
libc.posix_spawn_file_actions_addopen(actions, 0, fifo.encode(), os.O_RDONLY, 0)
arguments = (ctypes.c_char_p * 3)(b"true", None)
libc.posix_spawnp(None, b"true", actions, None, arguments, arguments)
