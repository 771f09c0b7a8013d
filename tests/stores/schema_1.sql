CREATE TABLE meta (
    "key" TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY ("key")
);
CREATE TABLE sessions (
    id TEXT NOT NULL,
    revision INTEGER NOT NULL,
    created FLOAT NOT NULL,
    updated FLOAT NOT NULL,
    metadata TEXT NOT NULL,
    parent TEXT,
    PRIMARY KEY (id)
);
CREATE INDEX ix_sessions_updated ON sessions (updated);
CREATE TABLE texts (
    digest TEXT NOT NULL,
    text TEXT NOT NULL,
    PRIMARY KEY (digest)
);
CREATE TABLE rows (
    session TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    kind TEXT NOT NULL,
    "key" TEXT NOT NULL,
    data TEXT NOT NULL,
    at FLOAT NOT NULL,
    PRIMARY KEY (session, sequence),
    FOREIGN KEY(session) REFERENCES sessions (id)
);
INSERT INTO meta VALUES ('schema', '1');
INSERT INTO sessions VALUES ('old', 2, 1700000000.25, 1700000001.5, '{"title":"kept"}', 'older');
INSERT INTO texts VALUES ('digest', '"a text"');
INSERT INTO rows VALUES ('old', 0, 'session', 'old', '{"metadata":{"title":"kept"},"parent":"older"}', 1700000000.25);
INSERT INTO rows VALUES ('old', 1, 'entry', 'e', '{"text":"schön"}', 1700000001.5);
