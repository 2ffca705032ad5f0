"""Numbers about sets of pictures, computed from features on the host in float64.

It imports numpy, scipy and the ground floor only. docs/evaluation.md lists the published
convention of each metric.
"""
