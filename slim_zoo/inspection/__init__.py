"""What is in a file of weights: its arrays, the network that they fit, and how it is used."""
