-- The roles stay, since other databases of the server may use them; what they may do here goes.
DO $$
DECLARE
    holder text;
BEGIN
    FOR holder IN SELECT rolname FROM pg_roles WHERE rolname IN ('guildstream_writer', 'guildstream_analyst') LOOP
        EXECUTE format('REVOKE ALL ON ALL TABLES IN SCHEMA guildstream, analytics FROM %I', holder);
        EXECUTE format('REVOKE ALL ON SCHEMA guildstream, analytics FROM %I', holder);
    END LOOP;
END
$$;
