"""What the latents encode: posterior means, the aggregate posterior, posterior collapse, and downstream tasks."""
