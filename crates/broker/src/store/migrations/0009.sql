-- Credentials of upstreams, encrypted with the key file for this holder, origin and header.
-- kind: all, client (id is the client's) or user (iss and id are the subject's); what does not apply is empty.
CREATE TABLE connections (
    name TEXT NOT NULL,
    kind TEXT NOT NULL,
    iss TEXT NOT NULL,
    id TEXT NOT NULL,
    origin TEXT NOT NULL,
    header TEXT NOT NULL,
    sealed {bytes} NOT NULL,
    changed_at BIGINT NOT NULL,
    PRIMARY KEY (name, kind, iss, id)
) {clustered};
