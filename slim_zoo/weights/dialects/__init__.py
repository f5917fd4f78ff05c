"""What other programs call our variables, and how they lay them out: one file a family."""
