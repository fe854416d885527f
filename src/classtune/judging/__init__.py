"""How good a classifier is: metrics with intervals, paired tests, the comparison. Knows arrays, not models."""
