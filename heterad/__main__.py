"""The console entry point: names the extra to install where the command line's packages are absent."""

from __future__ import annotations

import sys


def main() -> int:
    try:
        from heterad.cli import run
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "heterad":
            raise
        print(f"heterad: the command line needs {error.name}; install it with: pip install 'heterad[cli]'", file=sys.stderr)
        return 1
    return run()


if __name__ == "__main__":
    sys.exit(main())
