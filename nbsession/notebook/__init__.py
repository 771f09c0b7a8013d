"""The notebook: the extension, its magics, and how an execution is shown.

Nothing here is loaded by ``import nbsession``; ``%load_ext nbsession`` loads
what a cell needs, and the first display loads the rest.
"""
