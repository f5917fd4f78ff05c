"""The documents are correct: flags, commands, paths, links, tables and examples."""

from __future__ import annotations

import ast
import re
import shlex
import types

import numpy as np
import pytest
import tensorflow as tf
from absl import flags

from datasets import dataset_factory, indexed, tfrecord
from nets import catalogue, nets_factory, scopes
from nets.record import Net
from preprocessing import preprocessing_factory
from slim_zoo.config import programs
from slim_zoo.training import optimizers
from tests.command_lines import (
  EVAL,
  FOREIGN_OPTIONS,
  PROGRAMS,
  ROOT,
  TRAIN,
  blocks,
  check_command,
  commands,
  defined_flags,
  options_of,
  parse,
  prose,
  read,
  section,
)

DOCUMENTS = ('README.md', 'CONTRIBUTING.md', 'CHANGELOG.md',
             *sorted(f'docs/{path.name}' for path in (ROOT / 'docs').glob('*.md')))
# Placeholders for the user's files and for files that programs write.
NOT_HERE = ('data/', 'photos/', 'run/', 'runs/', 'lists/', 'results/', 'best/', 'train/',
            'validation/', 'val/', 'test/', 'flowers/', 'imagenet_sample/')
documents = pytest.mark.parametrize('name', DOCUMENTS)


def test_flags_are_parsed_as_by_the_programs():
  assert {'model_name', 'momentum', 'num_ps_tasks', 'flagfile'} - {*defined_flags(TRAIN)} == {
    'flagfile'}
  assert 'eval_dir' in defined_flags(EVAL)
  with pytest.raises(flags.UnrecognizedFlagError):
    parse(TRAIN, ['--eval_dir=run'])
  with pytest.raises(flags.IllegalFlagValueError):
    parse(TRAIN, ['--optimizer=adamv'])


@documents
def test_flags_and_options_exist(name):
  known = {flag for program in PROGRAMS for flag in defined_flags(program)} | {'flagfile', 'help',
                                                                           'helpfull'}
  known |= FOREIGN_OPTIONS
  for script in ROOT.glob('scripts/*.sh'):
    known |= options_of(script)
  mentioned = set(re.findall(r'(?<![\w-])--([a-z][\w-]*)', prose(read(name))))
  assert mentioned - known == set()


@documents
def test_commands_are_valid(name):
  for block in blocks(read(name), 'bash'):
    for words in commands(block):
      check_command(words)


def test_invalid_command_is_detected():
  for line in ('python train.py', 'scripts/start.sh', f'python {TRAIN} --model=lenet',
               'scripts/setup_env.sh --tpu', f'python {TRAIN} --flagfile=scripts/recipes/none',
               f'python {EVAL} --batch_size=0', 'tensorbord --logdir=run'):
    with pytest.raises((AssertionError, OSError, flags.Error)):
      check_command(shlex.split(line))


def anchors(name: str) -> set[str]:
  """The possible link targets in a document: its titles, as GitHub spells them."""
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
def test_mentioned_tables_exist_in_the_code(name):
  for table, path in re.findall(r'`([A-Z_]{3,})`, in\s+`([\w./]+\.py)`', prose(read(name))):
    assert re.search(rf'^{table}\b.* = ', read(path), re.MULTILINE), f'{table} in {path}'


def catalogue_rows() -> dict[str, list[str]]:
  """The rows of the catalogue's table, by the network's name."""
  lines = [line for line in read('docs/networks.md').splitlines() if line.startswith('|')]
  rows = [[cell.strip() for cell in line.strip('|').split('|')] for line in lines]
  assert rows[0] == [*catalogue.HEADERS]
  return {row[0]: row for row in rows[2:]}


def test_catalogue_has_every_network():
  assert [*catalogue_rows()] == nets_factory.list_nets()


# The rows are computed by the same code for all networks, and the golden counts are in tests/nets.
@pytest.mark.parametrize('name', [
  name if name.endswith(('_v1', '_v2', '_v3', '_50', 'net', '_a'))
  else pytest.param(name, marks=pytest.mark.thorough) for name in nets_factory.list_nets()])
def test_catalogue_matches_the_records(name):
  assert catalogue_rows()[name] == [*catalogue.row(name)]


def test_readme_has_no_placeholder():
  words = set(re.findall(r'(?<![\w`/$*-])[A-Z]{5,}(?![\w`*.-])', prose(read('README.md'))))
  assert words <= {'CIFAR', 'GTSRB', 'LICENSE', 'MNIST', 'NVIDIA', 'SIGTERM'}


def test_readme_names_every_family():
  named = set(re.findall(r'`([\w]+)`', section('README.md', 'Networks'))) & {*nets_factory.NETS}
  stems = {re.match(r'[a-z]+(?:_v\d)?', name).group() for name in named}
  assert [name for name in nets_factory.NETS if not name.startswith(tuple(stems))] == []


def test_every_dataset_is_documented():
  table = section('docs/data.md', 'Supported datasets')
  assert [name for name in dataset_factory.DATASETS if f'`{name}`' not in table] == []


def test_every_retired_flag_is_documented():
  retired = [*programs.RETIRED_IN_TRAINING, *programs.RETIRED_IN_EVALUATION]
  assert len(retired) == 6
  text = section('docs/training.md', 'Differences from TF-Slim')
  assert [name for name in retired if f'`--{name}`' not in text] == []


@pytest.mark.parametrize('name', ['README.md', 'docs/benchmarks.md'])
def test_figures_are_numbers_or_a_dash(name):
  table = re.search(r'^\| what \| figure \|\n.*?\n\n', read(name), re.MULTILINE | re.DOTALL)
  rows = [line.strip('| ').split(' | ') for line in table.group().splitlines()[2:] if line]
  assert rows
  assert [row for row in rows if len(row) != 2 or not re.search(r'^–$|\d', row[1])] == []


def test_readme_has_one_example_of_the_python_api():
  (example_,) = blocks(read('README.md'), 'python')
  assert example_.startswith('import slim_zoo')
  ast.parse(example_)


@pytest.mark.parametrize('name', ['data', 'training', 'transfer_learning', 'weights', 'checkpoints',
                                  'evaluation_and_export', 'benchmarks'])
def test_table_of_contents_lists_every_section(name):
  text = read(f'docs/{name}.md')
  contents = re.findall(r'^- \[(.*)\]\(#.*\)$', text[:text.index('\n## ')], re.MULTILINE)
  assert contents == re.findall(r'^## (.*)', text, re.MULTILINE)


# ---- CONTRIBUTING's examples ----

EXAMPLE_FILES = ('nets/tinynet.py', 'datasets/prefixed.py', 'preprocessing/plain.py',
                 'tests/datasets/test_prefixed.py')


def example(first_words: str) -> str:
  """The Python block of CONTRIBUTING that starts with these words."""
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


def test_every_example_is_tested():
  option, *examples = blocks(read('CONTRIBUTING.md'), 'python')
  assert option in read('slim_zoo/config/training.py')
  assert len(examples) == 9
  for block in examples:
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
  state = optimizers.state(kind, optimizer, variables={'net/weights': variable}, created={})
  np.testing.assert_allclose(state['net/weights/ProximalAdagrad'], [1.1, 1.1])
