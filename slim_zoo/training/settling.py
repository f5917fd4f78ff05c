"""Settling the options of a training run with the checkpoint that it starts from."""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping
from typing import Any

from nets import custom_head, nets_factory
from slim_zoo.config import settle as config_settle
from slim_zoo.config.flag_values import Parsed, options_of, replace
from slim_zoo.config.option import Rule
from slim_zoo.config.programs import Train
from slim_zoo.config.training import MULTI_LABEL_METRICS, ONE_LABEL_METRICS
from slim_zoo.weights import kept_heads, opening, sources


def settle(parsed: Parsed[Train], saved: Mapping[str, Any], *, source: str,
           weights: sources.Weights | None, is_resumed: bool,
           checked: Collection[str] | None = None) -> tuple[Train, kept_heads.Head]:
  """Settles every option of the run.

  Args:
    parsed: the command line.
    saved: what is known about the checkpoint.
    source: where it is, for messages.
    weights: those of a warm start.
    is_resumed: whether the checkpoint is the run's own.
    checked: the given options that must have an effect; by default all that are given.

  Returns:
    The config, and the head. labels_offset may still be open; the data decide about it.

  Raises:
    ValueError: if flags contradict the checkpoint, or each other.
  """
  known = opening.as_options(saved)
  options = options_of(Train)
  if is_resumed:
    recorded = saved.get('flags', {})
    # An option that did not exist when the run began has its default.
    taken = {name: option.default for name, option in options.items()
             if recorded and option.is_kept and not option.open_value}
    taken |= {name: value for name, value in known.items() if name in recorded}
    may_change = {name for name, option in options.items() if option.rule is Rule.FREE}
  else:  # Another run's checkpoint only tells what its network is like.
    inherited = {name for name, option in options.items() if option.rule is Rule.INHERITED}
    taken = {name: value for name, value in known.items() if name in inherited}
    if _names_another_head(parsed, taken):
      taken.pop('head_from', None)  # The old one does not tell where another head starts.
    may_change = {*inherited - {'model_name'},
                  *(name for name, option in options.items() if option.rule is Rule.FREE)}
  config = config_settle.settle(
      parsed, taken, source=source, may_change=may_change, checked=checked,
      names=[name for name, option in options.items() if option.is_kept],
      resolve={'head': custom_head.label, 'preprocessing_name': nets_factory.preprocessing_name,
               'head_from': functools.partial(_resolve_head_from, parsed, known)})
  if config.data.sampling == config.loss.class_weights == 'balanced':
    raise ValueError('--sampling=balanced and --class_weights=balanced exclude each other: either '
                     'makes all classes count alike. Expected: one of them. Received: both.')
  if config.data.multi_label:
    config = _settle_multi_label(config, parsed.given)
  elif config.duration.best_metric not in ONE_LABEL_METRICS:
    raise ValueError(f'--best_metric={config.duration.best_metric}: expected --multi_label. '
                     'Received: images with one label each.')
  hardware = config.hardware
  if config.optimization.sync_batch_norm and (hardware.num_replicas < 2 or hardware.xla == 'on'):
    raise ValueError('--sync_batch_norm: expected several replicas, without XLA. Received: '
                     f'--num_clones={hardware.num_clones} of {hardware.worker_replicas} worker(s)'
                     f'{" and --xla=on" if hardware.xla == "on" else ""}.')
  head = kept_heads.settle(
      config.model.head, config.model.head_from, given=parsed.config.model.head,
      model_name=config.model.model_name, known=known, source=source, weights=weights,
      is_resumed=is_resumed)
  return _fill_in(config, head), head


def _settle_multi_label(config: Train, given: Collection[str]) -> Train:
  """Chooses the metric for images with several labels.

  Raises:
    ValueError: if the loss or another option is for images with one label.
  """
  wrong = [f'--loss={config.loss.loss}'] if config.loss.loss != 'binary' else []
  wrong += ['--class_weights'] if config.loss.class_weights != 'none' else []
  wrong += ['--sampling'] if config.data.sampling != 'uniform' else []
  wrong += ['--teacher_path'] if config.distillation.teacher_path else []
  metric = config.duration.best_metric
  if metric not in MULTI_LABEL_METRICS:
    wrong += ['--best_metric'] if 'best_metric' in given else []
    metric = MULTI_LABEL_METRICS[0]
  if wrong:
    raise ValueError('--multi_label: expected --loss=binary, and no option for images with one '
                     f'label. Received: {", ".join(wrong)}.')
  return replace(config, best_metric=metric)


def _names_another_head(parsed: Parsed[Train], taken: Mapping[str, Any]) -> bool:
  return ('head' in parsed.given
          and custom_head.label(parsed.config.model.head) != taken.get('head'))


def _resolve_head_from(parsed: Parsed[Train], known: Mapping[str, Any],
                       head_from: str | None) -> str | None:
  """Returns the full name of the end point that --head_from means; None leaves it open."""
  head = parsed.config.model.head if 'head' in parsed.given else known.get('head')
  if head_from is None or not head:
    return head_from or None
  is_told = 'model_name' in known and 'model_name' not in parsed.given
  return nets_factory.find_head_from(
      known['model_name'] if is_told else parsed.config.model.model_name, head_from)


def _fill_in(config: Train, head: kept_heads.Head) -> Train:
  """Fills in what nobody chose."""
  net = nets_factory.get_net(config.model.model_name)
  return replace(
      config, head_from=head.head_from,
      preprocessing_name=nets_factory.preprocessing_name(
          config.model.preprocessing_name or config.model.model_name),
      train_image_size=config.model.train_image_size or net.image_size,
      cache_features=config.fine_tuning.cache_features or 'auto',
      xla=config.hardware.xla or (
          'on' if net.xla and not config.optimization.sync_batch_norm else 'off'))
