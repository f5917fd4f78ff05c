"""Reports of evaluations: a page, pictures and tables."""
