"""One program over many devices and many hosts.

`partition` maps the paths of parameters to their places on a mesh; `hosts` starts JAX on several
hosts and lets them agree, wait and stop together. It may import the ground modules and `data`'s
neighbours below it, but neither networks nor diffusion.
"""
