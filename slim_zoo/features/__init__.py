"""Feature files: a network's activations for each image of a split, and training on them."""
