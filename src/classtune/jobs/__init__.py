"""What the commands do, one file a job: train, compare, audit, explain. Each is readable from top to bottom."""
