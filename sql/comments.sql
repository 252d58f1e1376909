-- One dictionary of columns: the same name means the same thing in every relation.
DO $$
DECLARE
    target record;
BEGIN
    FOR target IN
        WITH dictionary (name, meaning) AS (VALUES
            ('event_id', 'Derived from session, seq and part, the same on every machine.'),
            ('type', 'Event type of the contract.'),
            ('occurred_at', 'When it happened.'),
            ('guild_id', 'The guild (server), a snowflake. Null only where a gap concerns a whole shard.'),
            ('channel_id', 'The channel or thread; 0 in sums: none in particular.'),
            ('user_id', 'The user; 0 in sums: none in particular.'),
            ('data', 'What the type adds. Never message content.'),
            ('session', 'The source that published it.'),
            ('seq', 'Number of the dispatch within the session.'),
            ('part', 'Numbers the events made from one dispatch.'),
            ('shard', 'Shard of the source; null for a source that is no shard.'),
            ('replayed', 'Delivered late by a RESUME: the time is an upper bound.'),
            ('partition', 'Partition of the deployment.'),
            ('position', 'Events: order of processing in the partition. Offsets: the next position. Channels and roles: place in the list.'),
            ('bucket', 'Start of the interval, UTC: of the window in member_activity, of the hour in sums.'),
            ('local_day', 'The guild''s local day.'),
            ('day', 'The guild''s local day.'),
            ('week', 'Monday of the week of the guild''s local day.'),
            ('month', 'First of the month of the guild''s local day.'),
            ('bot', 'Whether this is a bot or a webhook; null: not known.'),
            ('messages', 'Messages written.'),
            ('sized', 'Messages whose length was known.'),
            ('chars', 'Characters in messages whose length was known.'),
            ('attachments', 'Attachments, where they were known.'),
            ('replies', 'Messages that reply to another.'),
            ('edits', 'Messages edited.'),
            ('deletes', 'Messages deleted; booked to user 0, since Discord does not say whose they were.'),
            ('reactions_given', 'Reactions added less reactions taken back.'),
            ('reactions_received', 'Reactions on own messages, where the author was known.'),
            ('commands', 'Slash, user and message commands used.'),
            ('voice_joins', 'Joins of a voice channel.'),
            ('voice_ms', 'Milliseconds in voice.'),
            ('voice_active_ms', 'Milliseconds in voice that count for XP.'),
            ('muted_ms', 'Milliseconds in voice muted, by self or server.'),
            ('deafened_ms', 'Milliseconds in voice deafened, by self or server.'),
            ('stream_ms', 'Milliseconds in voice streaming a screen.'),
            ('video_ms', 'Milliseconds in voice with the camera on.'),
            ('alone_ms', 'Milliseconds in voice without another human in the channel.'),
            ('afk_ms', 'Milliseconds in the guild''s AFK channel.'),
            ('audience_ms', 'Milliseconds in the audience of a stage.'),
            ('inferred_ms', 'Milliseconds counted without having been observed.'),
            ('clipped_ms', 'Milliseconds not observed and not counted.'),
            ('xp', 'Experience points.'),
            ('active_members', 'Members, without bots, with messages, reactions given, commands or voice in the interval.'),
            ('segment_id', 'Derived from the event that opened the segment.'),
            ('visit_id', 'Groups the segments of one stay in voice across channels.'),
            ('started_at', 'When the segment began.'),
            ('ended_at', 'When the segment ended; null while it is open.'),
            ('counted_until', 'How far the milliseconds are counted.'),
            ('end_reason', 'Why the segment ended; null while it is open.'),
            ('name', 'The name as last seen.'),
            ('kind', 'Channels: type. Commands: slash, user, message, component, modal or autocomplete.'),
            ('uses', 'Times used.'),
            ('users', 'Distinct users of the command.'),
            ('award_id', 'The award''s id.'),
            ('awarded_at', 'When the (first) award was made.'),
            ('last_awarded_at', 'When the last award of the row was made.'),
            ('reason', 'What it was given for.'),
            ('count', 'Awards in this row.'),
            ('base', 'Points before the multiplier.'),
            ('multiplier', 'What the base was multiplied by.'),
            ('settings_version', 'Version of the guild''s settings that applied.'),
            ('level', 'The highest level whose total is reached.'),
            ('first_active_at', 'First activity; null: none yet.'),
            ('last_active_at', 'Last activity; null: none yet.'),
            ('owner_id', 'The guild''s owner.'),
            ('afk_channel_id', 'The guild''s AFK channel; 0: it has none, null: not known.'),
            ('member_count', 'Members, as Discord last said.'),
            ('removed_at', 'When the bot was removed from the guild; null: it is there.'),
            ('updated_at', 'Event time of the newest event that this row is from.'),
            ('parent_id', 'The category, or a thread''s channel.'),
            ('deleted_at', 'When it was deleted; null: it exists.'),
            ('role_id', 'The role, a snowflake.'),
            ('username', 'The account''s name.'),
            ('display_name', 'The name that people see: nickname, display name or account name.'),
            ('nick', 'The nickname in this guild.'),
            ('roles', 'The member''s roles; null: not known.'),
            ('joined_at', 'When the member joined the guild.'),
            ('left_at', 'When the member left; null: is there, as far as is known.'),
            ('last_run_at', 'When the policy last ran.'),
            ('duration_ms', 'How long the last run took, milliseconds.'),
            ('folded_rows', 'Rows that the last run folded.'),
            ('backlog_rows', 'Rows waiting after the last run.'),
            ('error', 'Why the last run failed; null: it did not.'),
            ('deployment', 'Id of the deployment, from Redis.'),
            ('generation', 'Raised by a repartition.'),
            ('results_id', 'Stream id of the last results entry loaded.'),
            ('commit', 'Number of the last commit loaded.'),
            ('events_id', 'Stream id of the last events entry covered.'),
            ('loaded_at', 'When that was loaded.'),
            ('number', 'The migration''s number.'),
            ('checksum', 'SHA-256 of the file that was applied.'),
            ('applied_at', 'When it was applied.')
        )
        SELECT relations.oid::regclass AS relation, columns.attname, columns.attnum, dictionary.meaning
        FROM pg_class AS relations
        JOIN pg_attribute AS columns ON columns.attrelid = relations.oid
        JOIN dictionary ON dictionary.name = columns.attname
        WHERE relations.relnamespace IN ('guildstream'::regnamespace, 'analytics'::regnamespace)
            AND relations.relkind IN ('r', 'p', 'v')
            AND columns.attnum > 0 AND NOT columns.attisdropped
            AND col_description(relations.oid, columns.attnum) IS DISTINCT FROM dictionary.meaning
    LOOP
        EXECUTE format('COMMENT ON COLUMN %s.%I IS %L', target.relation, target.attname, target.meaning);
    END LOOP;
END
$$;
