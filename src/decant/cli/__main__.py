"""``python -m decant.cli``: the same command, by this interpreter."""

from . import main

__all__: list[str] = []

main()
