"""Every recipe in the table, as used by the programs."""

import numpy as np
import pytest
import tensorflow as tf

from preprocessing.preprocessing_factory import PREPROCESSING, get_preprocessing

RANDOM = [name for name, recipe in PREPROCESSING.items() if recipe.is_random]


def test_names():
  assert set(PREPROCESSING) == {'caffe', 'cifarnet', 'efficientnet_lite', 'inception', 'lenet',
                                'resnet_keras', 'torchvision', 'vgg'}
  assert set(PREPROCESSING) - set(RANDOM) == {'lenet'}


@pytest.mark.parametrize('name', PREPROCESSING)
@pytest.mark.parametrize(('is_training', 'channels'), [(False, 1), (True, 3)])
def test_shape_and_type(name, is_training, channels, photo, encode):
  preprocess = get_preprocessing(name, is_training, channels=channels)
  seed = tf.constant([1, 2], tf.int64)
  colour, grey = photo[:40, :50], photo[:40, :50, :1]
  files = tf.data.Dataset.from_tensor_slices([encode(colour, 'PNG'), encode(grey[..., 0], 'PNG')])
  of_files = files.map(lambda image: preprocess(image, 24, 28, seed=seed))
  expected = [24, 28, channels]
  assert of_files.element_spec == tf.TensorSpec(expected, tf.float32)
  of_pixels = [preprocess(tf.constant(pixels), 24, 28, seed=seed) for pixels in (colour, grey)]
  low, high = {'inception': (-1, 1), 'lenet': (-1, 1), 'efficientnet_lite': (-1, 1),
               'torchvision': (-2.2, 2.7), 'cifarnet': (-20, 20)}.get(name, (-130, 160))
  for result, same in zip(of_files, of_pixels, strict=True):
    assert same.shape == expected and same.dtype == tf.float32
    np.testing.assert_allclose(result, same, atol=1e-3)
    assert np.isfinite(result).all() and np.std(result) > 0
    assert low <= np.min(result) and np.max(result) <= high


@pytest.mark.parametrize('name', PREPROCESSING)
@pytest.mark.parametrize('is_training', [False, True])
def test_grayscale_is_one_channel(name, is_training, photo):
  seed = tf.constant([1, 2], tf.int64)
  of_flag, of_channels = (
      get_preprocessing(name, is_training, **arguments)(tf.constant(photo), 24, 28, seed=seed)
      for arguments in ({'use_grayscale': True, 'channels': 3}, {'channels': 1}))
  assert of_flag.shape == [24, 28, 1]
  np.testing.assert_array_equal(of_flag, of_channels)


@pytest.mark.parametrize('name', PREPROCESSING)
def test_values_follow_the_formula(name):
  colour = np.array([200, 100, 50])
  image = tf.constant(np.tile(colour.astype(np.uint8), [40, 40, 1]))
  found = get_preprocessing(name)(image, 32, 32)
  order, _, formula = PREPROCESSING[name].transform.values().partition(': ')
  variables = {'value': colour if order == 'RGB' else colour[::-1], 'mean': colour.mean(),
               'deviation': colour.std()}
  expected = eval(formula.partition(', over')[0], variables)
  np.testing.assert_allclose(found[16, 16], expected, atol=1e-3)


@pytest.mark.parametrize('name', RANDOM)
def test_result_is_a_function_of_the_seed(name, photo, encode):
  encoded = tf.constant(encode(photo, 'JPEG'))
  preprocess = get_preprocessing(name, is_training=True)

  def results(parallel_calls):
    dataset = tf.data.Dataset.range(8).map(
        lambda i: preprocess(encoded, 32, 32, seed=tf.stack([i, 11])),
        num_parallel_calls=parallel_calls)
    return [result.numpy().tobytes() for result in dataset]

  first = results(1)
  assert len(set(first)) >= 7  # Caffe's crop has only 50 different results.
  assert first == results(4)
  eager = preprocess(encoded, 32, 32, seed=tf.constant([3, 11], tf.int64)).numpy()
  np.testing.assert_allclose(eager, np.frombuffer(first[3], np.float32).reshape(eager.shape),
                             atol=1e-3)


@pytest.mark.parametrize('name', PREPROCESSING)
def test_eval_does_not_depend_on_a_seed(name, photo):
  preprocess = get_preprocessing(name)
  np.testing.assert_array_equal(preprocess(tf.constant(photo), 32, 32),
                                preprocess(tf.constant(photo), 32, 32, seed=tf.constant([1, 2])))


@pytest.mark.parametrize('name', PREPROCESSING)
def test_only_lenet_trains_without_a_seed(name, photo):
  preprocess = get_preprocessing(name, is_training=True)
  if name == 'lenet':
    assert preprocess(tf.constant(photo), 32, 32).shape == [32, 32, 3]
  else:
    with pytest.raises(ValueError, match='seed'):
      preprocess(tf.constant(photo), 32, 32)


@pytest.mark.parametrize('name', PREPROCESSING)
@pytest.mark.parametrize('is_training', [False, True])
def test_one_pixel_and_long_images(name, is_training):
  preprocess = get_preprocessing(name, is_training)
  for shape in ((1, 1, 3), (2, 300, 3), (300, 1, 3)):
    result = preprocess(tf.zeros(shape, tf.uint8), 16, 16, seed=tf.constant([1, 2]))
    assert np.isfinite(result.numpy()).all()


@pytest.mark.parametrize('name', PREPROCESSING)
def test_file_that_is_not_an_image(name):
  with pytest.raises(tf.errors.InvalidArgumentError):
    get_preprocessing(name)(tf.constant(b'no image'), 16, 16)


def test_wrong_arguments(photo):
  with pytest.raises(ValueError, match=r"'vgg16'.*\bvgg\b.*\bcaffe, cifarnet"):
    get_preprocessing('vgg16')
  with pytest.raises(ValueError, match='channels'):
    get_preprocessing('vgg', channels=4)
  with pytest.raises(ValueError, match='height'):
    get_preprocessing('vgg')(tf.constant(photo), 0, 224)
  with pytest.raises(ValueError, match='uint8'):
    get_preprocessing('vgg')(tf.zeros([4, 4, 3]), 224, 224)
