"""Numbers about sets of pictures, computed from features on the host in float64.

It imports numpy, scipy and the ground floor only. docs/evaluation.md says which published
convention each metric follows.
"""
