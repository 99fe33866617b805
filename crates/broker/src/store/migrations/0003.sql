-- What has expired is looked for inside commits, so the search must not read what has not.
CREATE INDEX uses_by_end ON uses (forget_at);
CREATE INDEX transactions_by_end ON transactions (forget_at);
