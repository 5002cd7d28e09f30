"""``python -m meteoseg`` is the command line."""

from meteoseg.cli import main

if __name__ == "__main__":
    main()
