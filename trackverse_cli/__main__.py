"""`python -m trackverse_cli` is the console script `trackverse`."""

from trackverse_cli.app import main

if __name__ == "__main__":
    main()
