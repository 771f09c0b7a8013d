"""The schema's versions, each a revision of Alembic's."""
