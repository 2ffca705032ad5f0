"""One program over many devices and many hosts.

`partition` maps the paths of parameters to their places on a mesh; `hosts` starts JAX on several
hosts and lets them agree, wait and stop together. They import only the ground modules.
"""
