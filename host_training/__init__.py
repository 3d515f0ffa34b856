"""The host side: test sets, synthesis of training pairs, networks, training, evaluation."""
