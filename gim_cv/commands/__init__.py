"""The commands of ``gim-cv``, one module a family; each imports what it needs when it runs."""
