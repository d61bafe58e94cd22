"""The stack behind HTTP: resources, descriptions, statistics, evidence in headers."""
