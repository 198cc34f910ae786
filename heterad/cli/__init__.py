"""The command line: a file for each command, which parses, calls and prints."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence

import tyro

import heterad
from heterad.cli import demo, fit, info, plot, report, reproduce, score
from heterad.cli.options import as_typed

COMMANDS: dict[str, Callable[..., None]] = {
    "demo": demo.demo,
    "fit": fit.fit,
    "score": score.score,
    "reproduce": reproduce.reproduce,
    "report": report.report,
    "plot": plot.plot,
    "info": info.info,
}


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command of the given arguments (those of the process if None).

    Returns:
        The exit code: 0, 2 after an error that was the user's to make, told in one line, or 141, as shells say it, if
        whoever reads the output has closed it, as ``head`` does.

    Raises:
        SystemExit: the arguments cannot be parsed, or ask for help.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if arguments == ["--version"]:
        print(f"heterad {heterad.__version__}")
        return 0
    try:
        tyro.extras.subcommand_cli_from_dict(
            COMMANDS,
            prog="heterad",
            description="Find anomalies when they are heterogeneous and labels are few. --version prints the version.",
            args=arguments or ["--help"],
        )
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what is flushed at exit
        return 141
    except OSError as error:
        about = f"{error.filename}: {error.strerror}" if error.filename is not None else str(error)
        return _complain(about)
    except ModuleNotFoundError:  # of the command line's own packages: told by ``__main__``
        raise
    except (ValueError, ImportError) as error:
        return _complain(as_typed(COMMANDS[arguments[0]], str(error), arguments))
    except KeyboardInterrupt as interrupt:
        return _complain(str(interrupt) or "interrupted; no file was left half written")
    return 0


def _complain(about: str) -> int:
    print("heterad:", " ".join(about.split()), file=sys.stderr)
    return 2
