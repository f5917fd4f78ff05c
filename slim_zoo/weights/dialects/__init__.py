"""Names and layouts of our variables in other programs, one file per family."""
