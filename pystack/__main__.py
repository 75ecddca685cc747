"""`python -m pystack` and the `pystack` command."""

from pystack.cli import main

__all__ = ["main"]

if __name__ == "__main__":
    main()
