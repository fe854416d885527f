"""The jobs, step by step: `train` makes a classifier, `compare` climbs the ladder, `auditing` looks at a table.

A job is a list of steps, each one call into the room that does it (steps.py); everything a user is shown ends in one
result document (results.py), which is what ``--json`` prints and the report draws.
"""

from classtune.workflow.ladder import compare, write_comparison, write_picture
from classtune.workflow.trained import Trained, discard_run, train

__all__ = ["Trained", "compare", "discard_run", "train", "write_comparison", "write_picture"]
