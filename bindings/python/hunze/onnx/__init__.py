"""Runs ONNX models on Hunze: convolutions and matrix products on its kernels, the rest in NumPy.

    import hunze.onnx
    model = hunze.onnx.load("model.onnx")                 # integer=True: int8 weights stay integers
    y, = model(x)                                         # inputs in the model's order; a list comes back
    print(model.explain())                                # the last run: shape, kernel, GFLOP and seconds per node

What follows a convolution or a product (bias, batch normalisation, one residual, one activation) is folded into it
when the model is loaded.  An operator that is not there is an error then, with its name and node, before any work
starts.
"""

from .executor import Model, load
from .graph import ModelError, UnsupportedOperatorError
from .operators import OPERATORS

__all__ = ["Model", "ModelError", "OPERATORS", "UnsupportedOperatorError", "load"]
