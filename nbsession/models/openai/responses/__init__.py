"""The Responses API: its request, its stream, and the tools that run on its servers."""
