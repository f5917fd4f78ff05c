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
from slim_zoo.config.model import Geometry
from slim_zoo.weights import published, transforms
from slim_zoo.weights.dialects import keras, torch, torchvision
from slim_zoo.weights.published_accuracies import TOP_1_AND_5
from slim_zoo.weights.published_digests import SHA256
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
  assert entry.url.endswith(('.tgz', '.tar.gz', '.h5', '.pth', '.bin', '.caffemodel'))
  for source in entry.resource.mirrors:
    assert source.url.startswith('https://')
    assert source.digest or source.head
  if entry.digest:
    kind, digits = entry.digest
    assert re.fullmatch(f'[0-9a-f]{{{_DIGITS[kind]}}}', digits)
  else:
    assert entry.resource.head, 'nothing would be checked'
    assert 'tensorflow' in entry.url or 'mobilenet' in entry.url


@pytest.mark.parametrize('name', PUBLISHED_FILES)
def test_file_can_be_read(name):
  entry = PUBLISHED_FILES[name]
  dialects = {'keras': keras, 'torchvision': torchvision, 'timm': torch}.get(name.split('_')[0])
  if dialects is None:
    # Checkpoints, whose names are ours: nothing but the list tells how they are used.
    assert entry.preprocessing
    assert entry.image_size
    return
  known = dialects.dialects(entry.network)
  assert known
  assert entry.dialect in (None, *(dialect.name for dialect in known))
  # What the list says would count more than what the names tell.
  assert not entry.preprocessing
  if dialects is not torch:  # timm measured at other sizes than it trained.
    assert {dialect.image_size for dialect in known} <= {None, entry.image_size} or not (
      entry.image_size)


def test_no_file_twice():
  sources = [source for entry in PUBLISHED_FILES.values() for source in entry.resource.sources]
  assert len({source.url for source in sources}) == len(sources)


def test_every_digest_is_of_a_file():
  names = {entry.resource.filename for entry in PUBLISHED_FILES.values() if entry.digest}
  assert {*SHA256} <= names
  entry = PUBLISHED_FILES['mobilenet_v2_1.0_224']
  assert entry.digest == ('sha256', SHA256['mobilenet_v2_1.0_224.tgz'])


@pytest.mark.parametrize('name, mirror', [
  ('resnet_v1_50_2016_08_28',
   'https://download.tensorflow.org/models/resnet_v1_50_2016_08_28.tar.gz'),
  ('mobilenet_v1_1.0_224',
   'https://download.tensorflow.org/models/mobilenet_v1_2018_02_22/mobilenet_v1_1.0_224.tgz'),
  ('keras_resnet50', 'https://github.com/keras-team/keras-applications/releases/download/resnet/'
   'resnet50_weights_tf_dim_ordering_tf_kernels.h5'),
  ('keras_nasnet_mobile_notop', 'https://github.com/titu1994/Keras-NASNet/releases/download/v1.2/'
   'NASNet-mobile-no-top.h5'),
  ('timm_resnet50_a1_in1k',
   'https://huggingface.co/timm/resnet50.a1_in1k/resolve/main/pytorch_model.bin')])
def test_mirrors(name, mirror):
  assert [source.url for source in PUBLISHED_FILES[name].resource.mirrors] == [mirror]
  assert len({PUBLISHED_FILES[name].url, mirror}) == 2


@pytest.mark.parametrize('name', ['mobilenet_v2_1.0_224', 'keras_mobilenet_v2_1.0_224',
                                  'keras_mobilenet_v3_large_notop', 'torchvision_resnet50'])
def test_no_mirror_of_another_file(name):
  assert PUBLISHED_FILES[name].resource.mirrors == ()


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
  if network.startswith('mobilenet_edgetpu'):
    assert entry.top_1 is None  # The record gives that of the 8-bit version.
  else:
    assert (entry.top_1, entry.top_5) == (net.published.top_1, net.published.top_5)


@pytest.mark.parametrize('name', TOP_1_AND_5)
def test_accuracy(name):
  entry = PUBLISHED_FILES[name]
  assert entry.classes
  assert (entry.top_1, entry.top_5) == TOP_1_AND_5[name]
  assert 40 < entry.top_1 < 85
  assert entry.top_5 is None or 10 < entry.top_5 - entry.top_1 < 27


def test_which_files_have_no_accuracy():
  missing = {re.sub(r'\d+$', '…', name) for name, entry in PUBLISHED_FILES.items()
             if entry.classes and entry.top_1 is None and not name.startswith('timm_mobilenet')}
  assert missing == {
    'mobilenet_edgetpu_224_0.…', 'mobilenet_edgetpu_224_1.…',
    *(f'keras_mobilenet_{width}_…' for width in ('0.25', '0.50', '0.75', '1.0')),
    *(f'keras_mobilenet_v2_{width}_…' for width in ('0.35', '0.5', '1.0')),
    *(f'keras_mobilenet_v3_{kind}' for kind in (
      'large', 'large_minimalistic', 'small', 'small_minimalistic'))}


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
  """Reads {our name: [address, top-1, top-5]} from its source, without importing it."""
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
      elif (match := re.match(r' +url="([^"]+)"', line)) and function and name not in files:
        files[name] = [match[1]]
      elif (match := re.match(r' +"acc@[15]": ([0-9.]+)', line)) and name in files:
        files[name].append(float(match[1]))
  return files


def test_agrees_with_torchvision():
  theirs = _torchvisions()
  if not theirs:
    pytest.skip('torchvision is not installed')
  ours = {name: entry for name, entry in PUBLISHED_FILES.items()
          if name.startswith('torchvision_')}
  for name, entry in ours.items():
    assert [entry.url, entry.top_1, entry.top_5] == theirs[name][:3]
    assert entry.digest == ('sha256-prefix', re.search(r'-([0-9a-f]{8})\.pth$', entry.url)[1])


@pytest.mark.parametrize('name, size, texts', [
  ('torchvision_resnet50', 224, ('shorter side resized to 256', 'bilinear', 'RGB')),
  ('torchvision_resnet50_v2', 224, ('shorter side resized to 232', 'bilinear', 'RGB')),
  ('torchvision_mobilenet_v2', 224, ('shorter side resized to 256',)),
  ('torchvision_mobilenet_v2_v2', 224, ('shorter side resized to 232',)),
  ('torchvision_inception_v3', 299, ('shorter side resized to 342',)),
  ('keras_resnet50', 224, ('shorter side resized to 256', 'BGR', '(103.939, 116.779, 123.68)')),
  ('keras_vgg16', 224, ('shorter side resized to 256', 'RGB', '(123.68, 116.779, 103.939)')),
  ('keras_inception_v3', 299, ('bilinear_tf1', '/ 127.5')),
  ('timm_resnet50_a1_in1k', 288, ('shorter side resized to 288', 'bicubic', '(123.675, ')),
  ('timm_resnet18_a3_in1k', 224, ('shorter side resized to 235', 'bicubic', 'central 224×224')),
  ('timm_mobilenetv1_100_ra4_e3600_r224_in1k', 257, ('shorter side resized to 269', '/ 127.5')),
  ('timm_mobilenetv3_large_100_ra4_e3600_r224_in1k', 257,
   ('shorter side resized to 257', '/ 127.5')),
  ('timm_mobilenetv2_100_ra_in1k', 225, ('shorter side resized to 256', 'bicubic', '(123.675')),
  ('timm_mobilenetv3_large_100_miil_in21k_ft_in1k', 225, ('bilinear', 'value / 255')),
  ('vgg_16_2016_08_28', 224, ('shorter side resized to 256', 'bilinear_tf1',
                              '(123.68, 116.78, 103.94)')),
  ('mobilenet_v1_1.0_224', 224, ('0.875 of each side', 'bilinear_tf1', '/ 127.5')),
  ('bvlc_alexnet', 227, ('both sides resized to 256', 'BGR', '(104, 117, 124)'))])
def test_images_are_prepared_as_published(name, size, texts):
  entry = PUBLISHED_FILES[name]
  source = {'torchvision': torchvision, 'keras': keras, 'timm': torch}.get(name.split('_')[0])
  dialect = source.dialects(entry.network)[0].preprocessing if source else None
  recipe = entry.preprocessing or dialect or nets_factory.NETS[entry.network].preprocessing
  text = transforms.settle(entry.metadata(), recipe, Geometry()).describe(size)
  for expected in texts:
    assert expected in text


def test_a_file_is_known_by_its_name(tmp_path):
  path = tmp_path / 'resnet50-11ad3fa6.pth'
  assert published.resolve(str(path)) == (str(path), {})  # It does not exist.
  path.write_bytes(b'weights')
  found = published.resolve(str(path))[1]
  assert found['model_name'] == 'resnet50_torchvision'
  assert found['transform']['crop_fraction'] == 224 / 232


def test_a_file_is_known_by_its_names_on_disk(tmp_path):
  for name in ('mobilenetv3_large_100_ra-f55367f5.pth', 'mobilenetv3_large_100.ra_in1k.bin'):
    (tmp_path / name).write_bytes(b'weights')
    assert published.resolve(str(tmp_path / name))[1]['dialect'] == 'timm mobilenetv3'
  (tmp_path / 'pytorch_model.bin').write_bytes(b'weights')  # It could be anything.
  assert published.resolve(str(tmp_path / 'pytorch_model.bin'))[1] == {}


def test_a_name_that_many_files_share_tells_nothing(tmp_path):
  path = tmp_path / 'model.safetensors'
  path.write_bytes(b'weights')
  assert published.resolve(str(path)) == (str(path), {})
