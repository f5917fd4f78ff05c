"""Custom heads: resolving the options, and what checkpoints record about them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from nets import custom_head, extractors, nets_factory
from slim_zoo.weights import opening, sources


@dataclasses.dataclass(frozen=True)
class Head:
  """A head that replaces a network's classifier; without text, the network's own classifier.

  Attributes:
    text: argument of `custom_head.parse`; None for the network's own classifier.
    head_from: full name of the end point that it starts from.
    trunk_classes: width of the weights' own classifier, if the head is built on it.
    digest: digest of the file of a Python function.
  """
  text: str | None = None
  head_from: str | None = None
  trunk_classes: int | None = None
  digest: str | None = None

  @property
  def kept(self) -> dict[str, Any]:
    """Returns what checkpoints record: the options by name, and two more entries."""
    return {'head': custom_head.label(self.text), 'head_from': self.head_from,
            'trunk_classes': self.trunk_classes, 'head_digest': self.digest}

  @property
  def arguments(self) -> dict[str, Any]:
    """Returns the arguments of `nets_factory.get_net` and `build_network`."""
    return {'head': self.text or None, 'head_from': (self.head_from or None),
            'trunk_classes': self.trunk_classes}


def settle(head: str | None, head_from: str | None, *, given: str | None, model_name: str,
           known: Mapping[str, Any], source: str, weights: sources.Weights | None = None,
           is_resumed: bool = False) -> Head:
  """Resolves the options of a head.

  Args:
    head: the head as recorded in checkpoints.
    head_from: the end point where it starts.
    given: the head on the command line, including the path of a function's file.
    model_name: the network.
    known: what is known about the weights, from `opening.as_options`.
    source: their location, for messages.
    weights: weights for a warm start; None if `known` is about the same network.
    is_resumed: whether a run is resumed.

  Raises:
    ValueError: if there is no such end point, a function is not given on the command line, or a run
      would be resumed with a different function.
    OSError: if the file of a function cannot be read.
  """
  if not head:
    return Head(head, head_from)
  head_from = nets_factory.find_head_from(model_name, head_from)
  classes = (count_trunk_classes(weights, model_name, head_from) if weights
             else known.get('trunk_classes'))
  text = named_by_user(head, given)
  return Head(text, head_from, classes,
              _check_digest(text, known, source=source, is_resumed=is_resumed))


def settle_alone(head: str | None, *, given: str | None, known: Mapping[str, Any], source: str,
                 is_resumed: bool) -> Head:
  """Resolves the options of a head on features, which needs no network; see `settle`."""
  if not head:
    return Head()
  text = named_by_user(head, given)
  return Head(text, digest=_check_digest(text, known, source=source, is_resumed=is_resumed))


def named_by_user(head: str, given: str | None) -> str:
  """Returns the text of a head; a function is run only if the user names it.

  Args:
    head: the head as recorded in checkpoints.
    given: the head on the command line.

  Raises:
    ValueError: if the head is a function and is not given on the command line.
  """
  if not custom_head.is_function(head):
    return head
  if given is None or custom_head.label(given) != head:
    raise ValueError(f"The checkpoint's head is a Python function, {head}, and programs only run "
                     f'functions that you name. Expected: --head={head}, with its path. Received: '
                     f'{given or "none"}.')
  return given


def count_trunk_classes(weights: sources.Weights, model_name: str, head_from: str) -> int | None:
  """Counts the outputs of the weights' own classifier, for a head built on it.

  Args:
    weights: from `opening.open_weights`.
    model_name: the network.
    head_from: full name of the end point that the head starts from.

  Returns:
    The number of outputs; None if the end point does not need the classifier, or the weights have
    none.
  """
  if not extractors.needs_classifier(nets_factory.get_net(model_name), head_from):
    return None
  return opening.num_outputs(weights, model_name)


def _check_digest(text: str, known: Mapping[str, Any], *, source: str,
                  is_resumed: bool) -> str | None:
  """Returns the digest of a function's file, and compares it with the one in the checkpoint.

  Checkpoints do not contain the file. If it has changed, that is a warning, or an error if a run is
  resumed. Older checkpoints have no digest.
  """
  digest = custom_head.digest(text)
  theirs = known.get('head_digest') if known.get('head') == custom_head.label(text) else None
  if theirs in (None, digest) or digest is None:
    return digest
  if is_resumed:
    raise ValueError(
        f'--head={text}: expected the file that the run in {source} started with, with the sha256 '
        f'{theirs[:12]}…. Received: {digest[:12]}…. Restore the file, or use '
        'another --train_dir.')
  print(f'Warning: --head={text}: this file has changed since {source} was trained with it.')
  return digest
