"""Files that the `file` sink writes, as a store that answers queries."""
