"""Why a text got its label: the words that made the answer, and the training texts nearest to it."""
