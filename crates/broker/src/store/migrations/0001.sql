CREATE TABLE IF NOT EXISTS log_head (one BIGINT PRIMARY KEY CHECK (one = 1), size BIGINT NOT NULL, epoch BIGINT NOT NULL);
INSERT INTO log_head (one, size, epoch) VALUES (1, 0, 1) ON CONFLICT DO NOTHING;

-- No second index: every one of them would be paid for on the path of each token.
CREATE TABLE IF NOT EXISTS records (idx {place} PRIMARY KEY, body TEXT NOT NULL);

CREATE TABLE IF NOT EXISTS uses (
    kind TEXT NOT NULL,
    issuer TEXT NOT NULL,
    id TEXT NOT NULL,
    forget_at BIGINT NOT NULL,
    PRIMARY KEY (kind, issuer, id)
) {clustered};

CREATE TABLE IF NOT EXISTS transactions (
    txn TEXT PRIMARY KEY,
    issuer_name TEXT NOT NULL,
    iss TEXT NOT NULL,
    sub TEXT NOT NULL,
    kind TEXT NOT NULL,
    attributes TEXT NOT NULL,
    requested_by TEXT,
    began BIGINT NOT NULL,
    forget_at BIGINT NOT NULL
) {clustered};

-- state: published (not signing yet), active (signs), previous (verifies only), retired (not even that).
CREATE TABLE IF NOT EXISTS signing_keys (
    kid TEXT PRIMARY KEY,
    algorithm TEXT NOT NULL,
    state TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    changed_at BIGINT NOT NULL,
    public_jwk TEXT NOT NULL,
    sealed {bytes} NOT NULL
);

CREATE TABLE IF NOT EXISTS standing_clients (client TEXT PRIMARY KEY, disabled_at BIGINT NOT NULL);
CREATE TABLE IF NOT EXISTS standing_subjects (
    issuer_name TEXT NOT NULL,
    sub TEXT NOT NULL,
    disabled_at BIGINT NOT NULL,
    PRIMARY KEY (issuer_name, sub)
);
