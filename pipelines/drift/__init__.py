"""Whether what comes in and what goes out is still what the model was made for, and how sure that is."""
