-- What tokens granted beside what was used, by day since 1970. A row is one fact about the tokens of a client at a route of a service;
-- what is true of all that a guard reports has neither client nor route. store/usage.rs says what each fact counts.
CREATE TABLE usage_days (
    day BIGINT NOT NULL,
    audience TEXT NOT NULL,
    service TEXT NOT NULL,
    client TEXT NOT NULL,
    route TEXT NOT NULL,
    what TEXT NOT NULL,
    name TEXT NOT NULL,
    granted BIGINT NOT NULL,
    used BIGINT NOT NULL,
    PRIMARY KEY (day, audience, service, client, route, what, name)
) {clustered};
