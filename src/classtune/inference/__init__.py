"""A saved classifier at work: texts to scores, tables to answers, other runtimes. Never imports training."""
