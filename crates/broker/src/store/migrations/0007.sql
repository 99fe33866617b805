-- Client secrets that were reported as leaked, by their SHA-256: refused, whatever the configuration says.
CREATE TABLE dead_secrets (
    digest {bytes} PRIMARY KEY,
    died_at BIGINT NOT NULL
) {clustered};
