"""Where images come from: arrays, files, folders, archives, and the Hugging Face Hub."""
