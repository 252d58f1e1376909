-- Attributes come back with the next attribute events, or from guildstream.events.
DROP TABLE guildstream.members, guildstream.roles, guildstream.channels, guildstream.users, guildstream.guilds;
