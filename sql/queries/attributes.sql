-- name: guilds_mention
-- Guilds that other attributes refer to.
INSERT INTO guildstream.guilds (guild_id, updated_at)
SELECT guild_id, '1970-01-01 00:00:00+00' FROM unnest(%s::bigint[]) AS guild_id
ORDER BY guild_id
ON CONFLICT DO NOTHING;

-- name: guilds_upsert
-- Column by column the newest by event time; an older event only fills what is not known.
INSERT INTO guildstream.guilds AS old (
    guild_id, updated_at, removed_at, name, owner_id, afk_channel_id, member_count)
SELECT * FROM unnest(
    %s::bigint[], %s::timestamptz[], %s::timestamptz[], %s::text[], %s::bigint[], %s::bigint[], %s::bigint[])
ON CONFLICT (guild_id) DO UPDATE SET
    removed_at = CASE WHEN EXCLUDED.updated_at >= old.updated_at THEN EXCLUDED.removed_at ELSE old.removed_at END,
    name = CASE WHEN EXCLUDED.updated_at >= old.updated_at
        THEN coalesce(EXCLUDED.name, old.name) ELSE coalesce(old.name, EXCLUDED.name) END,
    owner_id = CASE WHEN EXCLUDED.updated_at >= old.updated_at
        THEN coalesce(EXCLUDED.owner_id, old.owner_id) ELSE coalesce(old.owner_id, EXCLUDED.owner_id) END,
    afk_channel_id = CASE WHEN EXCLUDED.updated_at >= old.updated_at
        THEN coalesce(EXCLUDED.afk_channel_id, old.afk_channel_id)
        ELSE coalesce(old.afk_channel_id, EXCLUDED.afk_channel_id) END,
    member_count = CASE WHEN EXCLUDED.updated_at >= old.updated_at
        THEN coalesce(EXCLUDED.member_count, old.member_count)
        ELSE coalesce(old.member_count, EXCLUDED.member_count) END,
    updated_at = greatest(old.updated_at, EXCLUDED.updated_at);

-- name: channels_upsert
-- The same for channels.
INSERT INTO guildstream.channels AS old (
    guild_id, channel_id, updated_at, deleted_at, name, kind, parent_id, position)
SELECT * FROM unnest(
    %s::bigint[], %s::bigint[], %s::timestamptz[], %s::timestamptz[], %s::text[], %s::text[], %s::bigint[],
    %s::integer[])
ON CONFLICT (guild_id, channel_id) DO UPDATE SET
    deleted_at = CASE WHEN EXCLUDED.updated_at >= old.updated_at THEN EXCLUDED.deleted_at ELSE old.deleted_at END,
    name = CASE WHEN EXCLUDED.updated_at >= old.updated_at
        THEN coalesce(EXCLUDED.name, old.name) ELSE coalesce(old.name, EXCLUDED.name) END,
    kind = CASE WHEN EXCLUDED.updated_at >= old.updated_at
        THEN coalesce(EXCLUDED.kind, old.kind) ELSE coalesce(old.kind, EXCLUDED.kind) END,
    parent_id = CASE WHEN EXCLUDED.updated_at >= old.updated_at
        THEN coalesce(EXCLUDED.parent_id, old.parent_id) ELSE coalesce(old.parent_id, EXCLUDED.parent_id) END,
    position = CASE WHEN EXCLUDED.updated_at >= old.updated_at
        THEN coalesce(EXCLUDED.position, old.position) ELSE coalesce(old.position, EXCLUDED.position) END,
    updated_at = greatest(old.updated_at, EXCLUDED.updated_at);

-- name: roles_upsert
-- The same for roles.
INSERT INTO guildstream.roles AS old (guild_id, role_id, updated_at, deleted_at, name, position)
SELECT * FROM unnest(
    %s::bigint[], %s::bigint[], %s::timestamptz[], %s::timestamptz[], %s::text[], %s::integer[])
ON CONFLICT (guild_id, role_id) DO UPDATE SET
    deleted_at = CASE WHEN EXCLUDED.updated_at >= old.updated_at THEN EXCLUDED.deleted_at ELSE old.deleted_at END,
    name = CASE WHEN EXCLUDED.updated_at >= old.updated_at
        THEN coalesce(EXCLUDED.name, old.name) ELSE coalesce(old.name, EXCLUDED.name) END,
    position = CASE WHEN EXCLUDED.updated_at >= old.updated_at
        THEN coalesce(EXCLUDED.position, old.position) ELSE coalesce(old.position, EXCLUDED.position) END,
    updated_at = greatest(old.updated_at, EXCLUDED.updated_at);

-- name: users_upsert
-- The same for users.
INSERT INTO guildstream.users AS old (user_id, updated_at, username, display_name, bot)
SELECT * FROM unnest(%s::bigint[], %s::timestamptz[], %s::text[], %s::text[], %s::boolean[])
ON CONFLICT (user_id) DO UPDATE SET
    username = CASE WHEN EXCLUDED.updated_at >= old.updated_at
        THEN coalesce(EXCLUDED.username, old.username) ELSE coalesce(old.username, EXCLUDED.username) END,
    display_name = CASE WHEN EXCLUDED.updated_at >= old.updated_at
        THEN coalesce(EXCLUDED.display_name, old.display_name)
        ELSE coalesce(old.display_name, EXCLUDED.display_name) END,
    bot = CASE WHEN EXCLUDED.updated_at >= old.updated_at
        THEN coalesce(EXCLUDED.bot, old.bot) ELSE coalesce(old.bot, EXCLUDED.bot) END,
    updated_at = greatest(old.updated_at, EXCLUDED.updated_at);

-- name: members_upsert
-- The same for members; a join clears the time they left.
INSERT INTO guildstream.members AS old (guild_id, user_id, updated_at, left_at, nick, joined_at, roles)
SELECT guild_id, user_id, updated_at, left_at, nick, joined_at, roles::bigint[]
FROM unnest(
    %s::bigint[], %s::bigint[], %s::timestamptz[], %s::timestamptz[], %s::text[], %s::timestamptz[], %s::text[]
) AS new (guild_id, user_id, updated_at, left_at, nick, joined_at, roles)
ON CONFLICT (guild_id, user_id) DO UPDATE SET
    left_at = CASE WHEN EXCLUDED.updated_at >= old.updated_at THEN EXCLUDED.left_at ELSE old.left_at END,
    nick = CASE WHEN EXCLUDED.updated_at >= old.updated_at
        THEN coalesce(EXCLUDED.nick, old.nick) ELSE coalesce(old.nick, EXCLUDED.nick) END,
    joined_at = CASE WHEN EXCLUDED.updated_at >= old.updated_at
        THEN coalesce(EXCLUDED.joined_at, old.joined_at) ELSE coalesce(old.joined_at, EXCLUDED.joined_at) END,
    roles = CASE WHEN EXCLUDED.updated_at >= old.updated_at
        THEN coalesce(EXCLUDED.roles, old.roles) ELSE coalesce(old.roles, EXCLUDED.roles) END,
    updated_at = greatest(old.updated_at, EXCLUDED.updated_at);
