"""Files of features: what a network says about each image of a split, to be kept and read."""
