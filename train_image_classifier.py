"""Trains an image classifier, from scratch or from a checkpoint.

    python train_image_classifier.py --train_dir=run --dataset_name=folder \
      --dataset_dir=photos --model_name=mobilenet_v1 --epochs=5 \
      --checkpoint_path=mobilenet_v1_1.0_224.ckpt \
      --checkpoint_exclude_scopes=MobilenetV1/Logits --trainable_scopes=MobilenetV1/Logits

The same command again goes on where the run stopped.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import math
import pathlib

import command_line  # Before TensorFlow: it quiets it.

# isort: split
import tensorflow as tf
from absl import flags

import checkpoint_flags
from datasets import dataset_factory, labels, splits
from evaluation.evaluator import Evaluator
from nets import nets_factory, scopes
from training import (
  checkpoints,
  distribution,
  estimate,
  loop,
  metadata,
  optimizers,
  progress,
  recorder,
  run_folder,
  schedules,
  trainer,
)
from training.inputs import Inputs, decoder
from training.length import Length
from weights import checkpoint_files, restore, sources
from weights.reader import Checkpoint

FLAGS = flags.FLAGS

checkpoint_flags.define_flags()

# What a run is made of: fixed when it starts, kept in its checkpoints.
flags.DEFINE_string('model_name', 'inception_v3', 'Name of the network.')
flags.DEFINE_string('dataset_name', 'imagenet', 'Name of the dataset, or tfds/<name>.')
flags.DEFINE_string('dataset_split_name', 'train', 'Split to train on.')
flags.DEFINE_string('file_pattern', None, "Names of TFRecord files, '%s' being the split.")
flags.DEFINE_float('validation_fraction', 0.1, 'Share of the training examples to validate on '
                   'where the data have no validation split.', lower_bound=0, upper_bound=0.9)
flags.DEFINE_integer('labels_offset', None, 'Subtracted from every label: 1 leaves out the '
                     "background class that VGG's and ResNet v1's checkpoints do not have; by "
                     'default 0, or what the kept head of --checkpoint_path needs.')
flags.DEFINE_string('preprocessing_name', None, 'Name of the preprocessing, or of a network whose '
                    'own is meant; by default that of --model_name.')
flags.DEFINE_integer('train_image_size', None, "Height and width; by default the network's.")
flags.DEFINE_bool('use_grayscale', False, 'Whether to turn images to grey, one channel.')
flags.DEFINE_integer('batch_size', 32, 'Examples a step on each replica.', lower_bound=1)
flags.DEFINE_integer('num_clones', 1, 'Replicas, one a GPU.')
flags.DEFINE_bool('clone_on_cpu', False, 'Whether to leave GPUs alone.')
flags.DEFINE_integer('seed', 0, 'What initial values, order and augmentation depend on.')
flags.DEFINE_string('trainable_scopes', None, 'Scopes to train, separated by commas; by default '
                    'everything.')
flags.DEFINE_float('weight_decay', 0.00004, 'Factor of the L2 regularization.')
flags.DEFINE_float('label_smoothing', 0.0, 'Share of each target spread over all classes.',
                   lower_bound=0, upper_bound=0.999)
flags.DEFINE_float('moving_average_decay', None, 'Keeps moving averages with this decay.',
                   lower_bound=0, upper_bound=1)
flags.DEFINE_enum('optimizer', 'rmsprop', sorted(optimizers.OPTIMIZERS), 'The optimizer.')
for _field in dataclasses.fields(optimizers.Settings):
  flags.DEFINE_float(_field.name, _field.default, 'For the optimizers that have it.')
flags.DEFINE_enum('compute_dtype', 'float32', ['float32', 'bfloat16'], 'What layers compute in.')
flags.DEFINE_enum('xla', 'auto', ['auto', 'on', 'off'], 'Whether XLA compiles the network; auto '
                  'is what was measured to be faster for it.')
flags.DEFINE_enum('on_bad_image', 'error', ['error', 'skip'], 'What to do with images that '
                  'cannot be decoded: stop, or leave them out and say so.')
flags.DEFINE_enum('best_metric', 'top_1', sorted(loop.BEST_METRICS), "What makes 'best' best.")
_FIXED = ('model_name', 'dataset_name', 'dataset_split_name', 'file_pattern',
          'validation_fraction', 'labels_offset', 'preprocessing_name', 'train_image_size',
          'use_grayscale', 'batch_size', 'num_clones', 'clone_on_cpu', 'seed', 'trainable_scopes',
          'weight_decay', 'label_smoothing', 'moving_average_decay', 'optimizer',
          *(_field.name for _field in dataclasses.fields(optimizers.Settings)),
          'compute_dtype', 'xla', 'on_bad_image', 'best_metric')

# What may change when a run is resumed.
flags.DEFINE_string('dataset_dir', None, 'Where the data lie.')
flags.DEFINE_integer('max_number_of_steps', None, 'Steps to train; by default without an end.')
flags.DEFINE_float('epochs', None, 'Epochs to train, in place of --max_number_of_steps.',
                   lower_bound=0)
flags.DEFINE_float('learning_rate', 0.01, 'The initial learning rate.', lower_bound=0)
flags.DEFINE_enum('learning_rate_decay_type', 'exponential', sorted(schedules.DECAYS),
                  'How the learning rate falls.')
flags.DEFINE_float('learning_rate_decay_factor', 0.94, 'Factor of an exponential decay.')
flags.DEFINE_float('num_epochs_per_decay', 2.0, 'Epochs of one decay, each counted with the batch '
                   'of one replica, as in TF-Slim.')
flags.DEFINE_float('end_learning_rate', 0.0001, 'Where polynomial decay ends.')
flags.DEFINE_float('warmup_epochs', 0, 'Epochs of a linear rise of the learning rate.')
flags.DEFINE_integer('log_every_n_steps', 10, 'Steps between log lines.', lower_bound=1)
flags.DEFINE_integer('save_interval_secs', 600, 'Longest time between checkpoints.')
flags.DEFINE_integer('save_interval_steps', None, 'Steps between checkpoints.', lower_bound=1)
flags.DEFINE_integer('save_summaries_secs', 600, 'Longest time between histograms.')
flags.DEFINE_integer('max_to_keep', 5, 'Checkpoints to keep beside the best.', lower_bound=1)
flags.DEFINE_float('validation_interval_epochs', 1, 'Epochs between validations; 0 for none.')
flags.DEFINE_integer('validation_interval_steps', None, 'Steps between validations, in place of '
                     '--validation_interval_epochs.', lower_bound=1)
flags.DEFINE_integer('early_stopping_patience', None, 'Stops after so many validations without '
                     'a better --best_metric.', lower_bound=1)
_FREE = ('dataset_dir', 'max_number_of_steps', 'epochs', 'learning_rate',
         'learning_rate_decay_type', 'learning_rate_decay_factor', 'num_epochs_per_decay',
         'end_learning_rate', 'warmup_epochs', 'log_every_n_steps', 'save_interval_secs',
         'save_interval_steps', 'save_summaries_secs', 'max_to_keep', 'validation_interval_epochs',
         'validation_interval_steps', 'early_stopping_patience')

# Where a run starts from, and what it runs on.
flags.DEFINE_string('train_dir', '/tmp/tfmodel/', 'Where checkpoints and logs go.')
flags.DEFINE_string('checkpoint_path', None, 'Checkpoint, or folder of them, to start from.')
flags.DEFINE_string('checkpoint_exclude_scopes', None, 'Scopes not to restore from it, separated '
                    'by commas.')
flags.DEFINE_bool('ignore_missing_vars', False, 'Whether to leave variables that it lacks as they '
                  'are.')
flags.DEFINE_bool('dry_run', False, 'Whether to stop before the first step that counts: data, '
                  'shapes and weights are checked, time and memory estimated, nothing is written.')
flags.DEFINE_integer('num_preprocessing_threads', 4, 'Images to decode at a time.', lower_bound=1)

# TF-Slim's flags that cannot act any more, with what to use instead.
_RETIRED = {
    'master': ('', 'the run uses this machine'),
    'worker_replicas': (1, 'use --num_clones for several GPUs'),
    'num_ps_tasks': (0, 'replicas keep their variables; use --num_clones for several GPUs'),
    'task': (0, 'there is one task; use --num_clones for several GPUs'),
    'sync_replicas': (False, 'replicas are always in step; use --num_clones'),
    'replicas_to_aggregate': (1, 'all replicas are aggregated; use --num_clones'),
    'quantize_delay': (-1, 'quantize the trained network instead of training it quantized'),
    'num_readers': (4, 'reading is tuned as it goes; leave it out'),
}
for _name, (_default, _advice) in _RETIRED.items():
  _define = {str: flags.DEFINE_string, int: flags.DEFINE_integer, bool: flags.DEFINE_bool}
  _define[type(_default)](_name, _default, f'Not used any more: {_advice}.')

_VALIDATION_BATCH = 100


def main() -> int:
  """Trains: resumes `train_dir`, else warm-starts from `checkpoint_path`, else from scratch."""
  command_line.refuse_retired(_RETIRED)
  command_line.refuse_remote('train_dir')
  distribution.prepare_devices(clone_on_cpu=FLAGS.clone_on_cpu)
  train_dir = pathlib.Path(FLAGS.train_dir)
  with (contextlib.nullcontext(train_dir) if FLAGS.dry_run
        else run_folder.locked(train_dir)) as folder:
    resumed = checkpoint_files.latest(folder, missing_ok=True)
    source = resumed or FLAGS.checkpoint_path
    if FLAGS.checkpoint_exclude_scopes and not source:
      raise ValueError('--checkpoint_exclude_scopes: expected a --checkpoint_path to exclude them '
                       'from. Received: none, so that everything would be trained from scratch.')
    weights, saved = None, {}
    if resumed:
      saved = checkpoint_files.read_metadata(resumed)
    elif source:
      weights, saved = checkpoint_flags.open_weights(source)
    options = _settle(saved, source, is_resumed=bool(resumed))
    strategy = distribution.create_strategy(options['num_clones'],
                                            clone_on_cpu=options['clone_on_cpu'])
    net = nets_factory.get_net(options['model_name'])
    train, validation, facts = _open_data(options, net, saved, weights, is_resumed=bool(resumed))
    length = Length(train.dataset.num_examples, options['batch_size'], options['num_clones'])
    with strategy.scope():
      network = _build_network(options, net, facts)
      trained = _build_trainer(options, net, network, length)
      evaluator = Evaluator(network, xla=options['xla'] == 'on')
    if resumed:
      _resume(trained, resumed)
    elif weights:
      _warm_start(trained, weights, options, folder)
    last_step = options['max_number_of_steps'] if options['epochs'] is None else \
        length.last_step(options['epochs'])
    _announce(options, train, trained, length, last_step, resumed, source)
    standing = loop.Standing(**saved['standing']) if resumed and saved else loop.Standing()
    if _is_finished(trained, standing, last_step):
      return 0
    if FLAGS.dry_run:
      with strategy.scope():
        _estimate(options, trained, train, length, last_step)
      return 0
    with strategy.scope():
      return _fit(options, facts, folder, trained, evaluator, train, validation, length, last_step,
                  standing)


def _settle(saved: dict, source: str | None, *, is_resumed: bool) -> dict:
  """Settles every flag of the run, from the command line and the checkpoint's metadata."""
  known = dict(saved.get('flags', {}))
  free = set(_FREE)
  if not is_resumed:  # Another run's checkpoint tells only what its network is like.
    inherited = {'model_name', 'preprocessing_name', 'train_image_size', 'use_grayscale'}
    known = {name: value for name, value in checkpoint_flags.as_flags(saved).items()
             if name in inherited}
    free |= inherited - {'model_name'}
  for one, other in (('epochs', 'max_number_of_steps'),
                     ('validation_interval_steps', 'validation_interval_epochs')):
    if FLAGS[one].present and FLAGS[other].present:
      raise ValueError(f'--{one} and --{other} say the same. Expected one of them.')
    for name, rival in ((one, other), (other, one)):
      if FLAGS[name].present:
        known[rival] = None
  options = command_line.settle(
      (*_FIXED, *_FREE), known, source=source or '', may_change=free,
      resolve={'dataset_dir': command_line.absolute,
               'preprocessing_name': nets_factory.preprocessing_name,
               'xla': command_line.unless_auto})
  net = nets_factory.get_net(options['model_name'])
  options['preprocessing_name'] = nets_factory.preprocessing_name(
      options['preprocessing_name'] or options['model_name'])
  options['train_image_size'] = options['train_image_size'] or net.image_size
  if options['xla'] is None:
    options['xla'] = 'on' if net.xla else 'off'
  return options


def _open_data(options: dict, net, saved: dict, weights: sources.Weights | None, *,
               is_resumed: bool):
  """Opens the splits and joins their labels with the network's outputs."""
  get = functools.partial(
      dataset_factory.get_dataset, options['dataset_name'], dataset_dir=options['dataset_dir'],
      file_pattern=options['file_pattern'], validation_fraction=options['validation_fraction'])
  train = get(split_name=options['dataset_split_name'])
  if is_resumed and saved and 'dataset' not in saved:
    raise ValueError(f'--train_dir={FLAGS.train_dir}: expected a folder for a run. Received: one '
                     'with converted weights. Give it as --checkpoint_path, and another '
                     '--train_dir.')
  if is_resumed and saved and train.fingerprint != saved['dataset']['fingerprint']:
    raise ValueError(
        f'The data are not those that the run in {FLAGS.train_dir} was trained on: expected '
        f'{saved["dataset"]["num_examples"]} examples in the split {train.split_name!r} with the '
        f'same names and labels. Received: {train.num_examples}. Use the same data, or another '
        '--train_dir.')
  for note in train.notes:
    print(note)
  if options['labels_offset'] is None:
    options['labels_offset'] = _likely_offset(train, net, saved, weights, options)
  names = _output_names(train, options, net, saved, is_resumed)
  facts = metadata.ModelFacts(options['model_name'], names, options['train_image_size'],
                              1 if options['use_grayscale'] else train.channels,
                              options['preprocessing_name'], options['labels_offset'])
  known = saved.get('bad_images', {}) if is_resumed else {}
  validation = None
  if options['validation_interval_epochs'] or options['validation_interval_steps']:
    try:
      validation = get(split_name='validation')
    except splits.UnknownSplitError as error:
      print(f'No validation: {error}')
  if is_resumed and saved and validation and saved['dataset']['validation_fingerprint'] not in (
      None, validation.fingerprint):
    raise ValueError(f'The validation data are not those that the run in {FLAGS.train_dir} chose '
                     'its best by. Use the same data, or another --train_dir.')
  if options['early_stopping_patience'] and not validation:
    raise ValueError('--early_stopping_patience: expected a validation to go by. Received none: '
                     'set --validation_interval_epochs and --validation_fraction, or leave it out.')
  make = functools.partial(
      Inputs, preprocessing_name=facts.preprocessing_name, image_size=facts.image_size,
      channels=facts.channels, num_parallel_calls=FLAGS.num_preprocessing_threads)
  train, validation = (
      split and make(split, labels.map_by_name(split.class_names, names),
                     command_line.settle_bad_images(split, decoder(split), known))
      for split in (train, validation))
  return train, validation, facts


def _keeps_head(net) -> bool:
  """Whether a warm start takes the classifier along: all of it, for a part alone is of no use."""
  excluded = scopes.split(FLAGS.checkpoint_exclude_scopes)
  return not any(scopes.matches_any(net.head[0], [scope]) or scopes.matches(scope, net.head[0])
                 for scope in excluded)


def _likely_offset(train, net, saved: dict, weights: sources.Weights | None,
                   options: dict) -> int:
  """Finds the offset with which the labels belong to a head that is kept."""
  if weights is None or 'class_names' in saved or not _keeps_head(net):
    return 0
  num_outputs = checkpoint_flags.num_outputs(weights, options['model_name'])
  offset = labels.likely_offset(train, num_outputs) if num_outputs else 0
  if offset:
    print(f'--labels_offset={offset}: the checkpoint has {num_outputs} classes, the data '
          f'{train.num_classes}, as ImageNet has with its background class and without.')
  return offset


def _output_names(train, options: dict, net, saved: dict, is_resumed: bool) -> list[str]:
  """Names the network's outputs after the classes, and stops where they cannot be learnt."""
  names = labels.output_names(train.class_names, options['labels_offset'])
  empty = [name for name in train.empty_classes if name in names]
  if empty and options['dataset_name'] in ('folder', 'csv'):
    raise ValueError(f'Expected examples of every class in the split {train.split_name!r}. '
                     f'Received none of: {", ".join(empty[:10])}. Add some, or remove the class.')
  if len(names) < 2:
    raise ValueError('Expected at least two classes, for there is nothing to learn of one. '
                     f'Received: {", ".join(names)}. Check --dataset_dir.')
  keeps_head = is_resumed or _keeps_head(net)
  old = saved.get('class_names', [])
  if keeps_head and sorted(old) == sorted(names):
    return list(old)  # The same classes in the order that the checkpoint's head has them.
  if keeps_head and len(old) == len(names):
    print('Warning: the head of the checkpoint is kept, though it knows other classes than the '
          f'data. Exclude it to start it anew: --checkpoint_exclude_scopes={",".join(net.head)}')
  return names


def _build_network(options: dict, net, facts: metadata.ModelFacts):
  return nets_factory.build_network(
      options['model_name'], image_shape=[facts.image_size, facts.image_size, facts.channels],
      num_classes=len(facts.class_names), weight_decay=options['weight_decay'],
      trainable_scopes=scopes.split(options['trainable_scopes']), is_training=True,
      dtype=tf.dtypes.as_dtype(options['compute_dtype']), seed=options['seed'])


def _build_trainer(options: dict, net, network, length: Length) -> trainer.Trainer:
  schedule = schedules.Schedule(
      options['learning_rate_decay_type'], options['learning_rate'],
      decay_steps=max(1, length.schedule_steps(options['num_epochs_per_decay'])),
      decay_factor=options['learning_rate_decay_factor'],
      end_learning_rate=options['end_learning_rate'],
      warmup_steps=length.schedule_steps(options['warmup_epochs']))
  settings = optimizers.Settings(**{field.name: options[field.name]
                                    for field in dataclasses.fields(optimizers.Settings)})
  return trainer.Trainer(
      network, optimizer=options['optimizer'], settings=settings, schedule=schedule,
      batch_size=length.batch_size, seed=options['seed'],
      label_smoothing=options['label_smoothing'],
      moving_average_decay=options['moving_average_decay'], xla=options['xla'] == 'on')


def _resume(trained: trainer.Trainer, prefix: str) -> None:
  """Restores the whole state of a run; nothing may differ."""
  checkpoint, state = Checkpoint(prefix), trained.state()
  wanted = {n: v.shape for n, v in state.items()}
  report = restore.plan(checkpoint, wanted,
                        restore.same_names(checkpoint, wanted, use_averages=False))
  restore.check(report, advice='Use the flags that the run was started with, or another '
                '--train_dir with --checkpoint_path for a warm start.')
  restore.apply(report, checkpoint, state)


def _warm_start(trained: trainer.Trainer, weights: sources.Weights, options: dict,
                folder: pathlib.Path) -> None:
  """Restores the network's variables but those that are excluded, and keeps the table."""
  variables = trained.network.variables
  exclude = scopes.split(FLAGS.checkpoint_exclude_scopes)
  report = checkpoint_flags.plan(weights, options['model_name'], variables, exclude=exclude)
  if not FLAGS.dry_run:
    (folder / 'restored.txt').write_text(report.table(), encoding='utf-8',
                                         errors='backslashreplace')
  print(report.table(unused=FLAGS.dry_run), end='')
  restore.check(report, exclude=exclude, head=nets_factory.get_net(options['model_name']).head,
                ignore_missing=FLAGS.ignore_missing_vars)
  restore.apply(report, weights.source, variables)
  checkpoint_flags.warn_of_unused(weights, report)
  trained.start_averages()
  untouched = [row.name for row in report.rows if row.status != restore.RESTORED
               and row.name not in trained.network.trainable]
  if untouched:
    print(f'Warning: {len(untouched)} variables are neither restored nor trained and keep their '
          f'initial values: {", ".join(untouched[:4])}'
          + (', …' if len(untouched) > 4 else '') + '. See --trainable_scopes.')


def _announce(options, train, trained, length: Length, last_step, resumed, source) -> None:
  """Prints where the run starts from, what is trained, and how long it takes."""
  if resumed:
    print(f'Resumed {resumed} at step {trained.step}.')
    if FLAGS.checkpoint_path:
      print(f'--checkpoint_path is not used: {FLAGS.train_dir} has a checkpoint of its own.')
  else:
    print(f'Warm start from {source}.' if source else 'From scratch.')
  network = trained.network
  count = sum(math.prod(network.variables[name].shape) for name in network.trainable)
  scope = options['trainable_scopes'] or 'everything'
  print(f'Training {scope} of {options["model_name"]}: {count:,} numbers in '
        f'{len(network.trainable)} variables.')
  if options['trainable_scopes']:
    print('Batch norm outside of these scopes uses its stored averages and does not move them.')
    if not source:
      print('Warning: what is not trained keeps its random values, as there is no checkpoint.')
  data, end = train.dataset, last_step
  print(f'{data.num_examples} examples of {data.num_classes} classes, global batch '
        f'{length.batch_size} on {options["num_clones"]} replica(s), {distribution.kind()}: '
        f'{length.steps_per_epoch:.2f} steps an epoch; ' + ('without an end.' if end is None else
                              f'{end} steps, {end / length.steps_per_epoch:.2f} epochs.'))
  print(f'XLA is {options["xla"]}, {options["compute_dtype"]}, seed {options["seed"]}.', flush=True)


def _is_finished(trained: trainer.Trainer, standing: loop.Standing,
                 last_step: int | None) -> bool:
  if standing.validation_due:
    return False
  if standing.stopped_early:
    print(f'This run is finished: it stopped early, with its best at step {standing.best_step}. '
          'Use another --train_dir to train again.')
  elif last_step is not None and trained.step >= last_step:
    print(f'This run is finished: it is at step {trained.step} of {last_step}. Raise '
          '--max_number_of_steps or --epochs to train on.')
  else:
    return False
  return True


def _estimate(options: dict, trained: trainer.Trainer, train: Inputs, length: Length,
              last_step: int | None) -> None:
  """Makes a few steps that are not kept, and prints what the run will take."""
  step = trained.step
  batches = train.training_batches(batch_size=length.batch_size, seed=options['seed'],
                                   start_step=step)
  try:
    found = estimate.measure(trained, iter(batches))
  except tf.errors.OpError as error:
    raise train.explain(error) from error
  print(found.text(length.batch_size, length.steps_per_epoch,
                   None if last_step is None else last_step - step))
  print('A dry run: everything fits, and nothing was written to --train_dir.')


def _fit(options, facts, folder, trained, evaluator, train: Inputs, validation: Inputs | None,
         length: Length, last_step: int | None, standing: loop.Standing) -> int:
  """Trains on, saving as it goes."""
  data = train.dataset
  described = {'name': options['dataset_name'], 'split': data.split_name,
               'num_examples': data.num_examples, 'fingerprint': data.fingerprint,
               'validation_fingerprint': validation and validation.dataset.fingerprint}
  bad = {split.dataset.split_name: split.bad_images for split in (train, validation) if split}

  def save(where: pathlib.Path = folder, max_to_keep: int = options['max_to_keep']) -> None:
    trained.synchronize()
    step = trained.step
    state = {name: variable.read_value() for name, variable in trained.state().items()}
    loop.check_state(state, step)
    checkpoints.save(where, step, state, metadata.describe(
        facts, step=step, dataset=described, flags=options, standing=standing, bad_images=bad),
        max_to_keep=max_to_keep)

  held_out = validation and validation.evaluation_batches(
      batch_size=_VALIDATION_BATCH * length.num_replicas)

  def validate(gives_up):
    with trained.averaged():
      return evaluator.measure(held_out, gives_up)

  batches = train.training_batches(batch_size=length.batch_size, seed=options['seed'],
                                   start_step=trained.step)
  validate_every = options['validation_interval_steps']
  if not validate_every and options['validation_interval_epochs']:
    validate_every = length.interval(options['validation_interval_epochs'])
  plan = loop.Plan(
      last_step=last_step, log_every=options['log_every_n_steps'],
      validate_every=validate_every, save_every=options['save_interval_steps'],
      save_seconds=options['save_interval_secs'],
      histogram_seconds=options['save_summaries_secs'], steps_per_epoch=length.steps_per_epoch,
      best_metric=options['best_metric'], patience=options['early_stopping_patience'])
  records = recorder.Recorder(folder, step=trained.step)
  shown = progress.Progress(first_step=trained.step, last_step=last_step,
                            batch_size=length.batch_size)
  try:
    ended_by = loop.fit(trained, iter(batches), plan, standing, recorder=records, progress=shown,
                        save=save, save_best=lambda: save(folder / 'best', 1),
                        validate=validate if validation else None)
  except loop.NonFiniteLossError as error:
    last = checkpoint_files.latest(folder, missing_ok=True) or 'none, as nothing was saved yet'
    raise ValueError(f'{error} Last good checkpoint: {last}. Lower --learning_rate, raise '
                     '--warmup_epochs or --opt_epsilon, then run again.') from error
  except tf.errors.OpError as error:
    raise next((found for inputs in (train, validation) if inputs
                and (found := inputs.explain(error)) is not error), error) from error
  finally:
    shown.close()
    records.close()
  if ended_by:
    print(f'{ended_by.name}: saved step {trained.step} and left. The same command goes on.')
    return 128 + ended_by
  print(f'Finished at step {trained.step}. Checkpoints are in {folder}'
        + (f'; the best, of step {standing.best_step}, in {folder / "best"}.'
           if standing.best_step is not None else '.'))
  return 0


if __name__ == '__main__':
  command_line.run(main)
