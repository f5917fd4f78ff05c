"""Processes that read a dataset at the same time, and share the work."""

from __future__ import annotations

from typing import Protocol


class Readers(Protocol):
  """All of these processes; each calls the same functions in the same order."""
  @property
  def count(self) -> int:
    """How many there are."""

  @property
  def index(self) -> int:
    """Position of this one."""

  def gather(self, text: str, what: str) -> list[str]:
    """Returns the texts of all of them; `what` says what they are about."""
