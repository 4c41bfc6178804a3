"""Makes the model. The only room that imports torch, transformers, optimum and peft."""
