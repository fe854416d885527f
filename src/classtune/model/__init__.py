"""The network: backbones and where they can be cut, tokens, pooling and head, the activation store, LoRA."""
