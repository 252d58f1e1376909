DROP TABLE guildstream.settings_history, guildstream.guild_settings;
