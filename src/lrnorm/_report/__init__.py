"""Tables and drawings of graphs."""
