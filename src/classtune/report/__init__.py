"""What people read of a run: the HTML page, the model card, the figures in both. Knows documents, not models."""
