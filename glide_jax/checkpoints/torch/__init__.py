"""PyTorch's state-dict files without PyTorch: read, written, and their names and layouts.

The package may import NumPy and the ground floor.
"""
