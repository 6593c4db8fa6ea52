"""What is done to batches on their way to the journal."""
