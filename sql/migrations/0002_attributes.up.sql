-- Current attributes, derived from accepted events: the last by event time wins, column by column.
-- phase: before
CREATE TABLE guildstream.guilds (
    guild_id bigint PRIMARY KEY,
    name text,
    owner_id bigint,
    afk_channel_id bigint,
    member_count bigint,
    removed_at timestamptz,
    updated_at timestamptz NOT NULL
);
COMMENT ON TABLE guildstream.guilds IS 'Guilds that attribute events have named. Deleting one deletes its channels, members and roles.';

CREATE TABLE guildstream.channels (
    guild_id bigint NOT NULL REFERENCES guildstream.guilds ON DELETE CASCADE,
    channel_id bigint NOT NULL,
    name text,
    kind text,
    parent_id bigint,
    position integer,
    deleted_at timestamptz,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (guild_id, channel_id)
);
COMMENT ON TABLE guildstream.channels IS 'Channels and threads.';

CREATE TABLE guildstream.roles (
    guild_id bigint NOT NULL REFERENCES guildstream.guilds ON DELETE CASCADE,
    role_id bigint NOT NULL,
    name text,
    position integer,
    deleted_at timestamptz,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (guild_id, role_id)
);
COMMENT ON TABLE guildstream.roles IS 'Roles of guilds.';

CREATE TABLE guildstream.users (
    user_id bigint PRIMARY KEY,
    username text,
    display_name text,
    bot boolean,
    updated_at timestamptz NOT NULL
);
COMMENT ON TABLE guildstream.users IS 'People and bots, as far as their names have been seen.';

CREATE TABLE guildstream.members (
    guild_id bigint NOT NULL REFERENCES guildstream.guilds ON DELETE CASCADE,
    user_id bigint NOT NULL,
    nick text,
    roles bigint[],
    joined_at timestamptz,
    left_at timestamptz,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (guild_id, user_id)
);
COMMENT ON TABLE guildstream.members IS 'Membership of users in guilds.';
