"""`python -m comfysup` is the command `comfysup`."""

from comfysup.cli import main

main()
