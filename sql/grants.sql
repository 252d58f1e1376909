-- What the roles may do, as far as they exist; applied again whenever this file changes.
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'guildstream_writer') THEN
        GRANT USAGE ON SCHEMA guildstream, analytics TO guildstream_writer;
        GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA guildstream TO guildstream_writer;
        GRANT SELECT ON ALL TABLES IN SCHEMA analytics TO guildstream_writer;
        REVOKE INSERT, UPDATE, DELETE ON guildstream.migrations, guildstream.scripts FROM guildstream_writer;
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'guildstream_analyst') THEN
        GRANT USAGE ON SCHEMA analytics TO guildstream_analyst;
        GRANT SELECT ON ALL TABLES IN SCHEMA analytics TO guildstream_analyst;
    END IF;
END
$$;
REVOKE EXECUTE ON FUNCTION guildstream.make_partitions(text, text, date[]) FROM PUBLIC;
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'guildstream_writer') THEN
        GRANT EXECUTE ON FUNCTION guildstream.make_partitions(text, text, date[]) TO guildstream_writer;
    END IF;
END
$$;
