"""Trains an image classifier, from scratch or from a checkpoint.

    python train_image_classifier.py --train_dir=run --dataset_name=folder \
      --dataset_dir=photos --model_name=mobilenet_v1 --epochs=5 \
      --checkpoint_path=mobilenet_v1_1.0_224.ckpt \
      --checkpoint_exclude_scopes=MobilenetV1/Logits --trainable_scopes=MobilenetV1/Logits

The same command again goes on where the run stopped.
"""

from __future__ import annotations

import contextlib
import functools
import math
import pathlib

import command_line  # Before TensorFlow: it quiets it.

# isort: split
import tensorflow as tf
from absl import flags

import checkpoint_flags
import head_flags
import optimization_flags
import path_flags
import phases
import train_data
import warm_start
from datasets import input_pipeline
from nets import custom_head, nets_factory, scopes
from nets.record import Net
from slim_zoo.evaluation.evaluator import Evaluator
from slim_zoo.features import cache as feature_cache
from slim_zoo.training import distribution, estimate, loop, metadata, rates, run, run_folder
from slim_zoo.training.inputs import Inputs, Split
from slim_zoo.training.length import Length
from slim_zoo.training.progress import Stopwatch
from slim_zoo.training.trainer import Trainer
from slim_zoo.weights import checkpoint_files, sources

FLAGS = flags.FLAGS

checkpoint_flags.define_flags()
optimization_flags.define_flags()
phases.define_flag()

# What a run is made of: fixed when it starts, kept in its checkpoints.
flags.DEFINE_string('model_name', 'inception_v3', 'Name of the network.')
flags.DEFINE_string('head', None, 'A head in place of the classifier, such as pool,fc:512,'
                    'dropout:0.5,fc; or my_file.py:function, a function (features, num_classes, '
                    'is_training) that returns logits.')
flags.DEFINE_string('head_from', None, 'End point that --head starts from, such as vgg_16/pool5; '
                    'by default what the classifier takes.')
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
flags.DEFINE_integer('augmentations_per_image', None, 'In how many ways each image is augmented, '
                     'one an epoch in turn; 0 for not at all, as in an evaluation; by default '
                     'anew in every epoch, if the preprocessing draws at random.', lower_bound=0)
flags.DEFINE_enum('sampling', 'uniform', input_pipeline.SAMPLING, 'How examples are chosen: each '
                  'once an epoch, or every class equally often.')
flags.DEFINE_integer('num_clones', 1, 'Replicas, one a GPU.')
flags.DEFINE_bool('clone_on_cpu', False, 'Whether to leave GPUs alone.')
flags.DEFINE_string('trainable_scopes', None, 'Scopes to train, separated by commas; by default '
                    'everything.')
flags.DEFINE_string('learning_rate_multipliers', None, 'Factors of the learning rate by scope, '
                    'such as conv:0,fc6:0.1,fc8:1; the last one that matches counts, 0 freezes.')
flags.DEFINE_float('layer_decay', None, 'Factor of the learning rate from each layer to the one '
                   'below it, in (0, 1].', lower_bound=0, upper_bound=1)
flags.DEFINE_float('moving_average_decay', None, 'Keeps moving averages with this decay.',
                   lower_bound=0, upper_bound=1)
flags.DEFINE_enum('compute_dtype', 'float32', ['float32', 'bfloat16'], 'What layers compute in.')
flags.DEFINE_enum('xla', 'auto', ['auto', 'on', 'off'], 'Whether XLA compiles the network; auto '
                  'is what was measured to be faster for it.')
flags.DEFINE_enum('on_bad_image', 'error', ['error', 'skip'], 'What to do with images that '
                  'cannot be decoded: stop, or leave them out and say so.')
_FIXED = ('model_name', 'head', 'head_from', 'dataset_name', 'dataset_split_name', 'file_pattern',
          'validation_fraction', 'labels_offset', 'preprocessing_name', 'train_image_size',
          'use_grayscale', 'augmentations_per_image', 'sampling', 'num_clones', 'clone_on_cpu',
          'trainable_scopes', 'learning_rate_multipliers', 'layer_decay', 'moving_average_decay',
          'compute_dtype', 'xla', 'on_bad_image', *optimization_flags.FIXED)

# What may change when a run is resumed.
path_flags.define_path('dataset_dir', None, 'Where the data lie.')
flags.DEFINE_enum('cache_features', 'auto', feature_cache.MODES, 'Where the results of the layers '
                  'that are not trained are kept, so that they are computed once; auto says what '
                  'it chose and why.')
_FREE = ('dataset_dir', 'cache_features', *optimization_flags.FREE)

# Where a run starts from, and what it runs on.
path_flags.define_path('train_dir', '/tmp/tfmodel/', 'Where checkpoints and logs go.',
                       is_written=True)
path_flags.define_path('checkpoint_path', None, 'Checkpoint, or folder of them, to start from.')
flags.DEFINE_string('checkpoint_exclude_scopes', None, 'Scopes not to restore from it, separated '
                    'by commas.')
flags.DEFINE_bool('labels_are_indices', False, 'With a kept head: take the places of the classes '
                  'in sorted order for the numbers of its outputs, whatever they are called.')
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


def run_phase(turn: phases.Turn) -> int:
  """Trains: resumes `train_dir`, else warm-starts from `checkpoint_path`, else from scratch."""
  watch = Stopwatch()
  command_line.refuse_retired(_RETIRED)
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
      saved = checkpoint_files.read_metadata(resumed, of_run=True)
    elif source:
      weights, saved = checkpoint_flags.open_weights(source)
    options = _settle(saved, source, weights, is_resumed=bool(resumed))
    strategy = distribution.create_strategy(options['num_clones'],
                                            clone_on_cpu=options['clone_on_cpu'])
    net = nets_factory.get_net(options['model_name'], **head_flags.head_of(options))
    train, validation, facts = train_data.open_data(options, net, saved, weights,
                                                    is_resumed=bool(resumed))
    length = Length(train.dataset.num_examples, options['batch_size'], options['num_clones'])
    plan = optimization_flags.make_plan(options, length)
    with strategy.scope():
      network, multipliers = _build_network(options, net, facts)
      cache = _plan_cache(options, network, facts, train, validation, plan,
                          gives_way=turn.goes_for_all('cache_features'))
      uses_cache = cache.place != 'off' and not FLAGS.dry_run
      trained = optimization_flags.make_trainer(
          options, cache.head if uses_cache else network, length,
          moving_average_decay=options['moving_average_decay'], xla=options['xla'] == 'on',
          multipliers=multipliers,
          class_weights=optimization_flags.class_weights(options, train, len(facts.class_names)))
      evaluator = Evaluator(trained.network, xla=options['xla'] == 'on')
    if resumed:
      warm_start.resume(trained, resumed)
    elif weights:
      warm_start.warm_start(trained, weights, options, net,
                            warm_start.excluded_scopes(options, saved), folder)
    _announce(options, train, trained, length, plan.last_step, resumed, source)
    standing = loop.Standing(**saved['standing']) if resumed and saved else loop.Standing()
    why = run.why_finished(trained.step, standing, plan.last_step)
    if why:
      print(f'This run is finished: {why}')
      return 0
    turn.check_may_train()
    print(f'--cache_features={cache.place}: {cache.why}.', flush=True)
    if FLAGS.dry_run:
      if cache.place != 'off':
        print('What follows is estimated without kept features, which make steps much shorter.')
      with strategy.scope():
        _estimate(options, trained, train, length, plan.last_step)
      return 0
    if uses_cache:
      cache.head.freeze()
      train, validation = _keep_features(cache, train, validation, options['seed'])
    started_from = (saved.get('started_from') if resumed
                    else command_line.absolute(weights.path) if weights else None)
    with strategy.scope():
      return _train(options, facts, started_from, folder, trained, evaluator, plan, standing, train,
                    validation, length, watch)


def _settle(saved: dict, source: str | None, weights: sources.Weights | None, *,
            is_resumed: bool) -> dict:
  """Settles every flag of the run, from the command line and the checkpoint's metadata."""
  theirs = checkpoint_flags.as_flags(saved)
  known = {name: value for name, value in theirs.items() if name in saved.get('flags', {})}
  free = set(_FREE)
  if not is_resumed:  # Another run's checkpoint tells only what its network is like.
    inherited = {'model_name', 'preprocessing_name', 'train_image_size', 'use_grayscale', 'head',
                 'head_from'}
    known = {name: value for name, value in theirs.items() if name in inherited}
    if FLAGS['head'].present and custom_head.label(FLAGS.head) != known.get('head'):
      known.pop('head_from', None)  # Where another head starts is not told by the old one.
    free |= inherited - {'model_name'}
  options = command_line.settle(
      (*_FIXED, *_FREE), optimization_flags.without_rivals(known), source=source or '',
      may_change=free,
      resolve={'dataset_dir': command_line.absolute, 'head': custom_head.label,
               'head_from': functools.partial(head_flags.resolve_head_from, theirs),
               'preprocessing_name': nets_factory.preprocessing_name,
               'cache_features': command_line.unless_auto, 'xla': command_line.unless_auto})
  if options['sampling'] == options['class_weights'] == 'balanced':
    raise ValueError('--sampling=balanced and --class_weights=balanced: expected one of them, for '
                     'either makes all classes count alike, and both make rare ones count more. '
                     'Received both. Leave one out.')
  options |= head_flags.settle(options, theirs, source=source, weights=weights,
                               is_resumed=is_resumed)
  net = nets_factory.get_net(options['model_name'])
  options['preprocessing_name'] = nets_factory.preprocessing_name(
      options['preprocessing_name'] or options['model_name'])
  options['train_image_size'] = options['train_image_size'] or net.image_size
  options['cache_features'] = options['cache_features'] or 'auto'
  if options['xla'] is None:
    options['xla'] = 'on' if net.xla else 'off'
  return options


def _build_network(options: dict, net: Net, facts: metadata.ModelFacts):
  """Builds the network; returns it with the factors of its learning rates."""
  entries = rates.parse(options['learning_rate_multipliers'])
  network = nets_factory.build(
      net, image_shape=[facts.image_size, facts.image_size, facts.channels],
      num_classes=len(facts.class_names), weight_decay=options['weight_decay'],
      trainable_scopes=scopes.split(options['trainable_scopes']),
      is_frozen=rates.freezing(entries), is_training=True,
      dtype=tf.dtypes.as_dtype(options['compute_dtype']), seed=options['seed'])
  return network, rates.multipliers(network.variables, entries, decay=options['layer_decay'],
                                    head=net.head)


def _plan_cache(options: dict, network, facts: metadata.ModelFacts, train: Inputs,
                validation: Inputs | None, plan: loop.Plan, *,
                gives_way: bool) -> feature_cache.FeatureCache:
  """Decides about the features of the frozen layers; the run keeps to it when it is resumed."""
  cache = feature_cache.plan(
      options['cache_features'], network,
      [facts.image_size, facts.image_size, facts.channels],
      num_views=train.num_views, num_training=train.dataset.num_examples,
      num_validation=validation.dataset.num_examples if validation else 0,
      epochs=None if plan.last_step is None else plan.last_step / plan.steps_per_epoch,
      gives_way=gives_way)
  options['cache_features'] = cache.place
  return cache


def _keep_features(cache: feature_cache.FeatureCache, train: Inputs, validation: Inputs | None,
                   seed: int) -> tuple[Split, Split | None]:
  """Computes what is not known of the features of both splits, which then take images' place."""
  def fill(inputs: Inputs) -> Split:
    try:
      return cache.fill(inputs, is_training=inputs is train, seed=seed,
                        show=command_line.show_progress)
    except tf.errors.OpError as error:
      raise inputs.explain(error) from error

  return fill(train), validation and fill(validation)


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
  is_all = all(name in network.trainable for name, v in network.variables.items() if v.trainable)
  scope = options['trainable_scopes'] or ('everything' if is_all else 'a part')
  for flag in ('learning_rate_multipliers', 'layer_decay'):
    if options[flag]:
      print(f'--{flag}={options[flag]}: learning rates differ by scope; batch norm of those that '
            'are 0 keeps its averages.')
  print(f'Training {scope} of {options["model_name"]}: {count:,} numbers in '
        f'{len(network.trainable)} variables.')
  if len(network.trainable) < len(network.variables) and options['trainable_scopes']:
    print('Batch norm outside of these scopes uses its stored averages and does not move them.')
    if not source:
      print('Warning: what is not trained keeps its random values, as there is no checkpoint.')
  data, end = train.dataset, last_step
  print(f'{data.num_examples} examples of {data.num_classes} classes, global batch '
        f'{length.batch_size} on {options["num_clones"]} replica(s), {distribution.kind()}: '
        f'{length.steps_per_epoch:.2f} steps an epoch; ' + ('without an end.' if end is None else
                              f'{end} steps, {end / length.steps_per_epoch:.2f} epochs.'))
  print(f'XLA is {options["xla"]}, {options["compute_dtype"]}, seed {options["seed"]}.', flush=True)


def _estimate(options: dict, trained: Trainer, train: Split, length: Length,
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


def _train(options, facts, started_from: str | None, folder, trained, evaluator, plan: loop.Plan,
           standing: loop.Standing, train: Split, validation: Split | None, length: Length,
           watch: Stopwatch) -> int:
  """Trains on, saving as it goes."""
  data = train.dataset
  described = {'name': options['dataset_name'], 'split': data.split_name,
               'num_examples': data.num_examples, 'fingerprint': data.fingerprint,
               'validation_fingerprint': validation and validation.dataset.fingerprint}
  bad = {split.dataset.split_name: split.bad_images for split in (train, validation) if split}
  try:
    ended_by = run.train(
        trained, evaluator, plan, standing, training=train, validation=validation,
        batch_size=length.batch_size, seed=options['seed'], num_replicas=length.num_replicas,
        folder=folder, logs=folder, max_to_keep=options['max_to_keep'],
        describe=functools.partial(_describe, facts, described, options, standing, bad,
                                   started_from))
  except tf.errors.OpError as error:
    raise next((found for inputs in (train, validation) if inputs
                and (found := inputs.explain(error)) is not error), error) from error
  if ended_by:
    print(f'{ended_by.name}: saved step {trained.step} and left. The same command goes on.')
    return 128 + ended_by
  print(f'Finished at step {trained.step}, {watch.seconds:.1f} s after the start. Checkpoints are '
        f'in {folder}' + (f'; the best, of step {standing.best_step}, in {folder / "best"}.'
                          if standing.best_step is not None else '.'))
  return 0


def _describe(facts, dataset: dict, options: dict, standing: loop.Standing, bad: dict,
              started_from: str | None, step: int) -> dict:
  return metadata.describe(facts, step=step, dataset=dataset, flags=options, standing=standing,
                           bad_images=bad, started_from=started_from)


def main() -> int:
  """Trains, in --phases if there are any."""
  return phases.run(run_phase, rivals=optimization_flags.RIVALS)


if __name__ == '__main__':
  command_line.run(main)
