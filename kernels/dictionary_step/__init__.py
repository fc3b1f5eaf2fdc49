"""The loss of a sparse dictionary on one batch, and its gradients, without the dense activations where k is set."""

from kernels.dictionary_step.cross_layer import cross_layer_step
from kernels.dictionary_step.dispatch import dictionary_step
from kernels.dictionary_step.naive import Step
from kernels.dictionary_step.rule import ARCHITECTURES, COUNTED, Rule, names

__all__ = ["ARCHITECTURES", "COUNTED", "Rule", "Step", "cross_layer_step", "dictionary_step", "names"]
