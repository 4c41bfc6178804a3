"""One step a module, each also a command: `adloom` and the file's name with hyphens."""
