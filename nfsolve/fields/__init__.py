"""Neural fields: networks, activations, encodings, initialisations and factorizations."""

from nfsolve.fields.activations import (
    GELU,
    Activation,
    ComplexGabor,
    Finer,
    Gabor,
    Gaussian,
    RealGabor,
    ReLU,
    Sinc,
    Sine,
    Softplus,
    Tanh,
)
from nfsolve.fields.branches import Branch, Convolution, Linear, Modified, Plain, Skip
from nfsolve.fields.deeponet import DeepONet
from nfsolve.fields.encodings import Encoding, GaussianFourier, Identity, Periodic, Positional
from nfsolve.fields.factorize import (
    AdaptiveActivation,
    Factorization,
    RandomWeightFactorization,
    WeightNormalization,
    factorize,
    fold,
)
from nfsolve.fields.field import Domain, Field
from nfsolve.fields.fno import FNO
from nfsolve.fields.gathered import GatheredDeepONet
from nfsolve.fields.grids import FeatureGrid
from nfsolve.fields.init import (
    FrequencyScaling,
    Glorot,
    Init,
    Siren,
    TorchDefault,
    WeightScaling,
    default_init,
    weight_scaling,
)
from nfsolve.fields.init_variants import Combette, SmallLast
from nfsolve.fields.mlp import MLP
from nfsolve.fields.modified import ModifiedMLP
from nfsolve.fields.modified_deeponet import ModifiedDeepONet
from nfsolve.fields.multiplicative import FourierFilterNetwork, GaborFilterNetwork
from nfsolve.fields.network import Network
from nfsolve.fields.nonlinear_deeponet import NonlinearDeepONet
from nfsolve.fields.operators import Operator
from nfsolve.fields.pca_net import PCANet
from nfsolve.fields.pod_deeponet import PODDeepONet
from nfsolve.fields.presets import PRESETS, pixel_grid, preset
from nfsolve.fields.random_features import RandomFeatures
from nfsolve.fields.residual import ResidualMLP
from nfsolve.fields.scattered import ScatteredOperator
from nfsolve.fields.shift_deeponet import ShiftDeepONet
from nfsolve.fields.splines import Splines
from nfsolve.fields.sum import Sum
from nfsolve.fields.windows import Windows

__all__ = [
    "FNO",
    "GELU",
    "MLP",
    "PRESETS",
    "Activation",
    "AdaptiveActivation",
    "Branch",
    "Combette",
    "ComplexGabor",
    "Convolution",
    "DeepONet",
    "Domain",
    "Encoding",
    "Factorization",
    "FeatureGrid",
    "Field",
    "Finer",
    "FourierFilterNetwork",
    "FrequencyScaling",
    "Gabor",
    "GaborFilterNetwork",
    "GatheredDeepONet",
    "Gaussian",
    "GaussianFourier",
    "Glorot",
    "Identity",
    "Init",
    "Linear",
    "Modified",
    "ModifiedDeepONet",
    "ModifiedMLP",
    "Network",
    "NonlinearDeepONet",
    "Operator",
    "PCANet",
    "PODDeepONet",
    "Periodic",
    "Plain",
    "Positional",
    "RandomFeatures",
    "RandomWeightFactorization",
    "ReLU",
    "RealGabor",
    "ResidualMLP",
    "ScatteredOperator",
    "ShiftDeepONet",
    "Sinc",
    "Sine",
    "Siren",
    "Skip",
    "SmallLast",
    "Softplus",
    "Splines",
    "Sum",
    "Tanh",
    "TorchDefault",
    "WeightNormalization",
    "WeightScaling",
    "Windows",
    "default_init",
    "factorize",
    "fold",
    "pixel_grid",
    "preset",
    "weight_scaling",
]
