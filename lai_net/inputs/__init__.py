"""From sentences to padded tensors."""
