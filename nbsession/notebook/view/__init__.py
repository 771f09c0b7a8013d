"""What an execution looks like under its cell, live and saved: pieces, pages, templates, styles."""
