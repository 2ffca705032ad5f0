"""Captioned pictures from files to NumPy batches; JAX, networks and diffusion are never imported.

`readers` open sources in place, `recipes` build sets once, and `catalogue` finds either by name.
`loader` crops (`transforms`), erases (`masks`) and tokenizes their examples into batches.
"""
