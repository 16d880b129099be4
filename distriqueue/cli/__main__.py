"""`python -m distriqueue.cli` is `distriqueue`."""

from distriqueue.cli import main

if __name__ == "__main__":
    main()
