-- Opaque access tokens: what each stands for, by the SHA-256 of its text.
CREATE TABLE opaque_tokens (
    digest {bytes} PRIMARY KEY,
    claims TEXT NOT NULL,
    forget_at BIGINT NOT NULL
) {clustered};
CREATE INDEX opaque_tokens_by_end ON opaque_tokens (forget_at);
