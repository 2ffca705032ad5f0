"""The command line: thin shells around the package; only they print and read the environment."""
