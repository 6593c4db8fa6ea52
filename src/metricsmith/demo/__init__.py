"""A small shop backend and a load generator: something real to look at in the first minute."""
