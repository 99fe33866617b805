-- People who may decide, by the digest of their token.
CREATE TABLE IF NOT EXISTS operators (
    name TEXT PRIMARY KEY,
    token {bytes} NOT NULL,
    roles TEXT NOT NULL,
    iss TEXT,
    sub TEXT,
    added_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX operators_by_token ON operators (token);

-- How risky a subject is said to be, in place of what its token says, until it is cleared.
CREATE TABLE IF NOT EXISTS standing_risks (
    issuer_name TEXT NOT NULL,
    sub TEXT NOT NULL,
    risk TEXT NOT NULL,
    said_at BIGINT NOT NULL,
    PRIMARY KEY (issuer_name, sub)
);
