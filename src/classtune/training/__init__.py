"""From a recipe to trained weights: the choice of depth, the optimizer, the one loop, checkpoints."""
