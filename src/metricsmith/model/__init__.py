"""What flows: labels, series, layouts, batches, metadata, and the words to select them."""
