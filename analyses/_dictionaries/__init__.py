"""What analyses of sparse dictionaries share: their text, their activations, their training, how they are kept."""
