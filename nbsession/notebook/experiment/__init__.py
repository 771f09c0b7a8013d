"""An experiment in a cell: its plan, its arms as they are scored, the cases that flipped."""
