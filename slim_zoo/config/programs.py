"""The options of each program: topics put together, with the program's own defaults."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from slim_zoo.config.data import Augmentation, Data, EvaluationData, TrainingData
from slim_zoo.config.model import (
  ClassNames,
  Computation,
  Hardware,
  Model,
  StartingWeights,
  TrainedModel,
  Weights,
)
from slim_zoo.config.option import Path, Rule, option
from slim_zoo.config.training import (
  CLASSIFIERS,
  Distillation,
  Duration,
  FineTuning,
  Loss,
  Mixing,
  NetworkOptimization,
  Optimization,
  OptimizerSettings,
  Saving,
  Session,
)

# Flags of TF-Slim without effect: `{name: (default, what to use instead)}`.
Retired = Mapping[str, tuple[str | int | bool, str]]
RETIRED_IN_TRAINING: Retired = {
    'master': ('', 'set TF_CONFIG, or use Slurm, for several workers'),
    'num_ps_tasks': (0, 'workers keep their variables and exchange gradients; leave it out'),
    'quantize_delay': (-1, 'quantize the trained network instead of training it quantized'),
    'num_readers': (4, 'reading adapts to the machine; leave it out'),
}
RETIRED_IN_EVALUATION: Retired = {
    'master': ('', 'the evaluation uses this machine'),
    'quantize': (False, 'evaluate the network as it was trained'),
}


@dataclasses.dataclass(frozen=True)
class Train:
  """train_image_classifier.py."""
  data: TrainingData = TrainingData()
  augmentation: Augmentation = Augmentation()
  mixing: Mixing = Mixing()
  model: Model = Model()
  weights: StartingWeights = StartingWeights()
  fine_tuning: FineTuning = FineTuning()
  optimization: NetworkOptimization = NetworkOptimization()
  settings: OptimizerSettings = OptimizerSettings()
  loss: Loss = Loss()
  distillation: Distillation = Distillation()
  duration: Duration = Duration()
  saving: Saving = Saving()
  hardware: Hardware = Hardware()
  session: Session = Session()


@dataclasses.dataclass(frozen=True)
class EvaluationOutput:
  """Evaluation."""
  eval_dir: str | None = option(None, 'Directory for eval.json and event files; by default eval '
                                'beside the checkpoint.', path=Path.WRITTEN, common=True)
  eval_image_size: int | None = option(
      None, 'Height and width of the images; by default as in training.', lower=1)
  max_num_batches: int | None = option(None, 'Number of batches to evaluate; by default all.',
                                       lower=1)
  top_k: str = option('5', 'Numbers k, separated by commas: count how often the right class is '
                      'among the k most likely ones.')
  report: str | None = option(
      None, 'Directory for a report: report.html with the mistakes, the confusion matrix and more, '
      'and tables as CSV files.', path=Path.WRITTEN, common=True)
  compare_with: str | None = option(None, 'Other weights to compare with in the report.',
                                    path=Path.READ, needs=('report', ()))
  all_checkpoints: bool = option(
      False, 'Evaluate all checkpoints in the directory --checkpoint_path; write the results to '
      'checkpoints.csv, and draw them over the steps in checkpoints.png.', common=True)
  watch: bool = option(
      False, 'Evaluate the newest checkpoint in the directory --checkpoint_path, and then each new '
      'one as it appears, until interrupted.', common=True)
  moving_average_decay: float | None = option(
      None, 'If given, the checkpoint must have moving averages; they are used whenever it has '
      'them.')


@dataclasses.dataclass(frozen=True)
class Evaluate:
  """eval_image_classifier.py."""
  weights: Weights = Weights()
  data: EvaluationData = EvaluationData()
  names: ClassNames = ClassNames()
  model: TrainedModel = TrainedModel()
  output: EvaluationOutput = EvaluationOutput()
  computation: Computation = Computation()


@dataclasses.dataclass(frozen=True)
class PredictionOutput:
  """Prediction."""
  top_k: int = option(5, 'Number of classes to print per image.', lower=1, common=True)
  output_path: str | None = option(None, 'A .csv, .json or .jsonl file for the predictions, '
                                   'instead of printing them.', path=Path.WRITTEN, common=True)
  picture: str | None = option(None, 'A .png file for a picture of the first images with their '
                               'most likely classes.', path=Path.WRITTEN, common=True)
  explain: bool = option(False, 'Show in the picture where the network looks (Grad-CAM).',
                         needs=('picture', ()), common=True)
  explain_layer: str | None = option(None, 'End point that --explain looks at; by default the last '
                                     'of more than one pixel.', needs=('explain', ()))
  eval_image_size: int | None = option(
      None, 'Height and width of the images; by default as in training.', lower=1, common=True)


@dataclasses.dataclass(frozen=True)
class Predict:
  """predict_image.py."""
  weights: Weights = Weights()
  output: PredictionOutput = PredictionOutput()
  names: ClassNames = ClassNames()
  model: TrainedModel = TrainedModel()
  computation: Computation = Computation()


@dataclasses.dataclass(frozen=True)
class ExtractionOutput:
  """Features."""
  output_path: str | None = option(None, 'File to write: .npz, .tfrecord or .parquet.',
                                   path=Path.WRITTEN, common=True)
  end_point: str = option('', "End point of the features, such as pool5; by default VGG's relu6, "
                          "AlexNet's fc7, otherwise the input of the classifier.", common=True)
  image_size: int | None = option(None, 'Height and width of the images; by default as in '
                                  'training.', lower=1, common=True)


@dataclasses.dataclass(frozen=True)
class Extract:
  """extract_features.py."""
  weights: Weights = Weights()
  data: Data = Data(dataset_split_name='train')
  output: ExtractionOutput = ExtractionOutput()
  model: TrainedModel = TrainedModel()
  computation: Computation = Computation()


@dataclasses.dataclass(frozen=True)
class FeatureData:
  """Data."""
  training_file: str | None = option(None, 'Features to train on.', rule=Rule.FREE,
                                     path=Path.READ, common=True)
  validation_file: str | None = option(None, 'Features to validate on.', rule=Rule.FREE,
                                       path=Path.READ, common=True)
  validation_fraction: float = option(
      0.1, 'Share of the training file to validate on if there is no --validation_file; 0 for '
      'none.', rule=Rule.FIXED, lower=0, upper=0.9, common=True)


@dataclasses.dataclass(frozen=True)
class Classifier:
  """Classifier."""
  classifier: str = option(
      'softmax', "What to train: softmax is a head trained by gradients, the others are "
      "scikit-learn's.", rule=Rule.FIXED, choices=CLASSIFIERS, common=True)
  head: str | None = option(
      None, 'Layers of the head, such as pool,fc:512,dropout:0.5,fc; or my_file.py:function. By '
      'default fc, after pool if the features are maps.', rule=Rule.FIXED, common=True)
  cross_validation_folds: int = option(
      5, 'Number of folds for choosing the strength of the regularization.', rule=Rule.FIXED,
      lower=2)
  regularization_strengths: str | None = option(
      None, "Values of scikit-learn's C to choose from, separated by commas; smaller values "
      'regularize more. A single value is taken as it is.', rule=Rule.FIXED)
  export: str = option(
      'last', 'Which head is put on the network that the features came from: the last, or the best '
      'in validation; none for no network.', choices=['last', 'best', 'none'])


@dataclasses.dataclass(frozen=True)
class FeatureWeights(Weights):
  """Weights of the features."""
  checkpoint_path: str | None = option(
      None, 'Weights that the features were made with, if they have been moved.', path=Path.READ)


@dataclasses.dataclass(frozen=True)
class TrainOnFeatures:
  """train_on_features.py.

  A head is a small problem, with gradients far from 1: Adam with its authors' learning rate and a
  small epsilon solves it in tens of epochs. TF-Slim's RMSProp with epsilon 1 is for whole networks.
  """
  data: FeatureData = FeatureData()
  classifier: Classifier = Classifier()
  optimization: Optimization = Optimization(optimizer='adam', learning_rate=0.001)
  settings: OptimizerSettings = OptimizerSettings(opt_epsilon=1e-8)
  loss: Loss = Loss()
  duration: Duration = Duration(epochs=30.0)
  saving: Saving = Saving(log_every_n_steps=None)
  weights: FeatureWeights = FeatureWeights()


@dataclasses.dataclass(frozen=True)
class Comparison:
  """Comparison."""
  checkpoint_paths: str | None = option(
      None, 'Weights to compare, separated by commas, each as --checkpoint_path of the other '
      'programs takes them; NETWORK=PATH if they do not tell their network. By default the '
      'published weights that have been downloaded.', common=True)
  minutes: float = option(10.0, 'Time that the comparison may take, downloads aside. Networks that '
                          'would take longer are listed with the time that they need.',
                          lower=0.01, common=True)
  output_dir: str | None = option(
      None, 'Directory for the table compared.csv, the picture compared.png, the features, and the '
      'best network in best.', path=Path.WRITTEN, common=True)
  cross_validation_folds: int = option(5, 'Number of folds of the cross-validation.', lower=3,
                                       common=True)
  regularization_strengths: str | None = option(
      None, "Values of scikit-learn's C to choose from, separated by commas; smaller values "
      'regularize more.')
  seed: int = option(0, 'Seed of the folds.', common=True)
  checkpoint_channel_order: str | None = option(
      None, 'Channel order that the first layers of the weights expect, for those files that do '
      'not say.', choices=['rgb', 'bgr'])
  convert_input_channels: bool = option(
      False, 'Fit the first layers to images with another number of channels, by summing or '
      'repeating.')


@dataclasses.dataclass(frozen=True)
class Compare:
  """compare_networks.py."""
  data: Data = Data(dataset_name='folder', dataset_split_name='train')
  comparison: Comparison = Comparison()
  computation: Computation = Computation(batch_size=32)


@dataclasses.dataclass(frozen=True)
class ExportOutput:
  """Export."""
  output_path: str | None = option(
      None, 'What to write, separated by commas: a directory for a SavedModel, or a file that ends '
      'in .tflite, .float16.tflite, .dynamic.tflite, .int8.tflite, .onnx, .keras, .safetensors or '
      '.pb.', path=Path.WRITTEN, common=True)
  image_size: int | None = option(None, 'Height and width of the images; by default as in '
                                  'training.', lower=1, common=True)
  num_images: int = option(
      200, 'Number of images of the dataset on which exports are compared with the network.',
      lower=1, common=True)
  num_calibration_images: int = option(
      200, 'Number of training images on which the ranges of int8 are measured.', lower=1)
  max_accuracy_drop: float = option(
      0.02, 'An export whose accuracy is lower by more than this share of the images is not kept.',
      lower=0, upper=1, common=True)


@dataclasses.dataclass(frozen=True)
class Export:
  """export_model.py."""
  weights: Weights = Weights()
  output: ExportOutput = ExportOutput()
  data: EvaluationData = EvaluationData()
  names: ClassNames = ClassNames()
  model: TrainedModel = TrainedModel()


@dataclasses.dataclass(frozen=True)
class ConvertedWeights(Weights):
  """Weights."""
  model_name: str | None = option(None, 'Name of the network, if the weights do not tell it.',
                                  common=True)
  checkpoint_exclude_scopes: str | None = option(
      None, 'Scopes that are not converted, separated by commas.', common=True)


@dataclasses.dataclass(frozen=True)
class ConversionOutput:
  """Conversion."""
  output_dir: str | None = option(None, 'Directory for the checkpoint.', path=Path.WRITTEN,
                                  common=True)
  image_size: int | None = option(
      None, "Height and width of the images that the weights are used with; by default the "
      "weights', or the network's.", lower=1, common=True)
  use_grayscale: bool = option(False, 'Convert for grayscale images, one channel; see '
                               '--convert_input_channels.', common=True)
  reestimate_from: str | None = option(
      None, "Directory of photos on which to measure the mean and variance of batch norm's inputs, "
      'for weights into which batch norm was folded.', path=Path.READ, common=True)


@dataclasses.dataclass(frozen=True)
class Convert:
  """convert_weights.py."""
  weights: ConvertedWeights = ConvertedWeights()
  output: ConversionOutput = ConversionOutput()


@dataclasses.dataclass(frozen=True)
class InspectedWeights:
  """Weights."""
  checkpoint_path: str | None = option(
      None, 'Weights of any format, or a directory or an archive with them; zoo:<name> for '
      'published weights.', path=Path.READ, common=True)
  model_name: str | None = option(
      None, 'The only network to compare the weights with; by default all.', common=True)
  checkpoint_channel_order: str | None = option(
      None, 'Channel order that the first layer expects, for files that do not say.',
      choices=['rgb', 'bgr'], common=True)


@dataclasses.dataclass(frozen=True)
class InspectionOutput:
  """Output."""
  all_variables: bool = option(False, 'List every array, instead of sums by scope.', common=True)
  output_path: str | None = option(None, 'A .json file for the result, in addition.',
                                   path=Path.WRITTEN, common=True)


@dataclasses.dataclass(frozen=True)
class Inspect:
  """inspect_weights.py."""
  weights: InspectedWeights = InspectedWeights()
  output: InspectionOutput = InspectionOutput()


@dataclasses.dataclass(frozen=True)
class Selection:
  """Networks."""
  model_name: str = option('*', 'Names of networks, with shell wildcards.', common=True)


@dataclasses.dataclass(frozen=True)
class ListNetworks:
  """list_networks.py."""
  selection: Selection = Selection()


@dataclasses.dataclass(frozen=True)
class Conversion:
  """Dataset."""
  dataset_name: str | None = option(None, 'Name of the dataset: cifar10, flowers, imagenet or '
                                    'mnist.', common=True)
  dataset_dir: str | None = option(None, 'Directory for the TFRecord files and labels.txt.',
                                   path=Path.WRITTEN, common=True)
  source: str | None = option(
      None, 'Local directory or archive to convert instead of downloading. For flowers, any '
      'directory with one subdirectory of images per class; for cifar10, its binary version; for '
      'mnist, its four files; for imagenet, the directory of its archives, or of their content.',
      path=Path.READ, common=True)
  num_validation: int | None = option(
      None, 'Number of images in the validation split of flowers; by default 350.', common=True)


@dataclasses.dataclass(frozen=True)
class DownloadAndConvert:
  """download_and_convert_data.py."""
  dataset: Conversion = Conversion()
