"""The options of networks and weights."""

from __future__ import annotations

import dataclasses

from slim_zoo.config.option import Path, Rule, option

STRATEGIES = ('auto', 'mirrored', 'multiworker', 'one')
XLA = ('auto', 'on', 'off')
COMPUTE_DTYPES = ('float32', 'bfloat16', 'float16')
RESIZE_MODES = ('shorter_side', 'squeeze', 'letterbox')
INTERPOLATIONS = ('bilinear', 'bicubic', 'bilinear_no_antialias', 'bicubic_no_antialias',
                  'bilinear_tf1')


@dataclasses.dataclass(frozen=True)
class Geometry:
  """Geometry of images."""
  resize_mode: str | None = option(
      None, 'How to resize images: shorter_side keeps the aspect ratio and crops the centre, '
      'squeeze does not keep it, letterbox pads the whole image. By default as the weights were '
      'published or trained.', rule=Rule.INHERITED, choices=RESIZE_MODES)
  crop_fraction: float | None = option(
      None, 'Size of the central crop divided by the size that images are resized to, such as '
      '0.875 for 224 of 256 pixels.', rule=Rule.INHERITED, lower=0.01, upper=1)
  interpolation: str | None = option(
      None, 'How to interpolate when resizing; bilinear and bicubic are antialiased.',
      rule=Rule.INHERITED, choices=INTERPOLATIONS)


@dataclasses.dataclass(frozen=True)
class TrainedModel(Geometry):
  """Model."""
  model_name: str = option('inception_v3', 'Name of the network, if the weights do not tell it; '
                           'see list_networks.py.', rule=Rule.INHERITED, common=True)
  preprocessing_name: str | None = option(
      None, "Name of the preprocessing, or of a network whose preprocessing is to be used; by "
      "default the checkpoint's, or the network's.", rule=Rule.INHERITED)
  head: str | None = option(
      None, 'The Python function that the network was trained with as its head, such as '
      'my_file.py:head. Only a function that you name here is run.', rule=Rule.INHERITED)
  use_grayscale: bool = option(False, 'Convert images to grayscale, one channel.',
                               rule=Rule.INHERITED)


@dataclasses.dataclass(frozen=True)
class Model(TrainedModel):
  """Model."""
  model_name: str = option('inception_v3', 'Name of the network; see list_networks.py.',
                           rule=Rule.INHERITED, common=True)
  head: str | None = option(
      None, 'Head instead of the classifier, such as pool,fc. Layers are pool, flatten, '
      'fc:<units>, dropout:<rate> and a last fc; or my_file.py:function, a function (features, '
      'num_classes, is_training) that returns logits.', rule=Rule.INHERITED, common=True)
  head_from: str | None = option(
      None, 'End point that --head starts from, such as vgg_16/pool5; by default the input of the '
      'classifier.', rule=Rule.INHERITED)
  train_image_size: int | None = option(
      None, "Height and width of the images; by default the network's.", rule=Rule.INHERITED)


@dataclasses.dataclass(frozen=True)
class Weights:
  """Weights."""
  checkpoint_path: str | None = option(
      None, 'Checkpoint, or weights of another format. A directory stands for its newest '
      'checkpoint, or that of its last phase; zoo:<name> for published weights.', path=Path.READ,
      common=True)
  use_moving_averages: bool | None = option(
      None, 'Use the moving averages of the checkpoint; by default if it has any.')
  checkpoint_channel_order: str | None = option(
      None, 'Channel order that the first layer of --checkpoint_path expects, for files that do '
      'not say.', choices=['rgb', 'bgr'])
  convert_input_channels: bool = option(
      False, 'Fit the first layer of --checkpoint_path to images with another number of channels, '
      'by summing or repeating.')


@dataclasses.dataclass(frozen=True)
class StartingWeights(Weights):
  """Starting weights."""
  checkpoint_path: str | None = option(
      None, 'Checkpoint or other weights to start from. A directory stands for its newest '
      'checkpoint, zoo:<name> for published weights.', path=Path.READ, common=True)
  checkpoint_exclude_scopes: str | None = option(
      None, 'Scopes not to restore, separated by commas.', common=True)
  ignore_missing_vars: bool = option(
      False, 'Leave variables that the checkpoint lacks at their initial values.')
  labels_are_indices: bool = option(
      False, 'If the head is kept: number the classes in sorted order, and match these numbers '
      'with the outputs, whatever the classes are called.')


@dataclasses.dataclass(frozen=True)
class ClassNames:
  """Class names."""
  labels_path: str | None = option(
      None, 'Text file with one "number:name" per line, for weights that do not know their '
      'classes.', path=Path.READ, common=True)


@dataclasses.dataclass(frozen=True)
class Computation:
  """Computation."""
  batch_size: int = option(100, 'Batch size.', lower=1, common=True)
  num_preprocessing_threads: int | None = option(
      None, 'Number of images to decode in parallel; by default one per CPU, and at least 4.',
      lower=1)
  xla: str = option('auto', 'Compile the network with XLA; auto chooses what was measured to be '
                    'faster.', rule=Rule.FIXED, choices=XLA, open_value='auto')
  compute_dtype: str = option('float32', 'Type that layers compute in; variables are float32.',
                              rule=Rule.FIXED, choices=COMPUTE_DTYPES)


@dataclasses.dataclass(frozen=True)
class Hardware:
  """Hardware."""
  num_clones: int = option(1, 'Number of replicas of each worker, one per GPU.', rule=Rule.FIXED,
                           common=True)
  strategy: str = option(
      'auto', 'Where to put replicas: one, a single replica; mirrored, on this machine; '
      'multiworker, on all workers of TF_CONFIG or a Slurm step; auto, on these workers if there '
      'are several. '
      'mirrored and multiworker use all visible GPUs unless --num_clones is given.',
      choices=STRATEGIES)
  worker_replicas: int = option(
      1, 'Number of workers, usually one process per machine; by default as many as TF_CONFIG or '
      'the Slurm step lists.', rule=Rule.FIXED, lower=1)
  task: int = option(0, 'Index of this worker; checked against TF_CONFIG or Slurm.', lower=0)
  sync_replicas: bool = option(
      False, "Accepted for TF-Slim's command lines; replicas are always in step.")
  replicas_to_aggregate: int = option(
      1, "Accepted for TF-Slim's command lines if it is the number of workers.", lower=1)
  clone_on_cpu: bool = option(False, 'Train on the CPU even if GPUs are available.',
                              rule=Rule.FIXED)
  compute_dtype: str = option('float32', 'Type that layers compute in; variables are float32.',
                              rule=Rule.FIXED, choices=COMPUTE_DTYPES)
  xla: str = option('auto', 'Compile the network with XLA; auto chooses what was measured to be '
                    'faster.', rule=Rule.FIXED, choices=XLA, open_value='auto')
  num_preprocessing_threads: int | None = option(
      None, 'Number of images to decode in parallel; by default one per CPU, and at least 4.',
      lower=1)

  @property
  def num_replicas(self) -> int:
    """Number of replicas of all workers."""
    return self.num_clones * self.worker_replicas
