"""Files from elsewhere: downloads, archives, and what every part needs of the machine."""
