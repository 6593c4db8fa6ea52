"""Where samples are shipped to."""
