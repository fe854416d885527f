"""How good a classifier is: metrics with intervals, the baseline beside it, the verdict, plots and the report.

Knows arrays, not models: probabilities, class numbers and texts come in, plain numbers and pages go out.
"""
