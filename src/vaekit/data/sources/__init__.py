"""The sources of images: arrays, files, folders, archives, and the Hugging Face Hub."""
