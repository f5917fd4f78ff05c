"""Settling heads of users' own: what --head and --head_from mean, and what is kept of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from absl import flags

import checkpoint_flags
from nets import custom_head, extractors, nets_factory
from slim_zoo.weights import sources

FLAGS = flags.FLAGS

# What is kept with checkpoints about a head: two flags, and what `settle` adds to them.
KEPT = ('head', 'head_from', 'trunk_classes', 'head_digest')


def resolve_head_from(known: Mapping[str, Any], head_from: str | None) -> str | None:
  """Resolves --head_from to what is kept with checkpoints.

  Args:
    known: what is known about the weights, from `checkpoint_flags.as_flags`.
    head_from: the flag; None leaves it open.

  Raises:
    ValueError: if the network has no such end point.
  """
  head = FLAGS.head if FLAGS['head'].present else known.get('head')
  if head_from is None or not head:
    return head_from or None
  is_told = 'model_name' in known and not FLAGS['model_name'].present
  return nets_factory.find_head_from(known['model_name'] if is_told else FLAGS.model_name,
                                     head_from)


def settle(options: Mapping[str, Any], known: Mapping[str, Any], *, source: str | None,
           weights: sources.Weights | None = None, is_resumed: bool = False) -> dict[str, Any]:
  """Settles what goes with a head, to be kept with checkpoints.

  Args:
    options: settled flags, with model_name, head and head_from.
    known: what is known about the weights, from `checkpoint_flags.as_flags`.
    source: where they are, for messages.
    weights: those of a warm start; None where `known` is of the same network.
    is_resumed: whether a run goes on.

  Returns:
    head_from, by its whole name; trunk_classes, see `count_trunk_classes`; and head_digest, see
    `settle_digest`. All are None without a head, but a head_from that misses one.

  Raises:
    ValueError: if there is no such end point, or a run goes on with another function.
    OSError: if the file of a function cannot be read.
  """
  head, head_from, classes = options['head'], options['head_from'], None
  if head:
    head_from = nets_factory.find_head_from(options['model_name'], head_from)
    classes = (count_trunk_classes(weights, options['model_name'], head_from) if weights
               else known.get('trunk_classes'))
  return {'head_from': head_from, 'trunk_classes': classes,
          'head_digest': settle_digest(head, known, source=source, is_resumed=is_resumed)}


def count_trunk_classes(weights: sources.Weights, model_name: str, head_from: str) -> int | None:
  """Counts the outputs of the weights' own classifier, for a head that stands on it.

  Args:
    weights: from `checkpoint_flags.open_weights`.
    model_name: of the network.
    head_from: where the head starts, by its whole name.

  Returns:
    How many; None if the end point needs no classifier, or the weights have none.
  """
  if not extractors.needs_classifier(nets_factory.get_net(model_name), head_from):
    return None
  return checkpoint_flags.num_outputs(weights, model_name)


def settle_digest(head: str | None, known: Mapping[str, Any], *, source: str | None,
                   is_resumed: bool = False) -> str | None:
  """Digests the function that --head names, and compares it with the one of the weights.

  A label tells the file's name alone. Another content is printed, or, if a run would go on with
  it, an error.

  Args:
    head: as it is kept with checkpoints.
    known: what is kept with the weights; older ones do not tell the content.
    source: where they are, for messages.
    is_resumed: whether a run goes on.

  Returns:
    The digest of the function's file, to be kept; None if --head names no function.

  Raises:
    ValueError: if a run goes on with another content.
    OSError: if the file cannot be read.
  """
  if not head or custom_head.label(FLAGS.head) != head:
    return None  # It is not run; see `head_of`.
  digest = custom_head.digest(FLAGS.head)
  theirs = known.get('head_digest') if known.get('head') == head else None
  if theirs in (None, digest):
    return digest
  if is_resumed:
    raise ValueError(
        f'--head={FLAGS.head}: expected the file that the run in {source} began with, of the '
        f'sha256 {theirs[:12]}…. Received another content, {digest[:12]}…. Give the file as it '
        'was, or another --train_dir.')
  print(f'Warning: --head={FLAGS.head}: the content of this file is not the one that {source} was '
        'trained with.')
  return digest


def head_of(options: Mapping[str, Any]) -> dict[str, Any]:
  """Returns a network's own head and what it stands on, as `nets_factory.get_net` takes them.

  A function is run only if it stands in the command line, not because a checkpoint names it.

  Args:
    options: settled flags, with those of `KEPT` but the digest.

  Raises:
    ValueError: if the function does not stand there.
  """
  head = options.get('head') or None
  if head and custom_head.is_function(head):
    if custom_head.label(FLAGS.head) != head:
      raise ValueError(f"The checkpoint's head is a Python function, {head}, and programs run only "
                       f'what you name. Expected: --head={head}, with its path. Received: '
                       f'{FLAGS.head or "none"}.')
    head = FLAGS.head
  return {'head': head, 'head_from': options.get('head_from') or None,
          'trunk_classes': options.get('trunk_classes')}
