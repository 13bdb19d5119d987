"""`python -m rls`: the command line, for where the `rls` script is not on the path."""

from rls.cli import main

if __name__ == "__main__":
    main()
