-- Roles are shared by all databases of a server: another database may have made them, and a managed
-- server may not let us. What is missing is skipped with a notice; the pipeline runs without them.
-- phase: before
DO $$
DECLARE
    wanted text;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['guildstream_writer', 'guildstream_analyst'] LOOP
        IF EXISTS (SELECT FROM pg_roles WHERE rolname = wanted) THEN
            CONTINUE;
        END IF;
        BEGIN
            EXECUTE format('CREATE ROLE %I NOLOGIN', wanted);
        EXCEPTION
            WHEN insufficient_privilege THEN
                RAISE NOTICE 'role % was not created: % may not create roles', wanted, current_user;
            WHEN duplicate_object OR unique_violation THEN
                NULL;  -- another database made it just now
        END;
    END LOOP;
END
$$;
