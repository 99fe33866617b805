-- What is dead though not expired. Its place is its record's in the log, so that whoever has read up to one has read all before.
CREATE TABLE IF NOT EXISTS revocations (
    seq BIGINT PRIMARY KEY,
    kind TEXT NOT NULL,
    name {bytes} NOT NULL,
    at BIGINT NOT NULL,
    forget_at BIGINT NOT NULL
);
CREATE INDEX revocations_by_end ON revocations (forget_at);
