"""The ways to classify that a run can train, each by one protocol."""
