"""The group of commands: options that take several values, errors of one line, exit codes."""

from __future__ import annotations

import atexit
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import click

from meteoseg.errors import MeteosegError
from meteoseg.system.diskspace import is_disk_full
from meteoseg.system.memory import is_memory_short, memory_text

#: Options whose values have no equals sign, and that take several where the argument of the command came first.
_MANY_AFTER_ARGUMENT = ("--mask", "--use", "--elements", "--to")

#: Exit code after Ctrl-C: 128 and the number of the signal.
_INTERRUPTED = 130


def _marked(text: str | None) -> str | None:
    r"""Make the sign that keeps lines apart of the ``\b`` that raw docstrings hold."""
    return text.replace("\\b\n", "\b\n") if text else text


class _ManyValues(click.Command):
    """A command whose repeated options also take several values at once: ``--channels Fe=a.tif Mg=b.tif``."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **(settings | {"help": _marked(settings.get("help"))}))

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        repeated = {name for param in self.params if getattr(param, "multiple", False) for name in param.opts}
        argument_first = bool(args) and not args[0].startswith("-")
        expanded: list[str] = []
        option, n_values = "", 0
        for arg in args:
            if arg.startswith("-"):
                option, n_values = (arg if arg in repeated else ""), 0
            elif option:
                if n_values and ("=" in arg or (option in _MANY_AFTER_ARGUMENT and argument_first)):
                    expanded.append(option)
                n_values += 1
            expanded.append(arg)
        return super().parse_args(ctx, expanded)


class CommandGroup(click.Group):
    """Commands whose errors are one line and an exit code."""

    command_class = _ManyValues

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **(settings | {"help": _marked(settings.get("help"))}))

    def main(self, args: Sequence[str] | None = None, prog_name: str | None = None, **extra: Any) -> Any:  # type: ignore[override]
        """Run a command; what a user can mend is one line on stderr and exit code 2."""
        extra.pop("standalone_mode", None)
        is_real = args is None
        if is_real:  # the real command line: being terminated cleans up as Ctrl-C does
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        code = self._run(args, prog_name, extra)
        if is_real:  # all is done or cleaned up: Ctrl-C while Python ends is no error
            signal.signal(signal.SIGINT, signal.SIG_DFL)
        if is_real and code == _INTERRUPTED:
            _leave_at_once(code)
        sys.exit(code)

    def _run(self, args: Sequence[str] | None, prog_name: str | None, extra: dict[str, Any]) -> int:
        """Run a command and return the exit code."""
        try:
            code = super().main(args, prog_name, standalone_mode=False, **extra)
        except (click.Abort, KeyboardInterrupt):
            click.echo("meteoseg: interrupted", err=True)
            return _INTERRUPTED
        except click.exceptions.NoArgsIsHelpError as error:
            click.echo(error.format_message())
            return 2
        except click.MissingParameter as error:
            return _failed(_missing_text(error))
        except click.ClickException as error:
            return _failed(f"{error.format_message()}{_see(error)}")
        except MeteosegError as error:
            return _failed(str(error))
        except (MemoryError, OSError, RuntimeError, ImportError, SystemError) as error:
            if is_memory_short(error):
                return _failed(memory_text())
            if not isinstance(error, OSError):
                raise
            return _failed(_system_text(error))
        return code if isinstance(code, int) else 0


def _leave_at_once(code: int) -> NoReturn:
    """End without waiting for threads, which may hang where a disk does not answer.

    Python would also end itself by the signal, not with the code, where Ctrl-C came during certain imports.
    """
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _missing_text(error: click.MissingParameter) -> str:
    """Say which argument or option is missing, what it is, and where to read about it."""
    message, param = error.format_message().rstrip("."), error.param
    if isinstance(param, click.Option):
        message += f": add {param.opts[-1]} {param.metavar or 'VALUE'}. {param.help}"
    return f"{message.rstrip('.')}.{_see(error)}"


def _see(error: click.ClickException) -> str:
    """Say where the command is explained."""
    ctx = error.ctx if isinstance(error, click.UsageError) else None
    return f" See {ctx.command_path} --help." if ctx else ""


#: What to do about errors of the system; others speak for themselves.
_REMEDIES: dict[type[OSError], str] = {
    FileNotFoundError: "check its name and folder",
    IsADirectoryError: "give a file, not a folder",
    NotADirectoryError: "give a folder, not a file",
    FileExistsError: "give another name, or move what is there",
    PermissionError: "change its permissions, or give another file or folder",
}


def _system_text(error: OSError) -> str:
    text = f"{error.strerror or error}: {error.filename}" if error.filename else str(error)
    if is_disk_full(error):
        return f"{text}. Free some space and run it again."
    remedy = _REMEDIES.get(type(error))
    return f"{text}: {remedy}." if remedy and error.filename else text


def _failed(message: str) -> int:
    click.echo(f"meteoseg: error: {' '.join(message.split())}", err=True)
    return 2
