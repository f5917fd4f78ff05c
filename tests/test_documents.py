"""What README, CONTRIBUTING and the recipes say is so: flags, commands, paths, tables, examples."""

from __future__ import annotations

import ast
import functools
import importlib.util
import itertools
import pathlib
import re
import shlex
import sys
import types

import numpy as np
import pytest
import tensorflow as tf
from absl import flags

from datasets import dataset_factory, indexed, tfrecord
from nets import catalogue, extractors, layers, nets_factory, scopes
from nets.record import Net
from preprocessing import preprocessing_factory
from scripts.experiments.catalogue import EXPERIMENTS
from slim_zoo.config import flag_values
from slim_zoo.training import optimizers, phases

ROOT = pathlib.Path(__file__).resolve().parents[1]
DOCUMENTS = ('README.md', 'CONTRIBUTING.md', 'CHANGELOG.md', 'docs/networks.md', 'docs/folders.md',
             'docs/lists.md')
RECIPES = sorted(path.name for path in (ROOT / 'scripts' / 'recipes').iterdir())
TRAIN, EVAL = 'train_image_classifier.py', 'eval_image_classifier.py'
PROGRAMS = (TRAIN, EVAL, 'extract_features.py', 'train_on_features.py', 'predict_image.py',
            'export_model.py', 'convert_weights.py', 'download_and_convert_data.py',
            'list_networks.py', 'scripts/benchmark_training_step.py',
            'scripts/benchmark_transfer_learning.py', 'scripts/experiments/cifar10_subset.py',
            'scripts/experiments/split_features.py', 'scripts/experiments/write_list.py',
            'scripts/mutate_images.py', 'scripts/mutate_weights.py', 'scripts/run_experiment.py')
# Those that take more than flags: names of images.
TAKES_ARGUMENTS = ('predict_image.py',)
# What the documents call and this project does not bring, so that its options are not ours.
FOREIGN = {'source', 'tensorboard', 'uv', 'echo', 'if', 'fi'}
FOREIGN_OPTIONS = {'upgrade'}  # Of uv, mentioned outside of its command line.
# Names that stand for what the user has or what programs write.
NOT_HERE = ('data/', 'photos/', 'run/', 'runs/', 'lists/', 'results/', 'best/', 'train/',
            'validation/', 'val/', 'test/', 'flowers/', 'imagenet_sample/')
documents = pytest.mark.parametrize('name', DOCUMENTS)
recipes = pytest.mark.parametrize('name', RECIPES)


# ---- reading ----

def read(name: str) -> str:
  return (ROOT / name).read_text(encoding='utf-8')


def blocks(text: str, language: str) -> list[str]:
  return re.findall(rf'^```{language}\n(.*?)^```', text, re.MULTILINE | re.DOTALL)


def prose(text: str) -> str:
  """A document without its code blocks and comments."""
  return re.sub(r'^```.*?^```|<!--.*?-->', '', text, flags=re.MULTILINE | re.DOTALL)


def commands(text: str) -> list[list[str]]:
  """The command lines of a shell script, each as its words, without `|| …` and assignments."""
  lines = text.replace('\\\n', ' ').splitlines()
  split = [shlex.split(line.split('||')[0], comments=True) for line in lines]
  return [words for words in split if words and not re.fullmatch(r'\w+=\w*', words[0])]


def header(name: str) -> str:
  """The comment that a recipe begins with, without its marks."""
  lines = read(f'scripts/recipes/{name}').splitlines()
  end = next(i for i, line in enumerate(lines) if not line.startswith('#'))
  return '\n'.join(line[1:].removeprefix(' ') for line in lines[:end])


def header_commands(name: str) -> list[list[str]]:
  indented = [line for line in header(name).splitlines() if line.startswith('  ')]
  return [words for words in commands('\n'.join(indented)) if words[0] == 'python']


@functools.cache
def defined_flags(program: str) -> flags.FlagValues:
  """The flags that a program defines, apart from those of this process."""
  values = flags.FlagValues()
  spec = importlib.util.spec_from_file_location(f'_{pathlib.Path(program).stem}', ROOT / program)
  module = importlib.util.module_from_spec(spec)
  with pytest.MonkeyPatch.context() as patch:
    patch.syspath_prepend(str(ROOT / 'scripts'))
    patch.setitem(sys.modules, spec.name, module)  # Where dataclasses look for it.
    patch.setattr(flags, 'FLAGS', values)
    for define in [name for name in dir(flags) if name.startswith('DEFINE_')]:
      patch.setattr(flags, define, functools.partial(getattr(flags, define), flag_values=values))
    spec.loader.exec_module(module)
    if hasattr(module, 'define_flags'):
      module.define_flags()
  if hasattr(module, 'OPTIONS'):
    flag_values.define(module.OPTIONS, values)
  return values


def parse(program: str, arguments: list[str]) -> flags.FlagValues:
  """Parses a command line as the program does; an unknown flag or a wrong value is an error."""
  values = defined_flags(program)
  values.unparse_flags()
  for name in values:
    values[name].unparse()
  values.set_gnu_getopt(program in TAKES_ARGUMENTS)
  rest = values([program, *arguments])[1:]
  assert rest == [] or program in TAKES_ARGUMENTS, f'{program} takes flags only'
  return values


def run_of(name: str, *more: str) -> flags.FlagValues:
  return parse(TRAIN, [f'--flagfile={ROOT / "scripts" / "recipes" / name}', *more])


def runs_of(name: str) -> list[types.SimpleNamespace]:
  """The flags of each phase of a recipe, or of its one run; `chosen` are those that it sets."""
  text, runs = run_of(name).phases, []
  for words in phases.parse(text) if text else [[]]:
    values = run_of(name, *(f'--{word}' for word in words))
    runs.append(types.SimpleNamespace(
      chosen={flag for flag in values if values[flag].present}, **values.flag_values_dict()))
  return runs


@functools.cache
def variables(model_name: str) -> dict[str, tuple[int, ...]]:
  """The shapes of a network's trainable variables, for the classes that its table counts with."""
  small = model_name in ('cifarnet', 'lenet')
  net = nets_factory.get_net(model_name)
  with tf.Graph().as_default(), layers.arg_scope(net.arg_scope()), \
      layers.arg_scope(layers.RANDOM, keys=tf.zeros([1, 2], tf.int64)):
    images = tf.zeros([1, net.image_size, net.image_size, net.channels])
    net.function(images, 10 if small else 1000, is_training=True)
    return {v.op.name: tuple(v.shape) for v in tf.compat.v1.trainable_variables()}


def options_of(script: pathlib.Path) -> set[str]:
  """What a shell script compares its arguments with, in `case` or `[[ … == --all ]]`."""
  return set(re.findall(r'(?:==|^|\|) *--([a-z-]+)(?=\)| \]\]| \|)', script.read_text(),
                        re.MULTILINE))


# ---- README, CONTRIBUTING, CHANGELOG ----

def test_the_flags_are_read_as_the_programs_define_them():
  assert {'model_name', 'momentum', 'worker_replicas', 'flagfile'} - {*defined_flags(TRAIN)} == {
    'flagfile'}
  assert 'eval_dir' in defined_flags(EVAL)
  with pytest.raises(flags.UnrecognizedFlagError):
    parse(TRAIN, ['--eval_dir=run'])
  with pytest.raises(flags.IllegalFlagValueError):
    parse(TRAIN, ['--optimizer=adamw'])


@documents
def test_flags_and_options_exist(name):
  known = {flag for program in PROGRAMS for flag in defined_flags(program)} | {'flagfile', 'help'}
  known |= FOREIGN_OPTIONS
  for script in ROOT.glob('scripts/*.sh'):
    known |= options_of(script)
  mentioned = set(re.findall(r'(?<![\w-])--([a-z][\w-]*)', prose(read(name))))
  assert mentioned - known == set()


def check_command(words: list[str]) -> None:
  """A command names a program of this project, with flags and values that it takes."""
  if words == ['python', 'scripts/lock.py']:
    assert (ROOT / words[1]).is_file()
  elif words[0] == 'python':
    program, arguments = words[1], words[2:]
    assert program in PROGRAMS
    for argument in [a for a in arguments if a.startswith('--flagfile=')]:
      assert (ROOT / argument.partition('=')[2]).is_file(), argument
    parse(program, [re.sub('^--flagfile=', f'--flagfile={ROOT}/', a) for a in arguments])
  elif words[0].startswith('scripts/'):
    assert (ROOT / words[0]).stat().st_mode & 0o100, f'{words[0]} cannot be executed'
    options = {word[2:] for word in words[1:] if word.startswith('--')}
    assert options <= options_of(ROOT / words[0])
    for path in [word for word in words[1:] if word.startswith('tests/')]:
      assert (ROOT / path).exists()
  else:
    assert words[0] in FOREIGN


@documents
def test_commands_run_what_exists(name):
  for block in blocks(read(name), 'bash'):
    for words in commands(block):
      check_command(words)


def test_a_wrong_command_is_found():
  for line in ('python train.py', 'scripts/start.sh', f'python {TRAIN} --model=lenet',
               'scripts/setup_env.sh --tpu', f'python {TRAIN} --flagfile=scripts/recipes/none',
               f'python {EVAL} --batch_size=0', 'tensorbord --logdir=run'):
    with pytest.raises((AssertionError, OSError, flags.Error)):
      check_command(shlex.split(line))


def anchors(name: str) -> set[str]:
  """What a link into a document can name: its titles, as GitHub spells them."""
  titles = re.findall(r'^#+ (.*)', prose(read(name)), re.MULTILINE)
  return {re.sub(r'[^\w -]', '', title.lower()).replace(' ', '-') for title in titles}


@documents
def test_paths_and_links_exist(name):
  text = prose(read(name))
  for target in re.findall(r'\]\(([^)]+)\)', text):
    if '://' in target:
      continue
    path, _, anchor = target.partition('#')
    linked = (ROOT / name).parent / path if path else ROOT / name
    assert linked.exists(), target
    assert not anchor or anchor in anchors(str(linked.relative_to(ROOT))), target
  tops = {path.name for path in ROOT.iterdir() if path.is_dir()}
  for path in re.findall(r'`([\w./-]+)`', text):
    top = path.split('/')[0]
    is_ours = (path.endswith(('.py', '.sh', '.in', '.lock', '.md'))
               or ('/' in path and top in tops)) and not path.startswith(NOT_HERE)
    if is_ours and path not in EXAMPLE_FILES:
      assert (ROOT / path).exists() or path == 'utils.py', path


@documents
def test_tables_of_the_code_are_where_they_are_said_to_be(name):
  for table, path in re.findall(r'`([A-Z_]{3,})`, in\s+`([\w./]+\.py)`', prose(read(name))):
    assert re.search(rf'^{table}\b.* = ', read(path), re.MULTILINE), f'{table} in {path}'


def catalogue_rows() -> dict[str, list[str]]:
  """The rows of the catalogue's table, by the network's name."""
  lines = [line for line in read('docs/networks.md').splitlines() if line.startswith('|')]
  rows = [[cell.strip() for cell in line.strip('|').split('|')] for line in lines]
  assert rows[0] == [*catalogue.HEADERS]
  return {row[0]: row for row in rows[2:]}


def test_the_catalogue_has_every_network():
  assert [*catalogue_rows()] == nets_factory.list_nets()


@pytest.mark.parametrize('name', nets_factory.list_nets())
def test_the_catalogue_is_what_the_records_say(name):
  assert catalogue_rows()[name] == [*catalogue.row(name)]


def test_readme_has_no_placeholder():
  words = set(re.findall(r'(?<![\w`/$*-])[A-Z]{5,}(?![\w`*.-])', prose(read('README.md'))))
  assert words <= {'CIFAR', 'GTSRB', 'LICENSE', 'MNIST', 'NVIDIA', 'SIGTERM'}


def test_readme_names_every_family():
  text = read('README.md')
  table = text[text.index('## Networks'):text.index('## How a run starts')]
  named = set(re.findall(r'`([\w]+)`', table)) & {*nets_factory.NETS}
  stems = {re.match(r'[a-z]+(?:_v\d)?', name).group() for name in named}
  assert [name for name in nets_factory.NETS if not name.startswith(tuple(stems))] == []


def test_readme_has_every_dataset_retired_flag_and_recipe():
  text = read('README.md')
  assert [name for name in dataset_factory.DATASETS if f'`{name}`' not in text] == []
  retired = [name for program in (TRAIN, EVAL) for name in defined_flags(program)
             if defined_flags(program)[name].help.startswith('Not used any more')]
  assert len(retired) == 10
  assert [name for name in retired if f'`--{name}`' not in text] == []
  table = text[text.index('| recipe |'):]
  for name in RECIPES:
    assert f'`{name.removesuffix(".flags")}`' in table, name


def test_figures_of_readme_are_numbers_or_a_dash():
  table = re.search(r'^\| what \| figure \|\n.*?\n\n', read('README.md'), re.MULTILINE | re.DOTALL)
  rows = [line.strip('| ').split(' | ') for line in table.group().splitlines()[2:] if line]
  assert rows
  assert [row for row in rows if len(row) != 2 or not re.search(r'^–$|\d', row[1])] == []


# ---- CONTRIBUTING's examples ----

EXAMPLE_FILES = ('nets/tinynet.py', 'datasets/prefixed.py', 'preprocessing/plain.py',
                 'tests/datasets/test_prefixed.py')


def example(first_words: str) -> str:
  """The Python block of CONTRIBUTING that begins so."""
  found = [b for b in blocks(read('CONTRIBUTING.md'), 'python')
           if b.strip().startswith(first_words)]
  assert len(found) == 1
  return found[0]


def module(first_words: str) -> types.SimpleNamespace:
  names = {}
  exec(compile(example(first_words), 'CONTRIBUTING.md', 'exec'), names)
  return types.SimpleNamespace(**names)


def entry(first_words: str, **names):
  """The value of an example's entry of a table."""
  (value,) = eval(f'{{{example(first_words)}}}', names).values()
  return value


def test_examples_are_all_tried():
  assert len(blocks(read('CONTRIBUTING.md'), 'python')) == 9
  for block in blocks(read('CONTRIBUTING.md'), 'python'):
    ast.parse(block if block.startswith('"""') else f'{{{block}}}')


def test_example_of_a_network(monkeypatch):
  net = entry("'tinynet': Net", Net=Net, tinynet=module('"""TinyNet'))
  channels, classes, count = entry("'tinynet': (")
  monkeypatch.setitem(nets_factory.NETS, 'tinynet', net)
  network = nets_factory.build_network('tinynet', image_shape=[64, 64, channels],
                                       num_classes=classes, is_training=True)
  shapes = {name: network.variables[name].shape for name in network.trainable}
  assert sum(int(np.prod(shape)) for shape in shapes.values()) == count
  assert scopes.select(shapes, net.head, 'head')
  logits, end_points = network(tf.zeros([2, 64, 64, 3]), is_training=False)
  assert logits.shape == [2, classes]
  assert {'conv1', 'conv2', 'Logits', 'Predictions'} <= set(end_points)


def test_example_of_a_dataset(monkeypatch, tmp_path):
  for name in ('cat', 'dog'):
    for i in range(5):
      pixels = np.full([8, 8, 3], 10 * i, np.uint8)
      (tmp_path / f'{name}_{i}.jpg').write_bytes(tf.io.encode_jpeg(pixels).numpy())
  get_split = entry("'prefixed'", prefixed=module('"""One folder of photos'))
  monkeypatch.setitem(dataset_factory.DATASETS, 'prefixed', get_split)
  splits = [dataset_factory.get_dataset('prefixed', split, tmp_path)
            for split in ('train', 'validation')]
  assert [split.class_names for split in splits] == [('cat', 'dog')] * 2
  assert sum(split.num_examples for split in splits) == 10
  assert all(isinstance(split.examples, indexed.IndexedExamples) for split in splits)
  assert [split.find_bad_images(tf.io.decode_jpeg) for split in splits] == [(), ()]


def test_example_of_a_source_of_records():
  source = entry("'pets'", Source=tfrecord.Source)
  assert source.file_pattern % 'train' == 'pets_train_*.tfrecord'


def test_example_of_a_preprocessing(monkeypatch):
  recipe = entry("'plain'", Recipe=preprocessing_factory.Recipe,
                 plain=module('"""A plain recipe'))
  monkeypatch.setitem(preprocessing_factory.PREPROCESSING, 'plain', recipe)
  pixels = np.random.default_rng(0).integers(0, 256, [20, 30, 3]).astype(np.uint8)
  still = preprocessing_factory.get_preprocessing('plain')(tf.constant(pixels), 20, 30)
  np.testing.assert_allclose(still, pixels / 255, atol=1e-6)
  preprocess = preprocessing_factory.get_preprocessing('plain', is_training=True)
  seen = {preprocess(tf.constant(pixels), 20, 30, seed=tf.constant([0, i])).numpy().tobytes()
          for i in range(8)}
  assert seen == {still.numpy().tobytes(), still.numpy()[:, ::-1].tobytes()}


def test_example_of_an_optimizer():
  kind = entry("'proximal_adagrad'", Optimizer=optimizers.Optimizer, _v1=tf.compat.v1.train)
  optimizer, variable = kind.create(0.1, optimizers.Settings()), tf.Variable([1.0, 2.0])

  @tf.function
  def update():
    optimizer.apply_gradients([(tf.ones([2]), variable)])

  update()
  assert variable.numpy()[0] < 1
  state = optimizers.state(kind, optimizer, {'net/weights': variable}, {})
  np.testing.assert_allclose(state['net/weights/ProximalAdagrad'], [1.1, 1.1])


# ---- recipes ----

@recipes
def test_recipe_says_what_it_is(name):
  text = header(name)
  assert re.search(r'^Hardware, time and accuracy: (not measured here[.;]|.*\d)', text,
                   re.MULTILINE)
  assert re.search(r'^Data: ', text, re.MULTILINE)
  called = header_commands(name)
  assert [words[1] for words in called][-2:] == [TRAIN, EVAL]
  assert f'--flagfile=scripts/recipes/{name}' in called[-2]
  for words in called:
    check_command(words)


@recipes
def test_recipe_leaves_folders_to_the_command(name):
  for run in runs_of(name):
    assert {'model_name', 'dataset_name', 'optimizer', 'learning_rate',
            'weight_decay'} <= run.chosen
    assert run.chosen & {'train_dir', 'dataset_dir', 'checkpoint_path'} == set()
    assert len(run.chosen & {'epochs', 'max_number_of_steps'}) == 1
  lines = [line for line in read(f'scripts/recipes/{name}').splitlines()
           if not line.startswith('#')]
  assert all(re.fullmatch(r'--\w+=\S+|--phases=.+', line) for line in lines)
  whole = run_of(name)
  assert len(lines) == sum(whole[flag].present for flag in whole)


@recipes
def test_names_in_a_recipe_are_known(name):
  for run in runs_of(name):
    nets_factory.get_net(run.model_name)
    assert run.dataset_name in dataset_factory.DATASETS
    recipe = nets_factory.preprocessing_name(run.preprocessing_name or run.model_name)
    assert recipe in preprocessing_factory.PREPROCESSING
    for flag in ('trainable_scopes', 'checkpoint_exclude_scopes'):
      for scope in scopes.split(getattr(run, flag)):
        assert scopes.select(variables(run.model_name), [scope], flag)


@recipes
def test_phases_of_a_recipe_belong_together(name):
  runs = runs_of(name)
  head = ','.join(nets_factory.get_net(runs[0].model_name).head)
  if name.startswith('train_'):
    assert [run.trainable_scopes for run in runs] == [None]
    return
  assert len(runs) == (1 if name.endswith('_head.flags') else 2)
  assert runs[0].checkpoint_exclude_scopes == runs[0].trainable_scopes == head
  for before, run in itertools.pairwise(runs):  # The head, then more of the network, more slowly.
    assert run.trainable_scopes is None or run.trainable_scopes.endswith(f',{head}')
    assert run.learning_rate < before.learning_rate
    same = ('model_name', 'dataset_name', 'dataset_split_name', 'labels_offset')
    assert [getattr(run, flag) for flag in same] == [getattr(before, flag) for flag in same]


def test_recipes_of_tf_slim_have_its_values():
  # Reference: tensorflow/models, research/slim/scripts, the scripts of the same names.
  def finetuning(decay, *phases_):
    return [('rmsprop', rate, decay, 0.94, 2.0, steps, 0.00004) for rate, steps in phases_]

  expected = {
    'train_lenet_on_mnist': [('sgd', 0.01, 'exponential', 1.0, 2.0, 20000, 0.0)],
    'train_cifarnet_on_cifar10': [('sgd', 0.1, 'exponential', 0.1, 200.0, 100000, 0.004)],
    **{f'finetune_{name}_on_flowers': finetuning('exponential', (0.01, 3000), (0.001, 1000))
       for name in ('inception_v1', 'resnet_v1_50')},
    **{f'finetune_{name}_on_flowers': finetuning('fixed', (0.01, 1000), (0.0001, 500))
       for name in ('inception_v3', 'inception_resnet_v2')},
  }
  for name, phases_ in expected.items():
    runs = runs_of(f'{name}.flags')
    assert phases_ == [
      (run.optimizer, run.learning_rate, run.learning_rate_decay_type,
       run.learning_rate_decay_factor, run.num_epochs_per_decay, run.max_number_of_steps,
       run.weight_decay) for run in runs], name
    assert {run.batch_size for run in runs} == {32}


# ---- experiments ----

@pytest.mark.parametrize('name', sorted(EXPERIMENTS))
def test_commands_of_an_experiment_exist(name):
  experiment = EXPERIMENTS[name]
  for command in (*experiment.prepare, *experiment.commands):
    program, *words = shlex.split(command.format(
      data='data', weights='--checkpoint_path=weights', work='work', run='run', seed=0))
    values = parse(program, words)
    if 'model_name' in values:
      net = nets_factory.get_net(values['model_name'].value)
    if 'end_point' in values and values['end_point'].value:
      extractors.find_end_point(net, values['end_point'].value)
