"""`python -m glide_jax` is `glide-jax`."""

from glide_jax.cli.main import main

main()
