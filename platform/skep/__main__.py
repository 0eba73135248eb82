"""`python -m skep`: the same as the console script `platform`."""

from skep.cli.main import main

if __name__ == "__main__":
    main()
