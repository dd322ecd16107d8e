"""The public functions: choose a front and read keywords."""
