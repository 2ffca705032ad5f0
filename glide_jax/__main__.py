"""`python -m glide_jax` is `glide-jax`."""

from glide_jax.cli.process import main

main()
