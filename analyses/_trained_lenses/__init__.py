"""What the trained lenses share: texts and their split, captured states, the fitting loop, held-out scores, artifacts.

A trained lens is an affine map from what a layer holds into the last layer's output, read through the model's own final
norm and unembedding, and fitted so that the distribution read there is near the model's own: KL(model ‖ lens).
"""
