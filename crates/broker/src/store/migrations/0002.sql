-- The longest life, in seconds, of a token that the key may have signed: so long it is kept when it signs no more.
ALTER TABLE signing_keys ADD COLUMN longest_life BIGINT NOT NULL DEFAULT 86400;
