"""What the stack asks of D1: schema, statements, and what an isolate remembers of answers."""
