"""The C library of this process."""

import os


def libc_version():
    """`glibc 2.36`, or `musl`, which does not say its version; None: not known."""
    try:
        return os.confstr("CS_GNU_LIBC_VERSION")
    except OSError:
        return "musl"
    except ValueError:  # Where the name is not known.
        return None
