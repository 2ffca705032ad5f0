"""Sources that are read in place: folders, tars, Parquet, COCO, built sets and drawn scenes.

Each is a `Source` of `data.example`, opened by name through `data.catalogue`.
They import `data.example`, the ground floor and NumPy; PyArrow and TFDS only when first needed.
"""
