"""The inverse filter, the network stage and the guard, in strips."""
