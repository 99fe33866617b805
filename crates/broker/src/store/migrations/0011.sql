-- Where a token was shown first, as its guards say: the token by a digest of its audience and its jti, the place an address.
CREATE TABLE token_places (
    token {bytes} PRIMARY KEY,
    place TEXT NOT NULL,
    forget_at BIGINT NOT NULL
) {clustered};
CREATE INDEX token_places_by_end ON token_places (forget_at);
