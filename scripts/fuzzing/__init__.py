"""Damaged and crafted files of every format, and the process that reads them."""
