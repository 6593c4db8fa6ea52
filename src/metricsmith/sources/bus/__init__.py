"""Messages of other agents and programs, from a message bus."""
