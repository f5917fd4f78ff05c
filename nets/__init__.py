"""Networks: plain functions in the slim vocabulary, and the adapter to TensorFlow 2."""
