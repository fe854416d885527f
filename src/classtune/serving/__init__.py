"""A saved classifier at work: texts to scores. Never imports training."""
