"""Training: configs and runs, objectives, optimizers, the step, the loop and its hooks.

`config.read_config` reads a config, `run.prepare_run` makes functions and data of it, and
`session.train` runs it in a working directory. It may import everything below: networks, data,
mesh, checkpoints, model directories and sampling (for sheets), and only `config` sees a ConfigDict.
"""
