"""Where samples come from: each source is a part with a typed `Config` and a line in the registry."""
