"""The dialects that clients speak: Text Embeddings Inference's, vLLM's and that of Hugging Face's own clients.

What they ask, what they are answered, and how they are refused; nothing of how texts are scored.
Two things are otherwise here: a list of two texts is a pair to Text Embeddings Inference, and here only for a
classifier of pairs, else two texts; and a number of tokens to cut at, which vLLM takes, is the bundle's to choose. No
parameter is ignored: what is not named here, or cannot be done, is refused.
"""
