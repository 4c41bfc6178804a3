"""In what order the model's life goes: steps that also run as commands, and the DAGs that schedule them."""
