"""``WorkDir``: tools by which a model works in a folder: reading, writing, searching, and a shell.

Files are reached from the folder's own descriptor, one name at a time and through no link, so that
what is checked is what is used. A command is a process group, which ends as a whole.
"""

from nbsession.workdir.workdir import WorkDir

__all__ = ["WorkDir"]
