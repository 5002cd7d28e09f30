"""``meteoseg`` and ``python -m meteoseg`` are the command line."""

import sys


def main() -> None:
    """Run the command line; Ctrl-C ends it without a traceback even while it loads."""
    try:
        from meteoseg.cli import main as run
    except KeyboardInterrupt:
        sys.exit(130)
    run()


if __name__ == "__main__":
    main()
