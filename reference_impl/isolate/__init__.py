"""What one isolate runs: its handlers, its consumer, and what follows from an event."""
