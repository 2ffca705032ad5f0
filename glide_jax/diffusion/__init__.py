"""The maths of diffusion: schedules, samplers and solvers, guidance, losses.

Everything is a function of arrays, with parameters and random keys as arguments. May import jax,
numpy and the ground floor (types, errors, checks); no flax, no networks, no config.
"""
