"""The list of published weights against the sources that it was taken from."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import pathlib
import re

import pytest
from keras.src import applications

from nets import nets_factory
from preprocessing.preprocessing_factory import PREPROCESSING
from slim_zoo.weights.dialects import keras, torchvision
from slim_zoo.weights.published_files import PUBLISHED_FILES

_DIGITS = {'md5': 32, 'sha1': 40, 'sha256': 64, 'sha256-prefix': 8}


@pytest.mark.parametrize('name', PUBLISHED_FILES)
def test_entry(name):
  entry = PUBLISHED_FILES[name]
  net = nets_factory.NETS[entry.network]
  assert net.classes == 1000
  assert entry.classes in (1000, 1001) or (entry.classes is None and name.endswith('_notop'))
  assert entry.preprocessing in (*PREPROCESSING, None)
  assert entry.image_size in (*range(96, 332), None)
  assert entry.url.startswith(('https://', 'http://dl.caffe.'))
  assert entry.url.endswith(('.tgz', '.tar.gz', '.h5', '.pth', '.caffemodel'))
  if entry.digest:
    kind, digits = entry.digest
    assert re.fullmatch(f'[0-9a-f]{{{_DIGITS[kind]}}}', digits)
  else:
    assert entry.resource.head, 'nothing would be checked'
    assert 'tensorflow' in entry.url or 'mobilenet' in entry.url


@pytest.mark.parametrize('name', PUBLISHED_FILES)
def test_file_can_be_read(name):
  entry = PUBLISHED_FILES[name]
  of_keras, of_torchvision = name.startswith('keras_'), name.startswith('torchvision_')
  if not of_keras and not of_torchvision:
    # Checkpoints, whose names are ours: nothing but the list tells how they are used.
    assert entry.preprocessing
    assert entry.image_size
    return
  known = (keras if of_keras else torchvision).dialects(entry.network)
  assert known
  # What the list says would count more than what the names tell.
  assert not entry.preprocessing
  assert {dialect.image_size for dialect in known} <= {None, entry.image_size} or not (
    entry.image_size)


def test_no_file_twice():
  addresses = [entry.url for entry in PUBLISHED_FILES.values()]
  assert len(set(addresses)) == len(addresses)


# EfficientNet-Lite's own checkpoints are not in the list.
_RECORDS = {net.published.name: (name, net) for name, net in nets_factory.NETS.items()
            if net.published and not name.startswith('efficientnet')}


@pytest.mark.parametrize('record', _RECORDS)
def test_agrees_with_the_networks_record(record):
  network, net = _RECORDS[record]
  name = record
  if record.startswith('Keras '):
    name = record.lower().replace(' ', '_')
  elif record.startswith('torchvision '):
    name = next(key for key, entry in PUBLISHED_FILES.items()
                if entry.url.endswith(f'/{record.split()[1]}.pth'))
  entry = PUBLISHED_FILES[name]
  assert (entry.network, entry.classes) == (network, net.published.classes)
  if entry.image_size:
    assert entry.image_size == (net.published.image_size or net.image_size)
  if entry.preprocessing:
    assert entry.preprocessing == (net.published.preprocessing or net.preprocessing)


# How Keras' functions choose a file, by the names of our list. The text of each that chooses it is
# run with these values of its variables; the module is named where it is not as the entry is.
_MOBILENET = [(f'mobilenet_{width}_{size}', 'mobilenet', {'alpha': float(width), 'rows': size})
              for width in ('1.0', '0.75', '0.50', '0.25') for size in (224, 192, 160, 128)]
_MOBILENET_V2 = [(f'mobilenet_v2_{width}_{size}', 'mobilenet_v2',
                  {'alpha': float(width), 'rows': size})
                 for width, sizes in (('1.4', (224,)), ('1.0', (224, 192, 160, 128, 96)),
                                      ('0.5', (224, 192, 160, 128, 96)),
                                      ('0.35', (224, 192, 160, 128, 96))) for size in sizes]
_MOBILENET_V3 = [(f'mobilenet_v3_{kind}{"_minimalistic" * minimalistic}', 'mobilenet_v3',
                  {'model_type': kind, 'minimalistic': minimalistic, 'alpha': 1.0})
                 for kind in ('large', 'small') for minimalistic in (False, True)]
_RESNETS = [(f'resnet{depth}{version}', 'resnet', {'weights_name': f'resnet{depth}{version}'})
            for depth in (50, 101, 152) for version in ('', 'v2')]
_KERAS = [
  *_MOBILENET, *_MOBILENET_V2, *_MOBILENET_V3, *_RESNETS,
  *((name, name, {}) for name in ('inception_v3', 'inception_resnet_v2', 'vgg16', 'vgg19')),
  *((f'nasnet_{kind}', 'nasnet', {'default_size': size})
    for kind, size in (('mobile', 224), ('large', 331))),
]


def _file_of_keras(module_name, include_top, variables):
  """Runs what a Keras module does to choose a file; returns (address, MD5 or None)."""
  module = importlib.import_module(f'{applications.__name__}.{module_name}')
  tree = ast.parse(pathlib.Path(module.__file__).read_text(encoding='utf-8'))
  choices = [node for node in ast.walk(tree) if isinstance(node, ast.If)
             and '"imagenet"' in ast.unparse(node.test).replace("'", '"')
             and 'get_file' in ast.unparse(node)]
  assert len(choices) == 1
  asked = []

  class Files:
    @staticmethod
    def get_file(name, url, cache_subdir, file_hash=None):
      asked.append((url, file_hash))

  class Model:
    def load_weights(self, path):
      pass

  code = compile(ast.Module([choices[0]], type_ignores=[]), module.__file__, 'exec')
  exec(code, {**vars(module), 'file_utils': Files, 'model': Model(), 'weights': 'imagenet',
              'include_top': include_top, **variables})
  (found,) = asked
  return found


@pytest.mark.parametrize(('name', 'module', 'variables'), _KERAS)
def test_agrees_with_keras(name, module, variables):
  for suffix, include_top in (('', True), ('_notop', False)):
    entry = PUBLISHED_FILES[f'keras_{name}{suffix}']
    url, md5 = _file_of_keras(module, include_top, variables)
    assert (entry.url, entry.digest) == (url, ('md5', md5) if md5 else None)


def test_every_keras_file_is_compared():
  known = {f'keras_{name}{suffix}' for name, _, _ in _KERAS for suffix in ('', '_notop')}
  assert known == {name for name in PUBLISHED_FILES if name.startswith('keras_')}


def _torchvisions():
  """Reads {our name: address} from torchvision's source, without importing it."""
  found = importlib.util.find_spec('torchvision')
  if found is None:
    return {}
  files = {}
  for path in (pathlib.Path(found.origin).parent / 'models').glob('*.py'):
    function = ''
    for line in path.read_text(encoding='utf-8').splitlines():
      if match := re.match(r'class (\w+)_Weights\(WeightsEnum\)', line):
        function = match[1].lower()
      elif match := re.match(r' +IMAGENET1K_V(\d) = Weights\(', line):
        name = f'torchvision_{function}{"_v2" * (match[1] == "2")}'
      elif (match := re.match(r' +url="([^"]+)"', line)) and function:
        files.setdefault(name, match[1])
  return files


def test_agrees_with_torchvision():
  theirs = _torchvisions()
  if not theirs:
    pytest.skip('torchvision is not installed')
  ours = {name: entry for name, entry in PUBLISHED_FILES.items()
          if name.startswith('torchvision_')}
  for name, entry in ours.items():
    assert entry.url == theirs[name]
    assert entry.digest == ('sha256-prefix', re.search(r'-([0-9a-f]{8})\.pth$', entry.url)[1])
