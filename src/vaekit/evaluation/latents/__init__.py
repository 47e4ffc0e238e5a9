"""What the latents carry: encodings, the aggregate posterior, collapse, and downstream tasks."""
