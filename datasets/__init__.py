"""Image-classification datasets, whatever they are stored as, and the input pipeline over them."""
