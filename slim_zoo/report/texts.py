"""Texts that a picture or a page can show, whatever the names of files and classes are."""

from __future__ import annotations

import os


def printable(text: str) -> str:
  """Replaces what is not UTF-8 in a name of a file."""
  return os.fsencode(text).decode('utf-8', 'replace')


def shortened(text: str, most: int) -> str:
  """Returns at most so many characters of a text, all of which can be shown."""
  text = printable(text)
  return text if len(text) <= most else f'{text[:most - 1]}…'
