"""The console entry point: names the extra to install where the command line's packages are absent."""

from __future__ import annotations

import sys


def main() -> int:
    try:
        from heterad.cli import run

        return run()
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package == "heterad":
            raise
        print(
            f"heterad: the command line needs {package}; install it with: pip install 'heterad[cli]'", file=sys.stderr
        )
        return 2
    except KeyboardInterrupt:  # while it was imported
        print("heterad: interrupted", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
