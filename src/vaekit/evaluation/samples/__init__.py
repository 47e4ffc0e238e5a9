"""How similar samples and reconstructions are to real images."""
