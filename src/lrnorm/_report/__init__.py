"""Answers questions about layers and nets: `lrnorm.information`."""
