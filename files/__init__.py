"""Files from elsewhere: downloads, archives, and the folder that keeps them."""
