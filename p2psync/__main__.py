"""``python -m p2psync`` is the command line."""

from p2psync.cli.main import main

if __name__ == "__main__":
    main()
