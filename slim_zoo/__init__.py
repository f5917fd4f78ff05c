"""Everything around the networks: weights, training, features, evaluation, export."""
