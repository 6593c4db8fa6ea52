"""What all that speaks HTTP shares: addresses, authentication, TLS, name look-up, target lists in files."""
