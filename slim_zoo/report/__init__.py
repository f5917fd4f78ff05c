"""Reports of evaluations: a page, pictures and tables."""

import logging

# It says when it looks for fonts.
logging.getLogger('matplotlib').setLevel(logging.WARNING)
