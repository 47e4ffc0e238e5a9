"""``python -m vaekit`` is the command ``vae``."""

from vaekit.cli import main

main()
